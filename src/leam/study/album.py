"""The faces of a study, aligned slice by slice: each picture is read once for all recognizers."""

from __future__ import annotations

from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from leam.errors import StudyError
from leam.faces.alignment import Crop
from leam.faces.reading import Picture
from leam.study.found import restore_face
from leam.study.plan import Plan
from leam.study.skipped import FACES
from leam.study.store import RunFolder
from leam.study.subject import Subject


@dataclass(frozen=True)
class Chips:
    """The faces of a slice as one recognizer sees them.

    Attributes:
        images: RGB ``(n, h, w, 3)`` uint8.
        matrices: From picture to chip pixels, ``(n, 2, 3)``.
    """

    images: Picture
    matrices: NDArray[np.float64]


@dataclass(frozen=True)
class Page:
    """The usable faces of a slice.

    Attributes:
        subjects: The ``n`` faces.
        chips: For each crop of the study, the aligned faces; empty where there are no faces.
        landmarks: In pixels of the pictures, ``(n, 68, 2)``.
    """

    subjects: list[Subject]
    chips: dict[Crop, Chips]
    landmarks: NDArray[np.float64]


class Album:
    """Aligned faces by slice; one slice is kept, so that all that is done with it reads its pictures once.

    Args:
        plan: The study.
        folder: Its folder, with the faces found.
        positions: Positions of the pictures that can be used.
        ahead: Read the next slice while one is worked on: for who does all slices in order. Where slices are handed
            out to several processes, the next one is another's.
    """

    def __init__(
        self, plan: Plan, folder: RunFolder, positions: Collection[int], *, ahead: bool = False
    ) -> None:
        self._plan, self._folder, self._positions = plan, folder, frozenset(positions)
        self._crops = list(dict.fromkeys(model.card.crop for model in plan.models))
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="album")
        self._pages: dict[int, Future[Page]] = {}
        self._slices = 2 if ahead else 1

    def page(self, index: int) -> Page:
        """The faces of a slice.

        Raises:
            StudyError: The slice has not been searched for faces.
            ImageError: A picture can no longer be read.
        """
        wanted = range(index, min(index + self._slices, len(self._plan.slices)))
        for other in self._pages.keys() - set(wanted):
            self._pages.pop(other).cancel()
        for one in wanted:
            self._start(one)
        return self._pages[index].result()

    def close(self) -> None:
        """Stop reading ahead."""
        self._reader.shutdown(cancel_futures=True)

    def _start(self, index: int) -> None:
        if index not in self._pages:
            read: Callable[[int], Page] = self._read
            self._pages[index] = self._reader.submit(read, index)

    def _read(self, index: int) -> Page:
        arrays = self._folder.read_shard(FACES, index)
        if arrays is None:
            raise StudyError(f"{self._folder.shard(FACES, index)}: disappeared while the study ran")
        part = self._plan.slices[index]
        positions = [position for position in part if position in self._positions]
        aligned: dict[Crop, list[tuple[Picture, NDArray[np.float64]]]] = {}
        for position in positions:
            # Only what is cut out of a picture is kept, however large the picture.
            face = restore_face(self._plan.images[position], arrays, position - part.start)
            for crop in self._crops:
                chip = crop.align(face)
                aligned.setdefault(crop, []).append((chip.image, chip.matrix))
        images = self._plan.images
        return Page(
            [Subject(p, images[p].person, images[p].image) for p in positions],
            {
                crop: Chips(np.stack([i for i, _ in chips]), np.stack([m for _, m in chips]))
                for crop, chips in aligned.items()
            },
            arrays["landmarks"][[position - part.start for position in positions]],
        )

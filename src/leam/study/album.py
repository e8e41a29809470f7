"""The faces of a study, aligned slice by slice: each picture is read once for all recognizers."""

from __future__ import annotations

from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from leam.errors import StudyError
from leam.faces.align import Crop
from leam.faces.read import Picture
from leam.study.found import restore_face
from leam.study.plan import Plan
from leam.study.skipped import FACES
from leam.study.store import RunFolder
from leam.study.subject import Subject

# Slices that are kept: the one at work and the one read ahead.
_KEPT = 2


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
    """Aligned faces by slice; while one slice is worked on, the next is read.

    Args:
        plan: The study.
        folder: Its folder, with the faces found.
        positions: Positions of the pictures that can be used.
    """

    def __init__(self, plan: Plan, folder: RunFolder, positions: Collection[int]) -> None:
        self._plan, self._folder, self._positions = plan, folder, frozenset(positions)
        self._crops = list(dict.fromkeys(model.card.crop for model in plan.models))
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="album")
        self._pages: dict[int, Future[Page]] = {}

    def page(self, index: int) -> Page:
        """The faces of a slice.

        Raises:
            StudyError: The slice has not been searched for faces.
            ImageError: A picture can no longer be read.
        """
        page = self._started(index)
        if index + 1 < len(self._plan.slices):
            self._started(index + 1)
        for other in [known for known in self._pages if not index <= known < index + _KEPT]:
            del self._pages[other]
        return page.result()

    def close(self) -> None:
        """Stop reading ahead."""
        self._reader.shutdown(cancel_futures=True)

    def _started(self, index: int) -> Future[Page]:
        if index not in self._pages:
            read: Callable[[int], Page] = self._read
            self._pages[index] = self._reader.submit(read, index)
        return self._pages[index]

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

"""Loads the aligned faces of a study, slice by slice. Each picture is read once for all recognizers."""

from __future__ import annotations

from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event

import numpy as np
from numpy.typing import NDArray

from leam.errors import ImageError
from leam.faces.alignment import Crop
from leam.faces.reading import Picture
from leam.study.plan import Plan
from leam.study.preparation import read_detections, reason_of
from leam.study.store import LostPicture, RunFolder


class PicturesLostError(Exception):
    """Pictures of a slice vanished or changed after their faces were found. Never reaches the user."""

    def __init__(self, pictures: tuple[LostPicture, ...]) -> None:
        super().__init__(pictures)
        self.pictures = pictures


@dataclass(frozen=True)
class Subject:
    """A usable face of the study.

    Attributes:
        position: Position of its picture in the plan.
        person: Name of the person.
        image: Name of the picture.
    """

    position: int
    person: str
    image: str


@dataclass(frozen=True)
class Chips:
    """Aligned faces in one crop.

    Attributes:
        images: RGB ``(n, h, w, 3)`` uint8.
        matrices: Transforms from picture to chip pixels, ``(n, 2, 3)``.
    """

    images: Picture
    matrices: NDArray[np.float64]


@dataclass(frozen=True)
class ChipBatch:
    """The usable faces of a slice.

    Attributes:
        subjects: The ``n`` faces.
        chips: The aligned faces, by crop; empty if the slice has no usable faces.
        landmarks: Landmarks in pixels of the pictures, ``(n, 68, 2)``.
    """

    subjects: list[Subject]
    chips: dict[Crop, Chips]
    landmarks: NDArray[np.float64]


class ChipLoader:
    """Loads aligned faces by slice, and keeps the current slice for all jobs that use it.

    Args:
        plan: The plan of the study.
        folder: The run folder, with the detections.
        positions: Positions of the usable pictures.
        ahead: Load the next slice in the background, for a process that works through all slices in order.
    """

    def __init__(
        self, plan: Plan, folder: RunFolder, positions: Collection[int], *, ahead: bool = False
    ) -> None:
        self._plan, self._folder, self._positions = plan, folder, frozenset(positions)
        self._crops = list(dict.fromkeys(model.card.crop for model in plan.models))
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="chips")
        self._batches: dict[int, Future[ChipBatch]] = {}
        self._slices = 2 if ahead else 1
        self._closed = Event()

    def batch(self, index: int) -> ChipBatch:
        """The faces of a slice.

        Raises:
            StudyError: The slice has no detections.
            PicturesLostError: Pictures can no longer be read, or have changed since the study was planned.
        """
        wanted = range(index, min(index + self._slices, len(self._plan.slices)))
        for other in self._batches.keys() - set(wanted):
            self._batches.pop(other).cancel()
        for one in wanted:
            if one not in self._batches:
                load: Callable[[int], ChipBatch] = self._load
                self._batches[one] = self._reader.submit(load, one)
        return self._batches[index].result()

    def close(self) -> None:
        """Stop loading in the background."""
        self._closed.set()
        self._reader.shutdown(cancel_futures=True)

    def _load(self, index: int) -> ChipBatch:
        detections = read_detections(self._folder, index)
        images, part = self._plan.images, self._plan.slices[index]
        positions = [position for position in part if position in self._positions]
        aligned: dict[Crop, list[tuple[Picture, NDArray[np.float64]]]] = {}
        lost: list[LostPicture] = []
        for position in positions:
            if self._closed.is_set():
                break
            # Keep only the chips: the picture may be large.
            try:
                face = detections.face(images[position], position - part.start)
            except ImageError as error:
                lost.append(LostPicture(position, reason_of(images[position], error)))
                continue
            for crop in self._crops:
                chip = crop.align(face)
                aligned.setdefault(crop, []).append((chip.image, chip.matrix))
        if lost:
            raise PicturesLostError(tuple(lost))
        return ChipBatch(
            [Subject(p, images[p].person, images[p].image) for p in positions],
            {
                crop: Chips(np.stack([i for i, _ in chips]), np.stack([m for _, m in chips]))
                for crop, chips in aligned.items()
            },
            detections.landmarks[[position - part.start for position in positions]],
        )

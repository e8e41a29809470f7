"""Pictures that are aligned faces already, which are taken as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property

import numpy as np

from leam.errors import FaceError, InputError
from leam.faces.alignment import Crop, TemplateName
from leam.faces.detection import LandmarkPredictor
from leam.faces.detectors import DETECTORS
from leam.faces.face import Face
from leam.faces.reading import Picture

CHIPS: dict[TemplateName, Crop] = {
    "arcface": Crop((112, 112), "arcface"),
    "dlib": Crop((150, 150), "dlib"),
}
"""The aligned faces that data sets hold, by template."""


@DETECTORS("aligned")
class AlignedDetector:
    """Takes each picture for an aligned face: one that is the input of the recognizers, or a chip of their template.

    The points that alignment uses have their places in the template, so that aligning the face again changes nothing.
    dlib's predictor finds the 68 landmarks, starting from the mean box of a face in the template.

    Args:
        crops: The crops of the recognizers, by the recognizers' names; chips of any template if there are none.

    Raises:
        InputError: The recognizers need different pictures, or a crop cannot take aligned faces.
    """

    name = "aligned"
    takes_crops = True
    template: TemplateName | None = None

    def __init__(self, crops: Mapping[str, Crop] | None = None) -> None:
        self._crops = crops or {}
        self._kinds = self._expected()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name})"

    def detect(self, picture: Picture) -> list[Face]:
        """The one face of an aligned picture ``(h, w, 3)`` uint8.

        Raises:
            FaceError: The picture has another size than the recognizers' input or the template's chip.
        """
        for kind in self._kinds:
            if picture.shape[:2] == kind.size:
                return [self._face(picture, kind)]
        sizes = " or ".join(dict.fromkeys(_size(kind.size) for kind in self._kinds))
        height, width = picture.shape[:2]
        # The size does not say where the eyes are: 96x96, 112x96 and 160x160 have other templates than 112x112.
        alike = any(height * kind.size[1] == width * kind.size[0] for kind in self._kinds)
        resize = "resize them if they have the same alignment, or " if alike else ""
        raise FaceError(
            f"{_size(picture.shape)} pixels; expected aligned faces of {sizes}; {resize}leave out --aligned to detect "
            "faces"
        )

    @property
    def notes(self) -> list[str]:
        """Which aligned faces are resampled for which recognizers, in sentences."""
        return [
            f"{name}: aligned faces of {_size(kind.size)} pixels are resampled to its input of {_size(crop.size)}"
            for name, crop in self._crops.items()
            for kind in self._kinds
            if kind.size != crop.size
        ]

    def _expected(self) -> list[Crop]:
        """The kinds of aligned pictures that all recognizers can take, the most direct one first."""
        if not self._crops:
            return [CHIPS[self.template]] if self.template else list(CHIPS.values())
        common: list[Crop] | None = None
        for name, crop in self._crops.items():
            kinds = self._kinds_of(name, crop)
            if common is None:
                first, common = name, kinds
                continue
            shared = [kind for kind in common if kind in kinds]
            if not shared:
                raise InputError(
                    f"{name}: takes other aligned faces ({_names(kinds)}) than {first} ({_names(common)}); use one of "
                    "them at a time"
                )
            common = shared
        return common or []

    def _kinds_of(self, name: str, crop: Crop) -> list[Crop]:
        """The kinds of aligned pictures that a recognizer can take: its own input, and the chip of its template."""
        chip = None if crop.points else CHIPS.get(crop.template)
        if self.template:
            if chip != CHIPS[self.template]:
                raise InputError(
                    f"{name}: its faces are aligned by {crop.name}, not by {self.template}; leave out "
                    f"--aligned {self.template}, or choose another recognizer"
                )
            return [chip]
        own = [crop] if _keeps(crop) else []
        kinds = list(dict.fromkeys([*own, *([chip] if chip else [])]))
        if not kinds:
            raise InputError(f"{name}: its crop {crop.name} takes no aligned faces")
        return kinds

    def _face(self, picture: Picture, kind: Crop) -> Face:
        points = kind.input_points()
        face = self._predictor.face(picture, points.box, np.nan, 1, points.five_points)
        if points.corner_points is None:
            return face
        return replace(face, corner_points=points.corner_points)

    @cached_property
    def _predictor(self) -> LandmarkPredictor:
        return LandmarkPredictor()


def _keeps(crop: Crop) -> bool:
    """Whether the points of the crop's input are such that aligning it again changes nothing."""
    points = crop.input_points()
    none = np.zeros((5, 2))
    face = Face(
        picture=np.zeros((*crop.size, 3), np.uint8),
        box=points.box,
        score=np.nan,
        landmarks=np.zeros((68, 2)),
        five_points=none if points.five_points is None else points.five_points,
        corner_points=none if points.corner_points is None else points.corner_points,
    )
    resized = crop.resized_chip and crop.size != (crop.chip_side, crop.chip_side)
    return not resized and np.allclose(crop.matrix(face), [[1, 0, 0], [0, 1, 0]])


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[0]}x{shape[1]}"


def _names(crops: list[Crop]) -> str:
    return ", ".join(crop.name for crop in crops)

"""What detectors that find five points of each face have in common: their input, and the landmarks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from leam.faces.detection import LandmarkPredictor, by_prominence, too_narrow
from leam.faces.face import Face
from leam.faces.reading import Picture

Floats = NDArray[np.float64]

# Where dlib's square boxes lie relative to SCRFD's: side in widths, centre below the centre in heights.
# Medians over 251 pictures of LFW in which both detectors find one face.
_DLIB_SIDE = 1.08
_DLIB_DROP = 0.073


@dataclass(frozen=True)
class Detections:
    """A network's detections in one picture, the most certain first.

    Attributes:
        boxes: Left, top, right, bottom in pixels, ``(n, 4)``.
        points: Eyes, nose tip, mouth corners in pixels, ``(n, 5, 2)``, left ones in the picture first.
        scores: In [0, 1], ``(n,)``.
    """

    boxes: Floats
    points: Floats
    scores: Floats


class KeyPointDetector(ABC):
    """A network for boxes and five points, dlib's shape predictors for the 68 landmarks.

    Args:
        path: The model file.
        side: Side of the network's square input, in pixels.
    """

    name: str

    def __init__(self, path: Path, side: int) -> None:
        self._path, self._side = path, side
        self._landmarks = LandmarkPredictor()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name})"

    def detect(self, picture: Picture) -> list[Face]:
        """All faces of an RGB picture ``(H, W, 3)`` uint8, the most prominent first."""
        found = self.find(picture)
        return by_prominence(
            [
                self._landmarks.face(
                    picture, _as_dlib(box), float(score), len(found.scores), points
                )
                for box, points, score in zip(found.boxes, found.points, found.scores, strict=True)
            ]
        )

    def find(self, picture: Picture) -> Detections:
        """Boxes, points and scores of the faces of an RGB picture ``(H, W, 3)`` uint8.

        Raises:
            ModelError: The network cannot run, or its outputs are not the expected ones.
        """
        scale = self._side / max(picture.shape[:2])
        if too_narrow(picture, scale):
            return Detections(np.zeros((0, 4)), np.zeros((0, 5, 2)), np.zeros(0))
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        resized = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=method)
        canvas = np.zeros((self._side, self._side, 3), dtype=np.uint8)
        canvas[: resized.shape[0], : resized.shape[1]] = resized[: self._side, : self._side]
        found = self._find(canvas)
        # After scaling, the pixel centres of input and picture are half a pixel apart.
        points = (found.points + 0.5) / scale - 0.5
        return Detections(found.boxes / scale, points, found.scores)

    @abstractmethod
    def _find(self, canvas: Picture) -> Detections:
        """The detections in the network's input, RGB ``(side, side, 3)`` uint8, in its pixels."""


def _as_dlib(box: Floats) -> tuple[float, float, float, float]:
    """The square that dlib's detector would give, which its shape predictors were trained on."""
    left, top, right, bottom = (float(value) for value in box)
    half = (right - left) * _DLIB_SIDE / 2
    x, y = (left + right) / 2, (top + bottom) / 2 + (bottom - top) * _DLIB_DROP
    return x - half, y - half, x + half, y + half

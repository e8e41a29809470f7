"""A detector: the face fills the picture."""

from __future__ import annotations

import math

from leam.faces.detection import LandmarkPredictor
from leam.faces.face import Face
from leam.faces.reading import Picture


class WholePictureDetector:
    """Takes the middle of every picture for a face."""

    name = "whole_picture"

    def __init__(self) -> None:
        self._landmarks = LandmarkPredictor()

    def detect(self, picture: Picture) -> list[Face]:
        """The one face of an RGB picture ``(H, W, 3)`` uint8."""
        height, width = picture.shape[:2]
        box = (0.2 * width, 0.2 * height, 0.8 * width, 0.8 * height)
        # Nothing was detected, so there is no confidence, and landmarks need not agree.
        return [self._landmarks.face(picture, box, math.nan, 1)]

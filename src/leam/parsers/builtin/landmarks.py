"""A parser without weights: regions are polygons over the 68 landmarks."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from leam.faces.alignment import Crop, transform_points
from leam.faces.face import Face, Points
from leam.parsers import PARSERS
from leam.parsers.parsing import Parsing
from leam.parsers.regions import INDEX

# Polygons over the 68 points, painted in this order.
_POLYGONS: tuple[tuple[str, tuple[int, ...]], ...] = (
    ("nose", (27, 31, 32, 33, 34, 35)),
    ("left_eye", tuple(range(36, 42))),
    ("right_eye", tuple(range(42, 48))),
    ("upper_lip", (48, 49, 50, 51, 52, 53, 54, 64, 63, 62, 61, 60)),
    ("lower_lip", (48, 60, 67, 66, 65, 64, 54, 55, 56, 57, 58, 59)),
    ("mouth", tuple(range(60, 68))),
)
_BROWS = (("left_brow", tuple(range(17, 22))), ("right_brow", tuple(range(22, 27))))
# Sub-pixel precision of polygon corners: 4 bits.
_SHIFT = 4
# The landmarks end at the brows. The hairline is assumed this far above them, in units of the height from chin to
# brows.
_FOREHEAD = 0.45
# Thickness of a brow, whose landmarks form a line, in units of the distance between the eyes.
_BROW_THICKNESS = 0.14
# The landmarks run down the bridge and along the base of the nostrils. The wings of the nose extend beyond them by this
# part of the base's width.
_WING = 0.28


@PARSERS("landmarks")
class LandmarkParser:
    """The parts of the face, forehead and background as polygons over dlib's 68 landmarks.

    Hair, ears, glasses, neck and clothes are not recognized: everything outside the landmarks' outline is background,
    and hair over the forehead is forehead.
    """

    name = "landmarks"
    labels = ("background", "skin", "forehead", *(name for name, _ in (*_BROWS, *_POLYGONS)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name})"

    def parse(self, face: Face, crop: Crop) -> Parsing:
        """The parts of a face ``(h, w)`` in the crop's geometry; confidence is one everywhere."""
        points = transform_points(crop.matrix(face), face.landmarks)
        labels = np.full(crop.size, INDEX["background"], dtype=np.uint8)
        forehead = _forehead(points)
        paint(labels, np.vstack([points[:17], forehead]), "skin")
        paint(labels, np.vstack([points[17:27], forehead]), "forehead")
        between_eyes = float(np.linalg.norm(points[36:42].mean(0) - points[42:48].mean(0)))
        thickness = max(1, round(_BROW_THICKNESS * between_eyes))
        for name, indices in _BROWS:
            line = [_fixed(points[list(indices)])]
            cv2.polylines(
                labels, line, isClosed=False, color=INDEX[name], thickness=thickness, shift=_SHIFT
            )
        for name, indices in _POLYGONS:
            paint(labels, _nose(points) if name == "nose" else points[list(indices)], name)
        return Parsing(labels, np.ones(crop.size, dtype=np.float32))


def _forehead(points: Points) -> Points:
    """An arch over the brows, from the right temple to the left, ``(n, 2)``."""
    chin, brows = points[8], points[17:27].mean(axis=0)
    up = (brows - chin) * _FOREHEAD
    left, right = points[0], points[16]
    angles = np.linspace(0, np.pi, 13)[1:-1]
    centre, half = (left + right) / 2, (right - left) / 2
    top = brows + up - centre
    arch: Points = centre + np.cos(angles)[:, None] * half + np.sin(angles)[:, None] * top
    return arch


def _nose(points: Points) -> Points:
    """The outline of the nose: bridge between the eyes, wings, base, ``(n, 2)``."""
    bridge, tip, left, right = points[27], points[30], points[31], points[35]
    out = (right - left) * _WING
    base = points[31:36] + 0.12 * (points[33] - tip)
    down = [bridge - out * 0.45, points[28] - out * 0.5, points[29] - out * 0.9, left - out]
    up = [right + out, points[29] + out * 0.9, points[28] + out * 0.5, bridge + out * 0.45]
    return np.vstack([*down, base, *up])


def paint(labels: NDArray[np.uint8], polygon: Points, name: str) -> None:
    """Fill a polygon ``(n, 2)`` of pixel coordinates with a label's value, in place."""
    cv2.fillPoly(labels, [_fixed(polygon)], color=INDEX[name], shift=_SHIFT)


def _fixed(points: Points) -> NDArray[np.int32]:
    """Pixel coordinates as the fixed-point integers that OpenCV draws with."""
    return np.round(points * (1 << _SHIFT)).astype(np.int32)

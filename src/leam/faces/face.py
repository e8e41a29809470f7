"""A face found in a picture: where it is, and the points that align it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from leam.faces.reading import Picture

Points = NDArray[np.float64]
"""Points in pixels, ``(n, 2)``, x to the right and y down, the centre of the first pixel at (0, 0)."""


@dataclass(frozen=True)
class Face:
    """One face of a picture.

    Attributes:
        picture: The whole picture, RGB ``(H, W, 3)`` uint8.
        box: Left, top, right, bottom in pixels; may reach over the picture's edge.
        score: The detector's confidence, larger is surer; its scale is the detector's own.
        landmarks: The 68 points of the iBUG scheme, ``(68, 2)`` pixels.
        five_points: Left eye, right eye, nose tip, left and right mouth corner as seen in the picture, ``(5, 2)``.
        corner_points: dlib's five points (both corners of each eye, the base of the nose), ``(5, 2)``.
        found: How many faces the picture held.
        path: The file it came from, if any.
    """

    picture: Picture
    box: tuple[float, float, float, float]
    score: float
    landmarks: Points
    five_points: Points
    corner_points: Points
    found: int = 1
    path: Path | None = None


def five_points_of(landmarks: Points) -> Points:
    """Eye centres, nose tip and mouth corners ``(5, 2)`` from 68 landmarks ``(68, 2)``."""
    return np.stack(
        [
            landmarks[36:42].mean(axis=0),
            landmarks[42:48].mean(axis=0),
            landmarks[30],
            landmarks[48],
            landmarks[54],
        ]
    )

"""How a head is turned, read off its landmarks: enough to match people by, not to reconstruct a head."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from leam.measures.registry import measure
from leam.measures.statistics import Numbers


@measure("pose", "fairness", "none")
def head_pose(landmarks: NDArray[np.float64]) -> Numbers:
    """Proxies of yaw, pitch and roll from the places of eyes, nose tip and mouth.

    Own definition, after the five-point geometry common in face quality assessment: no camera model, no degrees, the
    same for every recognizer.

    Args:
        landmarks: dlib's 68 points in pixels, ``(n, 68, 2)``; NaN where there is no face.

    Returns:
        ``(n, 3)``: how far the nose tip lies beside the middle of eyes and mouth, in units of the distance between the
        eyes (0 straight on, positive to the picture's right); how far down it lies from eyes to mouth (about 0.5
        straight on, larger when looking down); the slope of the line between the eyes, in radians.
    """
    left, right = landmarks[:, 36:42].mean(axis=1), landmarks[:, 42:48].mean(axis=1)
    mouth, nose = landmarks[:, [48, 54]].mean(axis=1), landmarks[:, 30]
    across = right - left
    width = np.linalg.norm(across, axis=1)
    unit = across / width[:, None]
    down = np.stack([-unit[:, 1], unit[:, 0]], axis=1)
    eyes = (left + right) / 2

    def along(points: NDArray[np.float64], axis: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(((points - eyes) * axis).sum(axis=1))

    yaw = (along(nose, unit) - along(mouth, unit) / 2) / width
    pitch = along(nose, down) / along(mouth, down)
    return np.stack([yaw, pitch, np.arctan2(across[:, 1], across[:, 0])], axis=1)

"""Control: the edges of the face, without a network."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from leam.faces.reading import Picture
from leam.metrics.controls import CONTROLS, ControlInput
from leam.metrics.controls._choosing import highest_pixels
from leam.metrics.fills import Mask

SMOOTHING = 4 / 112
"""Standard deviation of the Gaussian that smooths the edges, in units of the chip's longer side."""
CENTRE = 0.25
"""Standard deviation of the Gaussian around the middle of the chip, in units of its height and width."""


def edge_map(chip: Picture) -> NDArray[np.float32]:
    """Edges near the middle of a chip: a map that needs no network.

    The magnitude of the Sobel gradient of the grey chip, smoothed by a Gaussian and multiplied by a Gaussian around
    the middle; see :data:`SMOOTHING` and :data:`CENTRE`.

    Args:
        chip: The aligned face, RGB ``(h, w, 3)`` uint8.

    Returns:
        ``(h, w)``, non-negative; all zero for a chip of one colour.
    """
    grey = cv2.cvtColor(chip, cv2.COLOR_RGB2GRAY).astype(np.float32)
    magnitude = np.hypot(*(cv2.Sobel(grey, cv2.CV_32F, *order) for order in ((1, 0), (0, 1))))
    smooth = cv2.GaussianBlur(magnitude, (0, 0), SMOOTHING * max(grey.shape))
    down, across = (
        np.exp(-(((np.arange(side) + 0.5) / side - 0.5) ** 2) / (2 * CENTRE**2))
        for side in grey.shape
    )
    found: NDArray[np.float32] = (smooth * np.outer(down, across)).astype(np.float32)
    return found


def edge_mask(critical: Mask, chip: Picture | None) -> Mask:
    """The highest pixels of a chip's edge map, as many as the critical mask has; empty without a chip."""
    return highest_pixels(critical, None if chip is None else edge_map(chip))


@CONTROLS("edges")
def edges(given: ControlInput) -> Mask:
    """The highest pixels of the edge map of this face: uses the picture, but no recognizer."""
    return edge_mask(given.critical, given.chip)

"""A fill and a control."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from leam.faces.reading import Picture
from leam.metrics.controls import ControlInput
from leam.metrics.fills import Mask


def grey(_chip: Picture, _mask: Mask) -> NDArray[np.float32]:
    """Middle grey."""
    return np.full(3, 127, dtype=np.float32)


def border(given: ControlInput) -> Mask:
    """The pixels nearest to the edge of the chip, as many as the critical mask has."""
    height, width = given.critical.shape
    rows, columns = np.indices((height, width))
    distance = np.minimum.reduce([rows, columns, height - 1 - rows, width - 1 - columns])
    mask = np.zeros(given.critical.size, dtype=bool)
    mask[np.argsort(distance.ravel(), kind="stable")[: int(given.critical.sum())]] = True
    return mask.reshape(height, width)

"""Control: a disc in the middle."""

from __future__ import annotations

import numpy as np

from leam.metrics.controls import CONTROLS, ControlInput
from leam.metrics.controls._choosing import first_pixels
from leam.metrics.fills import Mask


@CONTROLS("centre")
def centre(given: ControlInput) -> Mask:
    """A disc in the middle of the chip: uses only that faces are centred."""
    height, width = given.critical.shape
    rows, columns = np.ogrid[:height, :width]
    distance = (2 * rows - height + 1) ** 2 + (2 * columns - width + 1) ** 2
    return first_pixels(given.critical, np.argsort(distance.ravel(), kind="stable"))

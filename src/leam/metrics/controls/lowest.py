"""Control: the lowest pixels of the map."""

from __future__ import annotations

import numpy as np

from leam.metrics.controls import CONTROLS, ControlInput
from leam.metrics.controls._choosing import first_pixels
from leam.metrics.fills import Mask


@CONTROLS("lowest")
def lowest(given: ControlInput) -> Mask:
    """The pixels with the lowest values of the map; ties are broken at random."""
    order = np.lexsort((given.generator.random(given.overall.size), given.overall.ravel()))
    return first_pixels(given.critical, order)

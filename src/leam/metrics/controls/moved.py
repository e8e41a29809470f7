"""Control: the critical mask in pieces, anywhere."""

from __future__ import annotations

import numpy as np

from leam.metrics.controls import CONTROLS, ControlInput
from leam.metrics.controls._moving import moved_within
from leam.metrics.fills import Mask


@CONTROLS("moved")
def moved(given: ControlInput) -> Mask:
    """The connected components of the critical mask, each moved to a random position.

    A component that fits nowhere after 50 attempts is scattered over free pixels.
    """
    return moved_within(given, np.ones_like(given.critical))

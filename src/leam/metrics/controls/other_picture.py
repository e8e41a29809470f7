"""Control: the mask of another picture of the person."""

from __future__ import annotations

import numpy as np

from leam.metrics.controls import CONTROLS, ControlInput
from leam.metrics.fills import Mask


@CONTROLS("other_picture")
def other_picture(given: ControlInput) -> Mask:
    """The critical mask of another picture of the same person: shows what maps of a person have in common."""
    return np.zeros_like(given.critical) if given.other_picture is None else given.other_picture

"""Control: the mask of another person."""

from __future__ import annotations

from leam.metrics.controls import CONTROLS, ControlInput
from leam.metrics.fills import Mask


@CONTROLS("other_person")
def other_person(given: ControlInput) -> Mask:
    """Another person's critical mask: shows what maps have in common for all faces."""
    return given.other

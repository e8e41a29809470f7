"""Control: single random pixels."""

from __future__ import annotations

from leam.metrics.controls import CONTROLS, ControlInput
from leam.metrics.controls._choosing import first_pixels
from leam.metrics.fills import Mask


@CONTROLS("scattered")
def scattered(given: ControlInput) -> Mask:
    """Random pixels, anywhere in the chip."""
    mask = given.critical
    drawn = given.generator.choice(mask.size, size=int(mask.sum()), replace=False)
    return first_pixels(mask, drawn)

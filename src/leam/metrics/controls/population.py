"""Control: the mask of the mean map of all other people."""

from __future__ import annotations

from leam.metrics.controls import CONTROLS, ControlInput
from leam.metrics.controls._choosing import highest_pixels
from leam.metrics.fills import Mask


@CONTROLS("population")
def population(given: ControlInput) -> Mask:
    """The highest pixels of the mean overall map of all other people: one mask for everybody."""
    return highest_pixels(given.critical, given.population)

"""Control: the edges of another person."""

from __future__ import annotations

from leam.metrics.controls import CONTROLS, ControlInput
from leam.metrics.controls.edges import edge_mask
from leam.metrics.fills import Mask


@CONTROLS("edges_other_person")
def edges_other_person(given: ControlInput) -> Mask:
    """The highest pixels of the edge map of another person: the control ``edges`` for ``other_person``."""
    return edge_mask(given.critical, given.other_chip)

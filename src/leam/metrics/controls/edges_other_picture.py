"""Control: the edges of another picture of the person."""

from __future__ import annotations

from leam.metrics.controls import CONTROLS, ControlInput
from leam.metrics.controls.edges import edge_mask
from leam.metrics.fills import Mask


@CONTROLS("edges_other_picture")
def edges_other_picture(given: ControlInput) -> Mask:
    """The highest pixels of the edge map of the person's other picture: the control ``edges`` for ``other_picture``."""
    return edge_mask(given.critical, given.other_picture_chip)

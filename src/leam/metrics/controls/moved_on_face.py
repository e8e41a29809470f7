"""Control: the critical mask in pieces, on the face."""

from __future__ import annotations

from leam.metrics.controls import CONTROLS, ControlInput
from leam.metrics.controls._moving import moved_within
from leam.metrics.fills import Mask


@CONTROLS("moved_on_face")
def moved_on_face(given: ControlInput) -> Mask:
    """The connected components of the critical mask, each moved to a random position on the face.

    A component that fits nowhere after 50 attempts is scattered over the face, or over all pixels if the face is full.
    """
    return moved_within(given, given.face)

"""Controls: masks with as many pixels as the critical mask, to compare it with. One module per control."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from leam.faces.reading import Picture
from leam.metrics.fills import Mask
from leam.plugins import Registry


@dataclass(frozen=True)
class ControlInput:
    """What a control may depend on, in the geometry of one chip ``(h, w)``.

    Attributes:
        critical: The critical mask, ``(h, w)``.
        overall: The overall map, ``(h, w)``, non-negative.
        face: The pixels that show the face, ``(h, w)``.
        other: Another person's critical mask, ``(h, w)``; empty if there is no other person.
        generator: Random generator.
        chip: The aligned face, RGB ``(h, w, 3)`` uint8; None if it is not known.
        other_chip: The aligned face of that other person; None if there is no other person.
        other_picture: The critical mask of another picture of the same person; None if there is no other picture.
        other_picture_chip: The aligned face in that other picture; None if there is no other picture.
        population: The mean overall map of all other people, ``(h, w)``; None if it is not known.
    """

    critical: Mask
    overall: NDArray[np.floating]
    face: Mask
    other: Mask
    generator: Generator
    _: KW_ONLY
    chip: Picture | None = None
    other_chip: Picture | None = None
    other_picture: Mask | None = None
    other_picture_chip: Picture | None = None
    population: NDArray[np.floating] | None = None


Control = Callable[[ControlInput], Mask]
"""From a :class:`ControlInput` to a mask ``(h, w)`` with as many pixels as the critical mask; the mask is empty if the
input lacks what the control needs."""

CONTROLS: Registry[Control] = Registry("control", "leam.controls", package="leam.metrics.controls")
"""The controls by name. Each module without a leading underscore defines the control of its name."""

MAPS_OF_OTHERS = frozenset({"other_person", "other_picture", "population"})
"""Controls that are maps of the same method on other pictures: they are controls of claims on persons, and not of the
claim that maps find the pixels that matter."""

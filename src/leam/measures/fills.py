"""What an occluded pixel is replaced by."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from leam.errors import InputError
from leam.faces.read import Picture

Mask = NDArray[np.bool_]
Fill = Callable[[Picture, Mask], NDArray[np.float32]]
"""From a chip ``(h, w, 3)`` uint8 and a mask ``(h, w)`` to what replaces it, or broadcasts so."""

FILLS: dict[str, Fill] = {}
"""The fills by name."""

# In units of the chip's side: wide enough to leave no feature, as in the deletion game of Petsiuk
# et al. 2018.
_BLUR = 0.1


def fill(name: str) -> Callable[[Fill], Fill]:
    """Register a fill under a name."""

    def register(function: Fill) -> Fill:
        FILLS[name] = function
        return function

    return register


def occlude(chip: Picture, mask: Mask, name: str = "black") -> Picture:
    """A copy of a chip ``(h, w, 3)`` uint8 with the pixels of a mask ``(h, w)`` replaced.

    Raises:
        InputError: There is no such fill.
    """
    if name not in FILLS:
        raise InputError(f"{name}: no such fill; known are {', '.join(FILLS)}")
    replaced = np.where(mask[:, :, None], FILLS[name](chip, mask), chip)
    return np.clip(np.rint(replaced), 0, 255).astype(np.uint8)


@fill("black")
def black(_chip: Picture, _mask: Mask) -> NDArray[np.float32]:
    """Black."""
    return np.zeros(3, dtype=np.float32)


@fill("mean")
def mean(chip: Picture, _mask: Mask) -> NDArray[np.float32]:
    """The chip's mean colour."""
    colour: NDArray[np.float32] = chip.mean(axis=(0, 1), dtype=np.float32)
    return colour


@fill("blur")
def blur(chip: Picture, _mask: Mask) -> NDArray[np.float32]:
    """The chip under a wide Gaussian blur."""
    width = _BLUR * max(chip.shape[:2])
    return np.asarray(cv2.GaussianBlur(chip.astype(np.float32), (0, 0), width), dtype=np.float32)

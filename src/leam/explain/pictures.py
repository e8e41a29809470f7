"""Pictures of maps and critical masks on faces, as RGB arrays."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from leam.faces.reading import Picture

Map = NDArray[np.floating]

HEAT = "inferno"
PAIR = {"alike": (HEAT, (255, 196, 61)), "different": ("GnBu_r", (92, 200, 255))}
"""Colour map, and colour of outlines, of what makes two faces alike (warm) and of what makes them different (cold)."""

# The brightest part of a map's pixels is drawn at full brightness, so that a single peak does not darken the rest.
_CLIPPED = 0.005


def overlay(
    face: Picture, values: Map, colours: str = HEAT, highest: float | None = None
) -> Picture:
    """A map ``(h, w)`` over a greyed face ``(h, w, 3)``; higher values hide more of the face.

    Args:
        face: The face.
        values: The map.
        colours: Name of a colour map of matplotlib.
        highest: The value at the end of the colours, for maps that are compared; see :func:`bright_end`.
    """
    grey = cv2.cvtColor(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB) * 0.75
    strength = brightness(values, highest)[:, :, None] ** 0.6 * 0.9
    painted = heat(values, colours, highest)
    return np.round(grey * (1 - strength) + painted * strength).astype(np.uint8)


def heat(values: Map, colours: str = HEAT, highest: float | None = None) -> Picture:
    """A map ``(h, w)`` as colours ``(h, w, 3)`` uint8, dark for low values; the name is that of a map of matplotlib."""
    from matplotlib import colormaps  # noqa: PLC0415

    painted = colormaps[colours](brightness(values, highest))[:, :, :3]
    return np.round(painted * 255).astype(np.uint8)


def brightness(values: Map, highest: float | None = None) -> NDArray[np.float64]:
    """A map scaled to [0, 1] with 1 at ``highest``, by default at its :func:`bright_end`."""
    top = bright_end(values) if highest is None else highest
    return np.clip(np.asarray(values, dtype=np.float64) / top, 0, 1)


def bright_end(values: Map) -> float:
    """The value that is drawn at full brightness, with all above it: the brightest 0.5 % of a map."""
    return float(np.quantile(values, 1 - _CLIPPED) or values.max() or 1.0)


def spotlight(
    face: Picture, mask: NDArray[np.bool_], colour: tuple[int, int, int] = (255, 196, 61)
) -> Picture:
    """A dimmed face ``(h, w, 3)`` with the pixels of a mask ``(h, w)`` highlighted."""
    dimmed = cv2.cvtColor(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB) * 0.45
    highlighted = np.array(colour) * 0.75 + face * 0.25
    return np.round(np.where(mask[:, :, None], highlighted, dimmed)).astype(np.uint8)


def enlarge(picture: Picture, factor: int) -> Picture:
    """A picture ``(h, w, 3)`` enlarged by an integer factor with cubic interpolation."""
    size = (picture.shape[1] * factor, picture.shape[0] * factor)
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC), dtype=np.uint8)

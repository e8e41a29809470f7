"""Fills: what replaces hidden pixels."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from leam.faces.reading import Picture
from leam.plugins import Registry

Mask = NDArray[np.bool_]
Fill = Callable[[Picture, Mask], NDArray[np.float32]]
"""From a chip ``(h, w, 3)`` uint8 and a mask ``(h, w)`` to the replacing colours, which broadcast to the chip."""

FILLS: Registry[Fill] = Registry("fill", "leam.fills")
"""The fills by name."""

# Standard deviation of the blur, in units of the chip's side: wide enough to remove every feature, as in the deletion
# metric of Petsiuk et al. 2018.
_BLUR = 0.1
# Narrower: 4 pixels of 112, which removes edges but keeps the shading of the face.
_LOCAL_BLUR = 4 / 112
# Standard deviation of the noise, as in the reference implementation of Rong et al.
_NOISE = 0.01 * 255
# Offsets of a pixel's neighbours in rows and columns, and their weights.
_NEIGHBOURS = tuple(
    (row, column, 1 / 6 if row == 0 or column == 0 else 1 / 12)
    for row in (-1, 0, 1)
    for column in (-1, 0, 1)
    if row or column
)


def occlude(chip: Picture, mask: Mask, name: str = "black") -> Picture:
    """A copy of a chip ``(h, w, 3)`` uint8 with the pixels of a mask ``(h, w)`` replaced by a fill.

    Raises:
        InputError: There is no such fill.
    """
    replaced = np.where(mask[:, :, None], FILLS[name](chip, mask), chip)
    return np.clip(np.rint(replaced), 0, 255).astype(np.uint8)


@FILLS("black")
def black(_chip: Picture, _mask: Mask) -> NDArray[np.float32]:
    """Black."""
    return np.zeros(3, dtype=np.float32)


@FILLS("mean")
def mean(chip: Picture, _mask: Mask) -> NDArray[np.float32]:
    """The chip's mean colour."""
    colour: NDArray[np.float32] = chip.mean(axis=(0, 1), dtype=np.float32)
    return colour


@FILLS("blur")
def blur(chip: Picture, _mask: Mask) -> NDArray[np.float32]:
    """The chip after a wide Gaussian blur."""
    return _blurred(chip, _BLUR)


@FILLS("local_blur")
def local_blur(chip: Picture, _mask: Mask) -> NDArray[np.float32]:
    """The chip after a narrow Gaussian blur, of 4 pixels at a side of 112."""
    return _blurred(chip, _LOCAL_BLUR)


@FILLS("road")
def road(chip: Picture, mask: Mask) -> NDArray[np.float32]:
    """Each hidden pixel becomes the weighted mean of its neighbours, plus noise.

    Noisy linear imputation of Rong et al., "A consistent and efficient evaluation strategy for attribution methods",
    ICML 2022: direct neighbours have the weight 1/6, diagonal ones 1/12 (normalised at the border), which gives a
    sparse linear system for all hidden pixels. The noise has a standard deviation of 0.01 of the colour range and is
    the same for every chip.
    """
    noise = np.random.default_rng(0).normal(0, _NOISE, chip.shape)
    filled = chip.astype(np.float64)
    if mask.all():
        filled[:] = filled.mean(axis=(0, 1))
    elif mask.any():
        filled[mask] = _imputed(filled, mask)
    return (filled + noise).astype(np.float32)


def _blurred(chip: Picture, width: float) -> NDArray[np.float32]:
    """A chip after a Gaussian blur whose standard deviation is given in units of the longer side."""
    sigma = width * max(chip.shape[:2])
    return np.asarray(cv2.GaussianBlur(chip.astype(np.float32), (0, 0), sigma), dtype=np.float32)


def _imputed(values: NDArray[np.float64], mask: Mask) -> NDArray[np.float64]:
    """The hidden pixels ``(n, 3)`` that equal the weighted mean of their neighbours."""
    from scipy.sparse import csc_matrix  # noqa: PLC0415  slow to import
    from scipy.sparse.linalg import splu  # noqa: PLC0415

    height, width = mask.shape
    hidden = np.flatnonzero(mask)
    number = np.full(mask.size, -1)
    number[hidden] = np.arange(len(hidden))
    rows, columns = np.divmod(hidden, width)
    known = np.zeros((len(hidden), values.shape[2]))
    total = np.zeros(len(hidden))
    entries = []
    for row_step, column_step, weight in _NEIGHBOURS:
        at_row, at_column = rows + row_step, columns + column_step
        inside = np.flatnonzero(
            (at_row >= 0) & (at_row < height) & (at_column >= 0) & (at_column < width)
        )
        neighbour = at_row[inside] * width + at_column[inside]
        total[inside] += weight
        unknown = number[neighbour] >= 0
        known[inside[~unknown]] += weight * values.reshape(-1, values.shape[2])[neighbour[~unknown]]
        entries.append((inside[unknown], number[neighbour[unknown]], weight))
    place = np.concatenate([np.arange(len(hidden)), *(first for first, _, _ in entries)])
    other = np.concatenate([np.arange(len(hidden)), *(second for _, second, _ in entries)])
    factor = np.concatenate([total, *(np.full(len(first), -w) for first, _, w in entries)])
    system = csc_matrix((factor, (place, other)), shape=(len(hidden), len(hidden)))
    return np.asarray(splu(system).solve(known), dtype=np.float64)

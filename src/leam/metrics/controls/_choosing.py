"""Masks of a given size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from leam.metrics.fills import Mask


def first_pixels(mask: Mask, order: NDArray[np.integer]) -> Mask:
    """The first flat positions of an order as a mask, as many as the given mask ``(h, w)`` has pixels."""
    chosen = np.zeros(mask.size, dtype=bool)
    chosen[order[: int(mask.sum())]] = True
    return chosen.reshape(mask.shape)


def highest_pixels(mask: Mask, values: NDArray[np.floating] | None) -> Mask:
    """The highest values ``(h, w)`` as a mask, as many as the given mask has pixels; empty without values.

    Ties are taken from the top left on, as in :func:`leam.explain.masks.critical_mask`.
    """
    if values is None:
        return np.zeros_like(mask)
    return first_pixels(mask, np.argsort(-values.ravel(), kind="stable"))

"""Masks to compare a critical mask with: as many pixels, but chosen without the map."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.random import Generator

from leam.measures.fills import Mask

Baseline = Callable[[Mask, Generator], Mask]
"""From a mask ``(h, w)`` and a random generator to another mask ``(h, w)`` of as many pixels."""

BASELINES: dict[str, Baseline] = {}
"""The baselines by name."""

_ATTEMPTS = 50


def baseline(name: str) -> Callable[[Baseline], Baseline]:
    """Register a baseline under a name."""

    def register(function: Baseline) -> Baseline:
        BASELINES[name] = function
        return function

    return register


@baseline("scattered")
def scattered(mask: Mask, generator: Generator) -> Mask:
    """Pixels drawn one by one, anywhere."""
    chosen = np.zeros(mask.size, dtype=bool)
    chosen[generator.choice(mask.size, size=int(mask.sum()), replace=False)] = True
    return chosen.reshape(mask.shape)


@baseline("moved")
def moved(mask: Mask, generator: Generator) -> Mask:
    """The same blobs, each moved to a random place: shape and size are kept, position is not.

    A blob that finds no free place after many attempts is scattered over free pixels.
    """
    count, blobs = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    placed = np.zeros(mask.shape, dtype=bool)
    for blob in sorted((blobs == label for label in range(1, count)), key=np.sum, reverse=True):
        _place(blob, placed, generator)
    return placed


def _place(blob: Mask, placed: Mask, generator: Generator) -> None:
    """Set a blob's pixels somewhere free in ``placed``."""
    rows, columns = np.nonzero(blob)
    rows, columns = rows - rows.min(), columns - columns.min()
    for _ in range(_ATTEMPTS):
        at_row = rows + generator.integers(placed.shape[0] - rows.max())
        at_column = columns + generator.integers(placed.shape[1] - columns.max())
        if not placed[at_row, at_column].any():
            placed[at_row, at_column] = True
            return
    free = np.flatnonzero(~placed)
    placed.flat[generator.choice(free, size=len(rows), replace=False)] = True

"""Connected components of a mask at random positions."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator

from leam.metrics.controls import ControlInput
from leam.metrics.fills import Mask

_MAX_ATTEMPTS = 50


def moved_within(given: ControlInput, allowed: Mask) -> Mask:
    """The critical mask's components, the largest first, each at a random position in ``allowed``."""
    count, components = cv2.connectedComponents(given.critical.astype(np.uint8), connectivity=8)
    placed = np.zeros(given.critical.shape, dtype=bool)
    each = (components == label for label in range(1, count))
    for component in sorted(each, key=np.sum, reverse=True):
        _place(component, placed, allowed, given.generator)
    return placed


def _place(component: Mask, placed: Mask, allowed: Mask, generator: Generator) -> None:
    """Add a component to ``placed`` at a random free position."""
    free = allowed & ~placed
    rows, columns = np.nonzero(component)
    rows, columns = rows - rows.min(), columns - columns.min()
    for _ in range(_MAX_ATTEMPTS):
        at_row = rows + generator.integers(placed.shape[0] - rows.max())
        at_column = columns + generator.integers(placed.shape[1] - columns.max())
        if free[at_row, at_column].all():
            placed[at_row, at_column] = True
            return
    if free.sum() < len(rows):
        free = ~placed
    placed.flat[generator.choice(np.flatnonzero(free), size=len(rows), replace=False)] = True

"""Controls: masks with as many pixels as the critical mask, chosen without the map, to compare it with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from leam.metrics.fills import Mask
from leam.plugins import Registry


@dataclass(frozen=True)
class ControlInput:
    """What a control may depend on, in the geometry of one chip.

    Attributes:
        critical: The critical mask, ``(h, w)``.
        overall: The overall map, ``(h, w)``, non-negative.
        face: The pixels that show the face, ``(h, w)``.
        other: Another person's critical mask, ``(h, w)``; empty if there is no other person.
        generator: Random generator.
    """

    critical: Mask
    overall: NDArray[np.floating]
    face: Mask
    other: Mask
    generator: Generator


Control = Callable[[ControlInput], Mask]
"""From a :class:`ControlInput` to a mask ``(h, w)`` with as many pixels as the critical mask."""

CONTROLS: Registry[Control] = Registry("control", "leam.controls")
"""The controls by name."""

_MAX_ATTEMPTS = 50


@CONTROLS("scattered")
def scattered(given: ControlInput) -> Mask:
    """Random pixels, anywhere in the chip."""
    mask = given.critical
    return _chosen(mask, given.generator.choice(mask.size, size=int(mask.sum()), replace=False))


@CONTROLS("moved")
def moved(given: ControlInput) -> Mask:
    """The connected components of the critical mask, each moved to a random position.

    A component that fits nowhere after 50 attempts is scattered over free pixels.
    """
    return _moved(given, np.ones_like(given.critical))


@CONTROLS("moved_on_face")
def moved_on_face(given: ControlInput) -> Mask:
    """The connected components of the critical mask, each moved to a random position on the face.

    A component that fits nowhere after 50 attempts is scattered over the face, or over all pixels if the face is full.
    """
    return _moved(given, given.face)


@CONTROLS("centre")
def centre(given: ControlInput) -> Mask:
    """A disc in the middle of the chip: uses only that faces are centred."""
    height, width = given.critical.shape
    rows, columns = np.ogrid[:height, :width]
    distance = (2 * rows - height + 1) ** 2 + (2 * columns - width + 1) ** 2
    return _chosen(given.critical, np.argsort(distance.ravel(), kind="stable"))


@CONTROLS("other_person")
def other_person(given: ControlInput) -> Mask:
    """Another person's critical mask: shows what maps have in common for all faces."""
    return given.other


@CONTROLS("lowest")
def lowest(given: ControlInput) -> Mask:
    """The pixels with the lowest values of the map; ties are broken at random."""
    order = np.lexsort((given.generator.random(given.overall.size), given.overall.ravel()))
    return _chosen(given.critical, order)


def _chosen(mask: Mask, order: NDArray[np.integer]) -> Mask:
    """The first flat positions of an order as a mask, as many as the given mask has pixels."""
    chosen = np.zeros(mask.size, dtype=bool)
    chosen[order[: int(mask.sum())]] = True
    return chosen.reshape(mask.shape)


def _moved(given: ControlInput, allowed: Mask) -> Mask:
    """The critical mask's components, the largest first, each at a random position in ``allowed``."""
    count, blobs = cv2.connectedComponents(given.critical.astype(np.uint8), connectivity=8)
    placed = np.zeros(given.critical.shape, dtype=bool)
    for blob in sorted((blobs == label for label in range(1, count)), key=np.sum, reverse=True):
        _place(blob, placed, allowed, given.generator)
    return placed


def _place(blob: Mask, placed: Mask, allowed: Mask, generator: Generator) -> None:
    """Add a component to ``placed`` at a random free position."""
    free = allowed & ~placed
    rows, columns = np.nonzero(blob)
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

"""Masks to compare a critical mask with: as many pixels, but chosen without the map."""

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
    """What a baseline may look at, all in the geometry of one chip.

    Attributes:
        critical: The critical mask that it stands beside, ``(h, w)``.
        overall: The overall map, ``(h, w)``, non-negative.
        face: The pixels that show the face, ``(h, w)``.
        other: Another person's critical mask, ``(h, w)``; empty where there is no other person.
        generator: Of all that is random.
    """

    critical: Mask
    overall: NDArray[np.floating]
    face: Mask
    other: Mask
    generator: Generator


Control = Callable[[ControlInput], Mask]
"""From what is given to a mask ``(h, w)`` of as many pixels as the critical one."""

CONTROLS: Registry[Control] = Registry("control", "leam.controls")
"""The controls by name."""

_ATTEMPTS = 50


@CONTROLS("scattered")
def scattered(given: ControlInput) -> Mask:
    """Pixels drawn one by one, anywhere."""
    mask = given.critical
    return _chosen(mask, given.generator.choice(mask.size, size=int(mask.sum()), replace=False))


@CONTROLS("moved")
def moved(given: ControlInput) -> Mask:
    """The same blobs, each moved to a random place: shape and size are kept, position is not.

    A blob that finds no free place after many attempts is scattered over free pixels.
    """
    return _moved(given, np.ones_like(given.critical))


@CONTROLS("moved_on_face")
def moved_on_face(given: ControlInput) -> Mask:
    """The same blobs, each moved to a random place on the face.

    A blob that finds none is scattered over the face, and over all pixels once the face is full.
    """
    return _moved(given, given.face)


@CONTROLS("centre")
def centre(given: ControlInput) -> Mask:
    """A disc in the middle of the chip: what knows only that faces are centred."""
    height, width = given.critical.shape
    rows, columns = np.ogrid[:height, :width]
    distance = (2 * rows - height + 1) ** 2 + (2 * columns - width + 1) ** 2
    return _chosen(given.critical, np.argsort(distance.ravel(), kind="stable"))


@CONTROLS("other_person")
def other_person(given: ControlInput) -> Mask:
    """Another person's critical mask: what is left if maps show faces, but not persons."""
    return given.other


@CONTROLS("lowest")
def lowest(given: ControlInput) -> Mask:
    """The pixels that the map ranks lowest; equal ones are drawn at random."""
    order = np.lexsort((given.generator.random(given.overall.size), given.overall.ravel()))
    return _chosen(given.critical, order)


def _chosen(mask: Mask, order: NDArray[np.integer]) -> Mask:
    """The first pixels of an order of flat positions, as many as the mask has."""
    chosen = np.zeros(mask.size, dtype=bool)
    chosen[order[: int(mask.sum())]] = True
    return chosen.reshape(mask.shape)


def _moved(given: ControlInput, allowed: Mask) -> Mask:
    """The critical mask's blobs, the largest first, each at a random place in ``allowed``."""
    count, blobs = cv2.connectedComponents(given.critical.astype(np.uint8), connectivity=8)
    placed = np.zeros(given.critical.shape, dtype=bool)
    for blob in sorted((blobs == label for label in range(1, count)), key=np.sum, reverse=True):
        _place(blob, placed, allowed, given.generator)
    return placed


def _place(blob: Mask, placed: Mask, allowed: Mask, generator: Generator) -> None:
    """Set a blob's pixels somewhere free in ``placed``."""
    free = allowed & ~placed
    rows, columns = np.nonzero(blob)
    rows, columns = rows - rows.min(), columns - columns.min()
    for _ in range(_ATTEMPTS):
        at_row = rows + generator.integers(placed.shape[0] - rows.max())
        at_column = columns + generator.integers(placed.shape[1] - columns.max())
        if free[at_row, at_column].all():
            placed[at_row, at_column] = True
            return
    if free.sum() < len(rows):
        free = ~placed
    placed.flat[generator.choice(np.flatnonzero(free), size=len(rows), replace=False)] = True

"""Drawn faces whose people differ in one region only, by construction.

All faces share a drawn head, covered by a smooth random pattern. In the planted region the pattern is the person's;
everywhere else it is random for each image. Only the planted region can therefore distinguish two people, and only the
constancy of its pattern distinguishes it from the other regions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from leam.errors import InputError

SIDE = 112
"""Height and width of a drawn face in pixels."""

# Centre (row, column) and half axes (vertical, horizontal) of each region in pixels. The nose covers 3.6 % of the
# picture, as in real aligned faces.
_REGIONS: dict[str, tuple[float, float, float, float]] = {
    "forehead": (25.0, 56.0, 8.0, 19.0),
    "left_eye": (44.0, 35.0, 8.5, 12.0),
    "right_eye": (44.0, 77.0, 8.5, 12.0),
    "nose": (64.0, 56.0, 15.0, 9.5),
    "left_cheek": (73.0, 31.0, 11.0, 11.0),
    "right_cheek": (73.0, 81.0, 11.0, 11.0),
    "mouth": (92.0, 56.0, 8.0, 15.0),
}
REGIONS: tuple[str, ...] = tuple(_REGIONS)
"""The regions in which identity can be planted."""

_FACE = (61.0, 56.0, 46.0, 40.0)
_HEAD = (48.0, 56.0, 45.0, 46.0)
_COLOURS = {"background": (92, 98, 108), "hair": (70, 50, 38), "skin": (196, 158, 136)}
_FEATURES = {
    "left_eye": (70, 80, 90),
    "right_eye": (70, 80, 90),
    "nose": (206, 150, 124),
    "mouth": (176, 84, 84),
}
# A pattern is a grid of colours with this spacing in pixels, interpolated bilinearly.
_CELL = 8
# Standard deviations, in units of 0-255 values.
_CONTRAST, _NOISE, _LIGHT = 40.0, 4.0, 12.0
# Largest shift of a face in its image, in pixels in each direction.
_SHIFT = 2

Float = NDArray[np.float32]
_Kind = TypeVar("_Kind", np.uint8, np.bool_)


@dataclass(frozen=True)
class DrawnFaces:
    """Drawn faces and their truth.

    Attributes:
        chips: RGB, ``(n, 112, 112, 3)`` uint8.
        person: The person of each face, ``(n,)``.
        region: The pixels of the planted region, ``(n, 112, 112)`` bool.
        face: The pixels that show the face, ``(n, 112, 112)`` bool.
    """

    chips: NDArray[np.uint8]
    person: NDArray[np.int64]
    region: NDArray[np.bool_]
    face: NDArray[np.bool_]


class Sketch:
    """Draws faces of people who differ in one region.

    Args:
        region: The planted region, one of ``REGIONS``.
        people: Number of people.
        seed: Random seed of the people's appearance.

    Raises:
        InputError: The region is unknown.
    """

    def __init__(self, region: str, people: int, seed: int) -> None:
        if region not in _REGIONS:
            raise InputError(f"{region}: no such region; available: {', '.join(REGIONS)}")
        self.region = region
        self.people = people
        self._inside = _ellipse(*_REGIONS[region])
        self._own = _patterns(people, np.random.default_rng(seed))[:, self._inside]

    def draw(self, person: NDArray[np.int64], seed: int) -> DrawnFaces:
        """Draw new images of people.

        Args:
            person: The person of each image, ``(n,)``, in [0, people).
            seed: Random seed of everything that varies between images.
        """
        count, generator = len(person), np.random.default_rng(seed)
        pictures = _patterns(count, generator)
        pictures[:, self._inside] = self._own[person]
        pictures += _head()
        pictures += _LIGHT * generator.standard_normal((count, 1, 1, 1), dtype=np.float32)
        pictures += _NOISE * generator.standard_normal(pictures.shape, dtype=np.float32)
        shifts = generator.integers(-_SHIFT, _SHIFT + 1, (count, 2))
        return DrawnFaces(
            chips=_shifted(np.clip(np.rint(pictures), 0, 255).astype(np.uint8), shifts),
            person=person,
            region=_shifted(np.repeat(self._inside[None], count, axis=0), shifts),
            face=_shifted(np.repeat(_ellipse(*_FACE)[None], count, axis=0), shifts),
        )


def _head() -> Float:
    """The head shared by all faces, on a background, ``(112, 112, 3)``."""
    picture = np.empty((SIDE, SIDE, 3), dtype=np.float32)
    picture[:] = _COLOURS["background"]
    picture[_ellipse(*_HEAD)] = _COLOURS["hair"]
    picture[_ellipse(*_FACE)] = _COLOURS["skin"]
    for name, colour in _FEATURES.items():
        picture[_ellipse(*_REGIONS[name])] = colour
    return picture


def _ellipse(row: float, column: float, down: float, across: float) -> NDArray[np.bool_]:
    rows, columns = np.ogrid[:SIDE, :SIDE]
    return np.asarray(((rows - row) / down) ** 2 + ((columns - column) / across) ** 2 <= 1)


def _patterns(count: int, generator: Generator) -> Float:
    """Smooth random patterns ``(count, 112, 112, 3)``."""
    knots = np.arange(0, SIDE + _CELL, _CELL)
    place = np.arange(SIDE)[:, None]
    weights = np.clip(1 - np.abs(place - knots) / _CELL, 0, None).astype(np.float32)
    size = (count, 3, len(knots), len(knots))
    grids = _CONTRAST * generator.standard_normal(size, dtype=np.float32)
    return np.ascontiguousarray((weights @ grids @ weights.T).transpose(0, 2, 3, 1))


def _shifted(arrays: NDArray[_Kind], shifts: NDArray[np.int64]) -> NDArray[_Kind]:
    """Shift each image cyclically by its own number of rows and columns."""
    moved = [np.roll(a, tuple(s), axis=(0, 1)) for a, s in zip(arrays, shifts, strict=True)]
    return np.stack(moved)

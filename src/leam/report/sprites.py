"""Many small pictures in few files: the faces and maps of the page of people, and how many of them fit."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Maps = NDArray[np.float32]

PEOPLE_PER_SPRITE: Final = 32
"""People whose pictures, or maps, are in one file. A page decodes a file when it shows the first of them."""
MAP_SIDE: Final = 32
"""Rows and columns of an overall map."""
LAYER_SIDE: Final = 16
"""Rows and columns of a layer's map with a border of one cell, so that a map is one block of the codec."""
COLUMNS: Final = 8
"""Faces, and overall maps, in a row of a file."""

_FACE_QUALITY, _MAP_QUALITY, _LAYER_QUALITY = 62, 60, 40
_SIDES = (160, 128, 96, 64)
# With more pictures of a person, or more layers, a file would exceed the 16383 pixels that the codec allows.
_MOST_PICTURES, _MOST_LAYERS = 24, 400
# Means of 1000 people of LFW by eleven recognizers: bytes of a face for each of its pixels, and of a map.
_FACE_BYTES, _MAP_BYTES, _LAYER_BYTES = 0.115, 97, 42
# Text of a person: name, names of pictures, and for each recognizer figures and region shares.
_PERSON_TEXT, _FIGURE_TEXT = 110, 77
# Part of the room that faces and overall maps leave for the layers.
_FOR_LAYERS = 0.35


@dataclass(frozen=True)
class Size:
    """What a page can show of a study.

    Attributes:
        people: Number of people.
        pictures: Largest number of pictures of a person.
        side: Height and width of a face in pixels.
    """

    people: int
    pictures: int
    side: int


def fitting(counts: Sequence[int], layers: Sequence[int], room: float) -> Size:
    """How many people and pictures fit into a page, and the size of faces.

    All people and up to 24 pictures of each, with faces of 160 pixels, or down to 96; then fewer pictures of each
    person; then faces of 64 pixels; then fewer people.

    Args:
        counts: Number of pictures of each person.
        layers: Number of layers of each recognizer.
        room: Bytes of the page, after base64.
    """
    most, recognizers = min(max(counts, default=1), _MOST_PICTURES), len(layers)
    some = [n for n in (most, 8, 4, 2, 1) if n <= most]
    sizes = [Size(len(counts), most, side) for side in _SIDES[:-1]]
    sizes += [Size(len(counts), n, _SIDES[-2]) for n in some] + [Size(len(counts), 1, _SIDES[-1])]
    left = room * (1 - _FOR_LAYERS if any(layers) else 1)
    for size in sizes:
        if _bytes(counts, size, recognizers) <= left:
            return size
    each = _bytes([1], Size(1, 1, _SIDES[-1]), recognizers)
    return Size(min(len(counts), max(1, int(left / each))), 1, _SIDES[-1])


def _bytes(counts: Sequence[int], size: Size, recognizers: int) -> float:
    pictures = sum(min(count, size.pictures) for count in counts)
    faces = pictures * size.side**2 * _FACE_BYTES
    maps = (pictures + len(counts)) * recognizers * _MAP_BYTES
    text = len(counts) * (_PERSON_TEXT + recognizers * _FIGURE_TEXT)
    return (faces + maps) * 4 / 3 + text


def chosen_layers(layers: Sequence[int], people: int, room: float) -> list[NDArray[np.intp]]:
    """The layers of each recognizer that fit: evenly spaced, as many of one recognizer as of another.

    Args:
        layers: Number of layers of each recognizer.
        people: Number of people.
        room: Bytes that are left, after base64.
    """
    each = people * _LAYER_BYTES * 4 / 3
    most = min(max(layers, default=0), _MOST_LAYERS)
    while most and sum(min(count, most) for count in layers) * each > room:
        most -= 1
    return [
        np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.intp))
        if count and most
        else np.zeros(0, dtype=np.intp)
        for count in layers
    ]


def face_sprite(faces: Sequence[NDArray[np.uint8]]) -> str:
    """Faces ``(side, side, 3)`` as one file, eight in a row."""
    return _webp(_grid(np.stack(faces), COLUMNS), _FACE_QUALITY)


def map_sprite(maps: Maps) -> tuple[str, float]:
    """Overall maps ``(n, 32, 32)`` as one file, eight in a row, and the value that 255 stands for."""
    coded, end = _coded(maps)
    return _webp(_grid(coded, COLUMNS), _MAP_QUALITY), end


def layer_sprite(maps: Maps) -> tuple[str, float]:
    """Layer maps ``(people, layers, 14, 14)`` as one file, a row for each person, and the value that 255 stands for."""
    coded, end = _coded(maps)
    bordered = np.pad(coded, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    people, layers = coded.shape[:2]
    grid = bordered.transpose(0, 2, 1, 3).reshape(people * LAYER_SIDE, layers * LAYER_SIDE)
    return _webp(grid, _LAYER_QUALITY), end


def small_map(values: NDArray[np.floating], side: int = MAP_SIDE) -> Maps:
    """A map ``(h, w)`` averaged in ``side x side`` cells, in multiples of its mean; all zero if it is empty."""
    known = np.nan_to_num(values.astype(np.float32), posinf=0, neginf=0)
    small = np.asarray(cv2.resize(known, (side, side), interpolation=cv2.INTER_AREA))
    return np.asarray(small / (small.mean() or 1.0), dtype=np.float32)


def packed(values: NDArray[np.generic]) -> str:
    """Numbers as base64, in the byte order of nearly every machine."""
    ordered = values.astype(values.dtype.newbyteorder("<"))
    return base64.b64encode(ordered.tobytes()).decode()


def shares(values: NDArray[np.floating]) -> NDArray[np.uint16]:
    """Numbers in [0, 1] in steps of 1/65534; 65535 stands for NaN."""
    steps = np.round(np.clip(np.nan_to_num(values), 0, 1) * 65534)
    return np.where(np.isfinite(values), steps, 65535).astype(np.uint16)


def _coded(maps: Maps) -> tuple[NDArray[np.uint8], float]:
    """Maps as square roots, which keeps small values apart, with the value that 255 stands for."""
    end = float(maps.max(initial=0.0)) or 1.0
    return np.round(255 * np.sqrt(np.clip(maps, 0, end) / end)).astype(np.uint8), end


def _grid(tiles: NDArray[np.uint8], columns: int) -> NDArray[np.uint8]:
    """Tiles ``(n, s, s[, 3])`` in rows of ``columns``; the last row is filled with zeros."""
    count, side = tiles.shape[:2]
    rows = -(-count // columns)
    filled = np.zeros((rows * columns, *tiles.shape[1:]), dtype=np.uint8)
    filled[:count] = tiles
    laid = filled.reshape(rows, columns, side, side, *tiles.shape[3:]).swapaxes(1, 2)
    return laid.reshape(rows * side, columns * side, *tiles.shape[3:])


def _webp(picture: NDArray[np.uint8], quality: int) -> str:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "WEBP", quality=quality, method=4)
    return base64.b64encode(stream.getvalue()).decode()

"""Parsings as pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from leam.faces.read import Picture
from leam.parsers.parsing import Parsing
from leam.parsers.regions import LABELS

_COLOURS = np.array([label.colour for label in LABELS], dtype=np.uint8)
_STRENGTH = 0.6


def overlay(picture: Picture, parsing: Parsing) -> Picture:
    """Lay the colours of the labels over a picture ``(h, w, 3)`` of the parsing's size."""
    mixed = (1 - _STRENGTH) * picture + _STRENGTH * _COLOURS[parsing.labels]
    return np.round(mixed).astype(np.uint8)


def write_labels(parsing: Parsing, path: Path) -> None:
    """Write a palette PNG: its pixels are positions in ``LABELS``, its colours the labels'."""
    image = Image.fromarray(parsing.labels)
    image.putpalette(_COLOURS.ravel().tolist())
    image.save(path)

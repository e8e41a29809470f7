"""Write a parsed picture: label map, overlay and region areas."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TypedDict

import numpy as np
from PIL import Image

from leam.faces.alignment import Crop
from leam.faces.face import Face
from leam.faces.reading import Picture
from leam.parsers.parsing import Frame, Parser, Parsing, region_table, weights_sha256
from leam.parsers.regions import LABELS

_COLOURS = np.array([label.colour for label in LABELS], dtype=np.uint8)
_STRENGTH = 0.6
_DIGITS = 6


class RegionRow(TypedDict):
    """The part of the pixels that a region covers, and the mean confidence in them; None if it covers none."""

    area: float
    confidence: float | None


Areas = dict[str, RegionRow]


def write_parsing(face: Face, parser: Parser, folder: Path) -> Areas:
    """Parse the picture of a face and write ``labels.png``, ``overlay.png`` and ``areas.json``.

    Args:
        face: The face; its whole picture is parsed.
        parser: The parser.
        folder: The folder to write into; created if missing.

    Returns:
        Area and mean confidence of each region of the 112x112 chip, by name.

    Raises:
        FaceError: The parser finds no face.
    """
    folder.mkdir(parents=True, exist_ok=True)
    whole, chip = parser.parse(face, Frame.of(face)), parser.parse(face, Crop())
    write_labels(whole, folder / "labels.png")
    Image.fromarray(overlay(face.picture, whole)).save(folder / "overlay.png")
    areas = {
        "image": str(face.source.path) if face.source else None,
        "image_sha256": face.sha256,
        "parser": parser.name,
        "parser_sha256": weights_sha256(parser),
        "labels": [label.name for label in LABELS],
        "picture": _areas(whole),
        "chip": _areas(chip),
    }
    (folder / "areas.json").write_text(json.dumps(areas, indent=2) + "\n", encoding="utf-8")
    return _areas(chip)


def overlay(picture: Picture, parsing: Parsing) -> Picture:
    """A picture ``(h, w, 3)`` of the parsing's size, tinted with the colours of the labels."""
    mixed = (1 - _STRENGTH) * picture + _STRENGTH * _COLOURS[parsing.labels]
    return np.round(mixed).astype(np.uint8)


def write_labels(parsing: Parsing, path: Path) -> None:
    """Write a PNG whose pixels are positions in ``LABELS`` and whose palette has the labels' colours."""
    image = Image.fromarray(parsing.labels)
    image.putpalette(_COLOURS.ravel().tolist())
    image.save(path)


def _areas(parsing: Parsing) -> Areas:
    return {
        row.region: {
            "area": round(row.area, _DIGITS),
            "confidence": None if math.isnan(row.confidence) else round(row.confidence, _DIGITS),
        }
        for row in region_table(parsing)
    }

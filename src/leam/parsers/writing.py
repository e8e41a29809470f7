"""What ``leam parse`` leaves behind."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TypedDict

from PIL import Image

from leam.faces.align import Crop
from leam.faces.face import Face
from leam.parsers.areas import region_table
from leam.parsers.frame import Frame
from leam.parsers.paint import overlay, write_labels
from leam.parsers.parsing import Parser, Parsing
from leam.parsers.regions import LABELS

_DIGITS = 6


class RegionRow(TypedDict):
    """A region's part of the pixels, and the mean confidence there; None where it has none."""

    area: float
    confidence: float | None


Areas = dict[str, RegionRow]


def write_parsing(face: Face, parser: Parser, folder: Path) -> Areas:
    """Parse the picture of a face and write ``labels.png``, ``overlay.png`` and ``areas.json``.

    Args:
        face: Its whole picture is parsed.
        parser: Names the regions.
        folder: Written into; made if missing.

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
        "image": str(face.path) if face.path else None,
        "parser": parser.name,
        "labels": [label.name for label in LABELS],
        "picture": _areas(whole),
        "chip": _areas(chip),
    }
    (folder / "areas.json").write_text(json.dumps(areas, indent=2) + "\n", encoding="utf-8")
    return _areas(chip)


def _areas(parsing: Parsing) -> Areas:
    return {
        row.region: {
            "area": round(row.area, _DIGITS),
            "confidence": None if math.isnan(row.confidence) else round(row.confidence, _DIGITS),
        }
        for row in region_table(parsing)
    }

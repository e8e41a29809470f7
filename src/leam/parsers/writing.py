"""Write a parsed picture: label map, overlay and region areas."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict

from leam.faces.alignment import Crop
from leam.faces.face import Face
from leam.faces.reading import Picture
from leam.parsers.parsing import Frame, Parser, Parsing, region_table, weights_sha256
from leam.parsers.regions import LABELS

_COLOURS = np.array([label.colour for label in LABELS], dtype=np.uint8)
_STRENGTH = 0.6
_DIGITS = 6


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class RegionArea(_Record):
    """One region of a parsing."""

    area: float
    """Part of the pixels that the region covers, in [0, 1]."""
    confidence: float | None
    """The parser's mean confidence in them; null if it covers none."""


class ParsingRecord(_Record):
    """A parsed picture, as ``areas.json`` holds it."""

    image: str | None
    """Path of the picture; null for pixels that were not read from a file."""
    image_sha256: str
    """SHA-256 of the file, or of the pixels without one."""
    parser: str
    """The face parser's name."""
    parser_sha256: str | None
    """SHA-256 of the parser's weights; null if it has none."""
    labels: list[str]
    """The label that each value of ``labels.png`` stands for."""
    picture: dict[str, RegionArea]
    """Regions of the whole picture, by name."""
    chip: dict[str, RegionArea]
    """Regions of the aligned face of 112x112 pixels, by name."""


def write_parsing(face: Face, parser: Parser, folder: Path) -> ParsingRecord:
    """Parse the picture of a face and write ``labels.png``, ``overlay.png`` and ``areas.json``.

    Args:
        face: The face; its whole picture is parsed.
        parser: The parser.
        folder: The folder to write into; created if missing.

    Returns:
        What ``areas.json`` holds.

    Raises:
        FaceError: The parser finds no face.
    """
    folder.mkdir(parents=True, exist_ok=True)
    whole, chip = parser.parse(face, Frame.of(face)), parser.parse(face, Crop())
    write_labels(whole, folder / "labels.png")
    Image.fromarray(overlay(face.picture, whole)).save(folder / "overlay.png")
    record = ParsingRecord(
        image=str(face.source.path) if face.source else None,
        image_sha256=face.sha256,
        parser=parser.name,
        parser_sha256=weights_sha256(parser),
        labels=[label.name for label in LABELS],
        picture=_areas(whole),
        chip=_areas(chip),
    )
    (folder / "areas.json").write_text(record.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return record


def overlay(picture: Picture, parsing: Parsing) -> Picture:
    """A picture ``(h, w, 3)`` of the parsing's size, tinted with the colours of the labels."""
    mixed = (1 - _STRENGTH) * picture + _STRENGTH * _COLOURS[parsing.labels]
    return np.round(mixed).astype(np.uint8)


def write_labels(parsing: Parsing, path: Path) -> None:
    """Write a PNG whose pixels are positions in ``LABELS`` and whose palette has the labels' colours."""
    image = Image.fromarray(parsing.labels)
    image.putpalette(_COLOURS.ravel().tolist())
    image.save(path)


def _areas(parsing: Parsing) -> dict[str, RegionArea]:
    return {
        row.region: RegionArea(
            area=round(row.area, _DIGITS),
            confidence=None if math.isnan(row.confidence) else round(row.confidence, _DIGITS),
        )
        for row in region_table(parsing)
    }

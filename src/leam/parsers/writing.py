"""Write a parsed picture: label map, overlay and region areas."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict

from leam.devices import CPU, description
from leam.errors import FaceError
from leam.faces.alignment import Crop
from leam.faces.face import Face
from leam.figures import figure_bytes
from leam.files import private_folder, write_private
from leam.parsers.drawing import parsing_figure
from leam.parsers.parsing import (
    BatchParser,
    Frame,
    Parser,
    Parsing,
    region_table,
    unchecked_weights,
    weights_sha256,
)
from leam.parsers.regions import LABELS

_COLOURS = np.array([label.colour for label in LABELS], dtype=np.uint8)
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
    unchecked: list[str]
    """Models whose weights were not compared with a published checksum, in sentences."""
    device: str
    """The device that the parser's network ran on; ``cpu`` for a parser without one."""
    precision: str
    """What it computed with: ``float32`` or ``bfloat16``."""
    labels: list[str]
    """The label that each value of ``labels.png`` stands for."""
    picture: dict[str, RegionArea]
    """Regions of the whole picture, by name."""
    chip: dict[str, RegionArea]
    """Regions of the aligned face of 112x112 pixels, by name."""


def write_parsings(
    faces: Sequence[Face], parser: Parser, folders: Sequence[Path], batch_size: int = 1
) -> Iterator[ParsingRecord | FaceError]:
    """Parse the pictures of faces and write ``labels.png``, ``overlay.png`` and ``areas.json`` for each.

    Args:
        faces: The faces; their whole pictures are parsed.
        parser: The parser.
        folders: The folder to write into for each face; created if missing.
        batch_size: Number of faces per pass of the parser's network.

    Yields:
        For each face what ``areas.json`` holds, or the error of a parser that finds no face.
    """
    for start in range(0, len(faces), batch_size):
        batch = slice(start, start + batch_size)
        for face, folder, found in zip(
            faces[batch], folders[batch], _parsed(parser, faces[batch]), strict=True
        ):
            yield found if isinstance(found, FaceError) else _write(face, parser, folder, *found)


def write_parsing(face: Face, parser: Parser, folder: Path) -> ParsingRecord:
    """Parse the picture of one face and write its files; see :func:`write_parsings`.

    Raises:
        FaceError: The parser finds no face.
    """
    (record,) = write_parsings([face], parser, [folder])
    if isinstance(record, FaceError):
        raise record
    return record


def _parsed(parser: Parser, faces: Sequence[Face]) -> Iterator[tuple[Parsing, Parsing] | FaceError]:
    """The parsings of each face in its picture's frame and in the chip, or the parser's error."""
    crops = [[Frame.of(face), Crop()] for face in faces]
    if isinstance(parser, BatchParser):
        yield from ((whole, chip) for whole, chip in parser.parse_batch(faces, crops))
        return
    for face, (frame, crop) in zip(faces, crops, strict=True):
        try:
            yield parser.parse(face, frame), parser.parse(face, crop)
        except FaceError as error:
            yield error


def _write(
    face: Face, parser: Parser, folder: Path, whole: Parsing, chip: Parsing
) -> ParsingRecord:
    private_folder(folder)
    write_private(folder / "labels.png", _png(_labels_image(whole)))
    figure = parsing_figure(face, whole, parser.name)
    write_private(folder / "overlay.png", figure_bytes(figure))
    record = ParsingRecord(
        image=str(face.source.path) if face.source else None,
        image_sha256=face.sha256,
        parser=parser.name,
        parser_sha256=weights_sha256(parser),
        unchecked=[*unchecked_weights(parser.name)],
        device=description(getattr(parser, "device", CPU)),
        precision=getattr(parser, "precision", "float32"),
        labels=[label.name for label in LABELS],
        picture=_areas(whole),
        chip=_areas(chip),
    )
    # Pydantic's own text cannot hold a path that is not UTF-8.
    text = json.dumps(record.model_dump(), indent=2, allow_nan=False)
    write_private(folder / "areas.json", f"{text}\n".encode())
    return record


def _labels_image(parsing: Parsing) -> Image.Image:
    """A picture whose pixels are positions in ``LABELS`` and whose palette has the labels' colours."""
    image = Image.fromarray(parsing.labels)
    image.putpalette(_COLOURS.ravel().tolist())
    return image


def _png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def _areas(parsing: Parsing) -> dict[str, RegionArea]:
    return {
        row.region: RegionArea(
            area=round(row.area, _DIGITS),
            confidence=None if math.isnan(row.confidence) else round(row.confidence, _DIGITS),
        )
        for row in region_table(parsing)
    }

"""A layout of data sets: a text file whose first line is "faces", and then PERSON PICTURE in each line."""

from __future__ import annotations

from pathlib import Path

from leam.faces.datasets import Layout
from leam.faces.people import Dataset, Sample
from leam.progress import Progress


def _recognises(source: Path) -> bool:
    return source.is_file() and source.read_bytes().startswith(b"faces\n")


def _read(source: Path, folder: Path | None, _: Progress) -> Dataset:
    rows = [line.split() for line in source.read_text().splitlines()[1:]]
    base = folder or source.parent
    return Dataset.of(Sample(base / picture, picture, person) for person, picture in rows)


LISTING = Layout(what="a listing of faces", recognises=_recognises, read=_read)

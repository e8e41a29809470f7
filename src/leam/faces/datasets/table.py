"""A CSV file with the columns image and person; its other columns are groups."""

from __future__ import annotations

import unicodedata
from pathlib import Path

from leam.errors import InputError
from leam.faces.datasets import DATASETS, Layout
from leam.faces.datasets.folder import pictures_in
from leam.faces.people import Dataset, Sample
from leam.faces.tables import normal, rows_of, slashed
from leam.progress import Progress

_REQUIRED = ("image", "person")


def read_table(source: Path, folder: Path | None, _: Progress) -> Dataset:
    """Read a table. Its paths are relative to the folder, or to the table.

    Raises:
        InputError: The table cannot be read, lacks a column, or names a picture twice.
    """
    samples: list[Sample] = []
    exclusions: dict[str, str] = {}
    lines: dict[str, int] = {}
    for line, row in rows_of(source, _REQUIRED):
        image, person = slashed(row.pop("image")), normal(row.pop("person"))
        path, name = located(folder or source.parent, image), normal(image)
        if name in lines:
            raise InputError(
                f"{source}, line {line}: {name} is already in line {lines[name]}; remove one of the rows"
            )
        lines[name] = line
        groups = {column: value for column, value in row.items() if value}
        samples += [
            Sample(one, label, person, groups, member)
            for one, label, member in pictures_in(path, name, exclusions)
        ]
    return Dataset.of(samples, exclusions)


def located(folder: Path, image: str) -> Path:
    """The path of a picture that a table names, whichever Unicode form the file's name has."""
    path = folder / image
    if not image.isascii() and not path.exists():
        for form in ("NFC", "NFD"):
            other = folder / unicodedata.normalize(form, image)
            if other.exists():
                return other
    return path


DATASETS("table")(
    Layout(
        what="a CSV file with the columns image and person",
        recognises=Path.is_file,
        read=read_table,
        general=True,
    )
)

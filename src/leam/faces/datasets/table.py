"""A CSV file with the columns image and person; its other columns are groups."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from leam.errors import InputError
from leam.faces.datasets import DATASETS, Layout
from leam.faces.datasets.folder import pictures_in
from leam.faces.people import Dataset, Sample
from leam.faces.reading import picture_suffixes
from leam.faces.tables import forms_of, is_missing, normal, rows_of, slashed
from leam.files import exists
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
    files: dict[str, int] = {}
    for line, row in rows_of(source, _REQUIRED):
        image, person = slashed(row.pop("image")), normal(row.pop("person"))
        path, name = located(folder or source.parent, image), normal(image)
        # One file may be written in two ways, such as a.jpg and ./a.jpg.
        file = os.path.abspath(path)  # noqa: PTH100  faster
        before = lines.get(name) or files.get(file)
        if before:
            raise InputError(
                f"{source}, line {line}: {name} is already in line {before}; remove one of the rows"
            )
        lines[name] = files[file] = line
        groups = {column: value for column, value in row.items() if not is_missing(value)}
        samples += [
            Sample(one, label, person, groups, member)
            for one, label, member in pictures_in(path, name, exclusions)
        ]
    return Dataset.of(samples, exclusions)


def located(folder: Path, image: str) -> Path:
    """The path of a picture that a table names: in whichever Unicode form, and with the suffix if the name has none.

    A name without a suffix stands for the one picture that has it; if there are several, for none of them.
    """
    forms = forms_of(image)
    for form in forms:
        if exists(folder / form):
            return folder / form
    readable = picture_suffixes()
    if PurePosixPath(image).suffix.lower() in readable:
        return folder / image
    found = [
        path
        for form in forms
        for suffix in readable
        for path in {folder / f"{form}{suffix}", folder / f"{form}{suffix.upper()}"}
        if exists(path)
    ]
    return found[0] if len(found) == 1 else folder / image


DATASETS("table")(
    Layout(
        what="a CSV file with the columns image and person",
        recognises=Path.is_file,
        read=read_table,
        general=True,
    )
)

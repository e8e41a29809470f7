"""Data sets of faces: a folder with one subfolder per person, or a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from leam.errors import InputError
from leam.files import open_regular

PICTURE_SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
_REQUIRED_COLUMNS = ("image", "person")


@dataclass(frozen=True)
class Sample:
    """One picture of one person.

    Attributes:
        path: The picture's file.
        image: The picture's name in every output: its path relative to the folder or the table, with forward slashes.
        person: The person's name.
        groups: Values of the table's other columns, such as ``gender``.
    """

    path: Path
    image: str
    person: str
    groups: dict[str, str] = field(default_factory=dict)


def read_people(source: str | Path) -> list[Sample]:
    """The pictures of a folder with one subfolder per person, or of a CSV file with the columns image and person.

    Hidden files in a subfolder are ignored, as are files without a picture's suffix. Pictures that a table names are
    not checked here, so that missing ones are reported later; relative paths are relative to the table.

    Returns:
        Sorted by person, then image.

    Raises:
        InputError: The source does not exist, contains no pictures, or is a table without these columns; or a file
            name is not valid Unicode.
    """
    source = Path(source)
    if source.is_dir():
        samples = _from_folder(source)
    elif source.is_file():
        samples = _from_table(source)
    else:
        raise InputError(f"{source}: no such folder or table")
    for sample in samples:
        if not _is_text(sample.image):
            name = sample.image.encode(errors="backslashreplace").decode()
            raise InputError(f"{source}: the name of {name} is not UTF-8; rename it")
    if not samples:
        raise InputError(
            f"{source}: no pictures found; expected one subfolder of pictures per person"
        )
    return sorted(samples, key=lambda sample: (sample.person, sample.image))


def draw_people(
    samples: Sequence[Sample], people: int | None, images: int | None, seed: int
) -> list[Sample]:
    """A random sample of the people with at least two pictures, and of each person's pictures.

    Args:
        samples: All pictures.
        people: The number of people; all by default. People with a single picture are kept only if no number is given,
            so that they are reported as excluded.
        images: The maximal number of pictures of a person; all by default.
        seed: Random seed.
    """
    by_person: dict[str, list[Sample]] = {}
    for sample in samples:
        by_person.setdefault(sample.person, []).append(sample)
    generator = np.random.default_rng(seed)
    chosen = list(by_person)
    if people is not None:
        several = [person for person in chosen if len(by_person[person]) > 1]
        picked = generator.permutation(len(several))[:people]
        chosen = [several[index] for index in sorted(picked)]
    return [sample for person in chosen for sample in _draw(by_person[person], images, generator)]


def add_groups(samples: Sequence[Sample], table: str | Path) -> list[Sample]:
    """Add the columns of a table of people to each picture's groups.

    Args:
        samples: The pictures.
        table: A CSV file with the column person, one row per person. People missing from it get no groups.

    Raises:
        InputError: The table cannot be read, or has no such column.
    """
    rows = _read_csv(Path(table), ("person",))
    columns = {row["person"]: {k: v for k, v in row.items() if k != "person"} for row in rows}
    return [
        replace(sample, groups={**sample.groups, **columns.get(sample.person, {})})
        for sample in samples
    ]


def _draw(
    samples: list[Sample], images: int | None, generator: np.random.Generator
) -> list[Sample]:
    if images is None or images >= len(samples):
        return samples
    return [samples[index] for index in sorted(generator.permutation(len(samples))[:images])]


def _from_folder(folder: Path) -> list[Sample]:
    return [
        Sample(path, path.relative_to(folder).as_posix(), person.name)
        for person in folder.iterdir()
        if person.is_dir() and not person.name.startswith(".")
        for path in person.iterdir()
        if path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".")
    ]


def _from_table(table: Path) -> list[Sample]:
    samples = []
    for row in _read_csv(table, _REQUIRED_COLUMNS):
        groups = {name: value for name, value in row.items() if name not in _REQUIRED_COLUMNS}
        samples.append(Sample(table.parent / row["image"], row["image"], row["person"], groups))
    return samples


def _is_text(name: str) -> bool:
    """Whether a file name is valid Unicode and can be written to a table."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read_csv(table: Path, required: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV file; its required columns must exist and be filled."""
    try:
        with (
            open_regular(table) as stream,
            io.TextIOWrapper(stream, encoding="utf-8-sig", newline="") as text,
        ):
            rows = list(csv.DictReader(text))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{table}: not a readable CSV file ({reason})") from None
    missing = [name for name in required if rows and name not in rows[0]]
    if missing:
        raise InputError(
            f"{table}: the column {missing[0]!r} is missing; required: {', '.join(required)}"
        )
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values() or not all(row[name] for name in required):
            expected = f"{len(rows[0])} values, {' and '.join(required)} not empty"
            raise InputError(f"{table}, line {number}: expected {expected}")
        if any("\0" in value for value in row.values()):
            raise InputError(f"{table}, line {number}: contains a null byte")
    return rows

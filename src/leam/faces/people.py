"""Data sets of faces: the pictures of people, with groups and pairs, from any known layout."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import numpy as np

from leam.errors import ImageError, InputError
from leam.faces.datasets import DATASETS, Layout
from leam.faces.reading import read_picture, unreadable
from leam.faces.tables import is_missing, normal, rows_of, slashed
from leam.progress import Progress, silent


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture of one person.

    Attributes:
        path: The picture's file.
        image: The picture's name in every output: its path relative to the folder or the table, with forward slashes;
            for a picture inside a file followed by # and its place, as in ``lfw.bin#000123``.
        person: The person's name.
        groups: Values of the table's other columns, such as ``gender``.
        member: The place of the picture inside the file; see :func:`leam.faces.reading.read_picture_file`.
    """

    path: Path
    image: str
    person: str
    groups: dict[str, str] = field(default_factory=dict)
    member: str = ""


# A sample stores its path as text, which takes a fifth of the memory: data sets have millions of pictures.
_text = Sample.__dict__["path"]
setattr(  # noqa: B010  the class has a slot of this name
    Sample,
    "path",
    property(
        lambda sample: Path(_text.__get__(sample)),
        lambda sample, path: _text.__set__(sample, os.fspath(path)),
    ),
)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two pictures, and whether they show the same person.

    Attributes:
        left: Name of a picture.
        right: Name of the other picture.
        same: Whether they show the same person.
        fold: The part of the verification set that the pair belongs to, from 0; None if there are no parts.
    """

    left: str
    right: str
    same: bool
    fold: int | None = None


@dataclass(frozen=True)
class Dataset:
    """A data set of faces.

    Attributes:
        people: The pictures of each person, by name. Sorted by name, then by picture.
        exclusions: Why each other file is not used, by its name relative to the source.
        pairs: The pairs of a verification set, whose names are those of the pictures.
        notes: Sentences about how the source was read.
    """

    people: Mapping[str, Sequence[Sample]]
    exclusions: Mapping[str, str] = field(default_factory=dict)
    pairs: Sequence[Pair] = ()
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        samples: Iterable[Sample],
        exclusions: Mapping[str, str] | None = None,
        pairs: Sequence[Pair] = (),
        notes: tuple[str, ...] = (),
    ) -> Dataset:
        """A data set of these pictures.

        Raises:
            InputError: Two pictures have the same name.
        """
        people: dict[str, list[Sample]] = {}
        last: Sample | None = None
        for sample in sorted(samples, key=lambda one: (one.person, one.image)):
            if last and (last.person, last.image) == (sample.person, sample.image):
                raise InputError(
                    f"{sample.path}: two pictures are called {sample.image} in Unicode; rename one of them"
                )
            people.setdefault(sample.person, []).append(sample)
            last = sample
        return cls(people, exclusions or {}, pairs, notes)

    @property
    def samples(self) -> list[Sample]:
        """All pictures."""
        return [sample for pictures in self.people.values() for sample in pictures]

    def draw(self, people: int | None, images: int | None, seed: int) -> list[Sample]:
        """A random sample of the people with at least two pictures, and of each person's pictures.

        Args:
            people: The number of people; all by default. People with a single picture are kept only if no number is
                given, so that they are reported as excluded.
            images: The maximal number of pictures of a person; all by default.
            seed: Random seed.
        """
        generator = np.random.default_rng(seed)
        chosen = list(self.people)
        if people is not None:
            several = [person for person in chosen if len(self.people[person]) > 1]
            picked = generator.permutation(len(several))[:people]
            chosen = [several[index] for index in sorted(picked)]
        return [
            sample for person in chosen for sample in _draw(self.people[person], images, generator)
        ]


def read_dataset(
    source: str | Path, folder: str | Path | None = None, progress: Progress = silent
) -> Dataset:
    """Read a data set of faces in any layout of :data:`leam.faces.datasets.DATASETS`.

    Args:
        source: A folder, a table, a list of pairs, an archive or a video.
        folder: The folder of the pictures that a table or a list names; by default, the one of the table.
        progress: Progress callback.

    Raises:
        InputError: The source does not exist, is damaged, or contains no pictures; or a name is not valid Unicode.
    """
    source = Path(source)
    if not source.exists():
        raise InputError(f"{source}: no such file or folder")
    if not source.is_dir() and not source.is_file():
        raise InputError(
            f"{source}: is a pipe or a device, which can be read only once; write it to a file first"
        )
    layout = _layout_of(source)
    if layout.general and source.is_file() and _is_picture(source):
        raise InputError(f"{source}: is a picture; give the folder of the people, or a table")
    dataset = layout.read(source, Path(folder) if folder else None, progress)
    if not dataset.people:
        raise InputError(
            f"{source}: no pictures found; expected one subfolder of pictures per person{_why(dataset)}"
        )
    pairs, notes = _without_self_pairs(dataset.pairs)
    notes += _alike_notes(dataset.people)
    return replace(dataset, pairs=pairs, notes=(*dataset.notes, *notes))


def read_people(source: str | Path) -> list[Sample]:
    """All pictures of a data set; see :func:`read_dataset`.

    Pictures that a table names are not checked here, so that missing ones are reported later.

    Returns:
        Sorted by person, then image.

    Raises:
        InputError: As for :func:`read_dataset`.
    """
    return read_dataset(source).samples


def draw_people(
    samples: Sequence[Sample], people: int | None, images: int | None, seed: int
) -> list[Sample]:
    """A random sample of people and of their pictures, as :meth:`Dataset.draw` does it."""
    by_person: dict[str, list[Sample]] = {}
    for sample in samples:
        by_person.setdefault(sample.person, []).append(sample)
    return Dataset(by_person).draw(people, images, seed)


def add_groups(
    samples: Sequence[Sample], table: str | Path, among: Collection[str] | None = None
) -> list[Sample]:
    """Add the columns of a table of people to each picture's groups.

    Args:
        samples: The pictures.
        table: A CSV file with the column person, one row per person. People missing from it get no groups, nor do
            empty cells, and NaN, NA, N/A and NULL.
        among: The people of whom the table must name at least one; by default those of the samples.

    Raises:
        InputError: The table cannot be read, has no such column, names a person twice or in another way than the
            pictures (another case, 1 for 001, with a folder), or names none of the people.
    """
    table = Path(table)
    groups: dict[str, dict[str, str]] = {}
    lines: dict[str, int] = {}
    for line, row in rows_of(table, ("person",)):
        person = normal(row.pop("person"))
        if person in groups:
            raise InputError(
                f"{table}, line {line}: {person} is already in line {lines[person]}; remove one of the rows"
            )
        groups[person], lines[person] = _filled(row), line
    names = {sample.person for sample in samples} if among is None else among
    _check_names(table, lines, names)
    return [
        replace(sample, groups={**sample.groups, **groups.get(sample.person, {})})
        for sample in samples
    ]


def crossed(samples: Sequence[Sample], columns: Iterable[str]) -> list[Sample]:
    """Add the intersections of columns that are named ``first+second`` to each picture's groups.

    Args:
        samples: The pictures.
        columns: Names of columns; those without ``+`` are not changed. A picture without one of the values has none.
    """
    parts = {column: column.split("+") for column in columns if "+" in column}
    if not parts:
        return list(samples)
    return [
        replace(
            sample,
            groups=sample.groups
            | {
                column: " + ".join(sample.groups[name] for name in names)
                for column, names in parts.items()
                if all(name in sample.groups for name in names)
            },
        )
        for sample in samples
    ]


def _check_names(table: Path, lines: Mapping[str, int], people: Collection[str]) -> None:
    """Refuse a table that names none of the people, or one of them in another way than the pictures do."""
    without = {_loose(person): person for person in people if person not in lines}
    for name, line in lines.items():
        meant = next((without[one] for one in _loose_forms(name) if one in without), None)
        if meant is not None and name not in people:
            raise InputError(
                f"{table}, line {line}: {name!r} is none of the people, but {meant!r} is; write the names alike"
            )
    if people and lines.keys().isdisjoint(people):
        has = f"it has {next(iter(lines))!r}" if lines else "it has no rows"
        raise InputError(
            f"{table}: names none of the people; {has}, the pictures have {min(people)!r}"
        )


def _loose(name: str) -> str:
    """A name as people and spreadsheets may change it: without case, leading zeros, decimals, and kinds of spaces."""
    if name.isascii() and name.isalnum():
        return name.casefold().lstrip("0") or "0"
    letters = unicodedata.normalize("NFKC", name).casefold().replace("_", " ")
    # Letters of the category Cf, such as spaces without width, are not seen.
    visible = "".join(one for one in letters if unicodedata.category(one) != "Cf")
    words = visible.removesuffix(".0").split()
    return " ".join(word.lstrip("0") or "0" for word in words)


def _loose_forms(name: str) -> list[str]:
    """The loose forms of a name that may be a path: itself, its last part, and the folder of that."""
    parts = slashed(name).strip("/").split("/")
    return [_loose(form) for form in (name, *parts[:-3:-1])]


def group_notes(samples: Iterable[Sample]) -> list[str]:
    """How many people have a value in each column, such as "412 of 1000 people have a value for gender".

    Also how many have several, and which columns have values that differ only in case or spaces.
    """
    people: set[str] = set()
    values: dict[str, dict[str, str | None]] = {}
    for sample in samples:
        people.add(sample.person)
        for column, value in sample.groups.items():
            add_value(values.setdefault(column, {}), sample.person, value)
    notes = []
    for column, found in sorted(values.items()):
        several = sum(value is None for value in found.values())
        notes.append(f"{len(found)} of {len(people)} people have a value for {column}")
        if several:
            notes.append(
                f"{several} of {len(people)} people have several values for {column} and are in none of its groups"
            )
        named = {value for value in found.values() if value is not None}
        if alike := len(named) - len({_loose(value) for value in named}):
            notes.append(
                f"{alike} of {len(named)} values of {column} are another one in other case or spaces; they count as "
                "different groups"
            )
    return notes


def add_value(values: dict[str, str | None], person: str, value: str) -> None:
    """Add a picture's value to those of people; None stands for several values of one person."""
    if values.setdefault(person, value) != value:
        values[person] = None


def exclusion_note(exclusions: Mapping[str, str]) -> str:
    """How many files are not used, and why, in one sentence; empty if there are none."""
    if not exclusions:
        return ""
    reasons = Counter(exclusions.values()).most_common()
    named = ", ".join(f"{count} {reason}" for reason, count in reasons[:5])
    more = f", {sum(count for _, count in reasons[5:])} for other reasons" if reasons[5:] else ""
    return f"files not used: {len(exclusions)} ({named}{more})"


def named_exclusions(exclusions: Mapping[str, str], most: int = 10) -> str:
    """Which files are not used, and why, in one sentence; empty if there are none."""
    if not exclusions:
        return ""
    named = ", ".join(f"{name} ({reason})" for name, reason in islice(exclusions.items(), most))
    more = f", and {len(exclusions) - most} more" if len(exclusions) > most else ""
    return f"files not used: {len(exclusions)}: {named}{more}"


def linked_people(images: Iterable[str], pairs: Iterable[Pair]) -> dict[str, str]:
    """A person for each picture of a set without names: pictures that genuine pairs connect are of one person.

    Returns:
        The name of each picture's person, which is that of the person's first picture.
    """
    parent = {image: image for image in images}

    def root(image: str) -> str:
        while parent[image] != image:
            parent[image] = parent[parent[image]]
            image = parent[image]
        return image

    for pair in pairs:
        if pair.same:
            low, high = sorted((root(pair.left), root(pair.right)))
            parent[high] = low
    return {image: root(image) for image in parent}


def _without_self_pairs(pairs: Sequence[Pair]) -> tuple[Sequence[Pair], list[str]]:
    """The pairs of two different pictures, and notes on the others and on pairs that are listed again."""
    # The hashes take less memory than the names.
    seen: dict[int, bool] = {}
    kept, again, both = [], 0, 0
    for pair in pairs:
        if pair.left == pair.right:
            continue
        kept.append(pair)
        key = hash(frozenset((pair.left, pair.right)))
        again += seen.get(key) is pair.same
        both += seen.setdefault(key, pair.same) is not pair.same
    counts = {
        "are of a picture with itself and left out": len(pairs) - len(kept),
        "are listed again and count each time": again,
        "are listed as genuine and as impostor": both,
    }
    return kept, [
        f"{count} of {len(pairs)} pairs {what}" for what, count in counts.items() if count
    ]


def _alike_notes(people: Collection[str]) -> list[str]:
    """How many people have a name that is another one's in other case, spaces or leading zeros."""
    seen: set[int] = set()
    count = 0
    for person in people:
        key = hash(_loose(person))
        count += key in seen
        seen.add(key)
    if not count:
        return []
    alike = f"{count} of {len(people)} people have a name that another one has"
    return [f"{alike} in other case, spaces or leading zeros; they count as different people"]


def _layout_of(source: Path) -> Layout:
    layouts = sorted((DATASETS[name] for name in DATASETS), key=lambda one: one.general)
    for layout in layouts:
        if layout.recognises(source):
            return layout
    known = "; ".join(layout.what for layout in layouts)
    raise InputError(f"{source}: not a known layout of faces; available: {known}")


def _is_picture(path: Path) -> bool:
    try:
        return not unreadable(path) and read_picture(path).size > 0
    except ImageError:
        return False


def _why(dataset: Dataset) -> str:
    note = exclusion_note(dataset.exclusions)
    return f"; {note}" if note else ""


def _filled(row: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in row.items() if not is_missing(value)}


def _draw(
    samples: Sequence[Sample], images: int | None, generator: np.random.Generator
) -> Sequence[Sample]:
    if images is None or images >= len(samples):
        return samples
    return [samples[index] for index in sorted(generator.permutation(len(samples))[:images])]

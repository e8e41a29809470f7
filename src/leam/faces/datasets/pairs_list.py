"""LFW's pairs.txt and the lists of RFW: NAME NUMBER NUMBER for genuine, NAME NUMBER NAME NUMBER for impostor pairs.

The first line of LFW's list states the number of folds and of genuine pairs, and so many impostor pairs, in each:
http://vis-www.cs.umass.edu/lfw/README.txt. RFW's lists, called RACE_pairs.txt, have no such line and ten folds. LFW's
list as a CSV file begins with the column name. Picture 3 of Ann_Lee is Ann_Lee/Ann_Lee_0003 with any suffix.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path

from leam.errors import InputError
from leam.faces.datasets import DATASETS, Layout
from leam.faces.people import Dataset, Pair, Sample
from leam.faces.reading import picture_suffixes
from leam.faces.tables import forms_of, lines_of, normal
from leam.files import exists
from leam.progress import Progress

Numbered = tuple[str, int]
"""A person's name and the number of a picture."""

_RFW_FOLDS, _RFW_PAIRS = 10, 6000
_MOST_FOLDERS = 200
# People of a list that are looked for, since some of them may have no pictures.
_MOST_SOUGHT = 100


@dataclass(frozen=True)
class _Folder:
    """A person's folder: its path, and its pictures by their stems in NFC."""

    path: Path
    pictures: Mapping[str, str]


def read_pairs_list(source: Path, folder: Path | None, _: Progress) -> Dataset:
    """Read a list of pairs. Only pictures in pairs are read.

    Raises:
        InputError: The list is damaged, or the folder of the pictures is not found.
    """
    listed = read_list(source)
    race = source.stem.removesuffix("_pairs") if source.stem.endswith("_pairs") else ""
    base = _base_of(source, folder, race, dict.fromkeys(one[0][0] for one in listed))
    listing = cache(lambda person: _folder_of(base, person))
    place = cache(lambda one: _place(one, listing(one[0])))
    pairs = [Pair(place(a)[0], place(b)[0], same, fold) for a, b, same, fold in listed]
    images = {place(one): one[0] for a, b, _, _ in listed for one in (a, b)}
    groups = {"race": race} if race else {}
    return Dataset.of(
        (Sample(path, image, normal(person), groups) for (image, path), person in images.items()),
        pairs=pairs,
        notes=(f"layout: a list of {len(pairs)} pairs of pictures in {base}",),
    )


def read_list(source: Path) -> list[tuple[Numbered, Numbered, bool, int | None]]:
    """The pairs of a list: two numbered pictures, whether they are of one person, and the fold.

    Raises:
        InputError: A line is not a pair, or the number of pairs is not that of the first line.
    """
    folds: Sequence[int] = ()
    pairs: list[tuple[Numbered, Numbered, bool]] = []
    for line, text in lines_of(source):
        fields = _fields(text)
        if not pairs and not folds and (stated := _numbers(fields)):
            folds = stated
            continue
        if not pairs and _is_header(fields):
            continue
        pair = _pair(fields)
        if pair is None:
            raise InputError(
                f"{source}, line {line}: expected NAME NUMBER NUMBER or NAME NUMBER NAME NUMBER"
            )
        pairs.append(pair)
    if not pairs:
        raise InputError(f"{source}: holds no pairs")
    size = _fold_size(source, folds, len(pairs))
    return [(*pair, place // size if size else None) for place, pair in enumerate(pairs)]


def _fields(text: str) -> list[str]:
    """The values of a line between tabs or commas, or its words."""
    delimiter = next((one for one in "\t," if one in text), None)
    return [one for part in text.split(delimiter) if (one := part.strip())]


def _numbers(fields: Sequence[str]) -> list[int]:
    """What a first line states: the number of genuine pairs, or of folds and of genuine pairs in each."""
    found = [int(one) for one in fields if one.isdecimal()]
    # Three numbers are a pair of pictures of a person whose name is a number.
    return found if len(found) == len(fields) <= 2 else []  # noqa: PLR2004


def _is_header(fields: Sequence[str]) -> bool:
    """Whether the values are the column names of LFW's list as a CSV file."""
    return [one.casefold() for one in fields[:1]] == ["name"] and not any(
        one.isdecimal() for one in fields
    )


def _pair(fields: Sequence[str]) -> tuple[Numbered, Numbered, bool] | None:
    if len(fields) > 3 and not (len(fields) == 4 and fields[1].isdecimal()):  # noqa: PLR2004
        fields = _joined(fields)
    if len(fields) == 3 and fields[1].isdecimal() and fields[2].isdecimal():  # noqa: PLR2004
        return (fields[0], int(fields[1])), (fields[0], int(fields[2])), True
    if len(fields) == 4 and fields[1].isdecimal() and fields[3].isdecimal():  # noqa: PLR2004
        same = normal(fields[0]) == normal(fields[2])
        return (fields[0], int(fields[1])), (fields[2], int(fields[3])), same
    return None


def _joined(words: Sequence[str]) -> list[str]:
    """The names, which have spaces, and the two numbers of a line; empty if it has more numbers."""
    places = [place for place, word in enumerate(words) if word.isdecimal()]
    if len(places) != 2 or places[1] != len(words) - 1:  # noqa: PLR2004
        return []
    first, second = " ".join(words[: places[0]]), " ".join(words[places[0] + 1 : places[1]])
    return [one for one in (first, words[places[0]], second, words[places[1]]) if one]


def _fold_size(source: Path, stated: Sequence[int], pairs: int) -> int:
    """The number of pairs in a fold; 0 if there are no folds."""
    if not stated:
        return pairs // _RFW_FOLDS if pairs == _RFW_PAIRS else 0
    count, genuine = stated if len(stated) == 2 else (1, stated[0])  # noqa: PLR2004
    # LFW's development lists have a single fold.
    if pairs != 2 * count * genuine:
        raise InputError(
            f"{source}: its first line states {count} x 2 x {genuine} pairs, but it has {pairs}"
        )
    return 2 * genuine if count > 1 else 0


def _base_of(source: Path, folder: Path | None, race: str, people: Iterable[str]) -> Path:
    """The folder that contains the folders of people, or at least of one of them."""
    if folder:
        near = [folder, folder / race, folder / "data" / race]
    else:
        here = source.parent
        near = [here, here.parent.parent / "data" / race, *islice(_subfolders(here), _MOST_FOLDERS)]
    sought = list(islice(people, _MOST_SOUGHT))
    for person in sought:
        for base in near:
            if any(exists(base / form) and (base / form).is_dir() for form in forms_of(person)):
                return base
    raise InputError(
        f"{source}: no folder {sought[0]} in {folder or source.parent}; name the folder of the pictures"
    )


def _subfolders(folder: Path) -> list[Path]:
    return sorted(one for one in folder.iterdir() if one.is_dir())


def _place(numbered: Numbered, folder: _Folder) -> tuple[str, Path]:
    """The name of a numbered picture and its path; with the suffix .jpg if there is none."""
    person, number = numbered
    stem = normal(f"{person}_{number:04d}")
    file = folder.pictures.get(stem, f"{stem}.jpg")
    return normal(f"{person}/{file}"), folder.path / file


def _folder_of(base: Path, person: str) -> _Folder:
    """A person's folder, whose name may have another Unicode form than in the list."""
    for form in forms_of(person):
        try:
            names = sorted(os.listdir(base / form), reverse=True)  # noqa: PTH208  faster
        except OSError:
            continue
        parts = {name: os.path.splitext(name) for name in names}  # noqa: PTH122  faster
        return _Folder(
            base / form,
            {
                normal(stem): name
                for name, (stem, suffix) in parts.items()
                if suffix.lower() in picture_suffixes()
            },
        )
    return _Folder(base / person, {})


def is_pairs_list(source: Path) -> bool:
    """Whether a file begins with pairs, or with their numbers or column names and pairs."""
    try:
        texts = [text for _, text in islice(lines_of(source), 3)]
    except (InputError, OSError):
        return False
    lines = [_fields(text) for text in texts]
    # The rows of other tables may look like pairs, but not their first line.
    begins = bool(lines) and (_numbers(lines[0]) or _is_header(lines[0]) or _pair(lines[0]))
    return bool(begins) and any(map(_pair, lines))


DATASETS("pairs_list")(
    Layout(
        what="LFW's pairs.txt or RFW's RACE_pairs.txt",
        recognises=lambda source: source.is_file() and is_pairs_list(source),
        read=read_pairs_list,
    )
)

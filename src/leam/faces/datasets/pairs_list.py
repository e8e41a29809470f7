"""LFW's pairs.txt and the lists of RFW: NAME NUMBER NUMBER for genuine, NAME NUMBER NAME NUMBER for impostor pairs.

The first line of LFW's list states the number of folds and of genuine pairs (and of impostor pairs) in each:
http://vis-www.cs.umass.edu/lfw/README.txt. RFW's lists, called RACE_pairs.txt, have no such line and ten folds.
Picture 3 of Ann_Lee is Ann_Lee/Ann_Lee_0003 with any suffix.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import islice
from pathlib import Path

from leam.errors import InputError
from leam.faces.datasets import DATASETS, Layout
from leam.faces.people import Dataset, Pair, Sample
from leam.faces.reading import picture_suffixes
from leam.faces.tables import lines_of, normal
from leam.files import exists
from leam.progress import Progress

Numbered = tuple[str, int]
"""A person's name and the number of a picture."""

_RFW_FOLDS, _RFW_PAIRS = 10, 6000
_MOST_FOLDERS = 200


def read_pairs_list(source: Path, folder: Path | None, _: Progress) -> Dataset:
    """Read a list of pairs. Only pictures in pairs are read.

    Raises:
        InputError: The list is damaged, or the folder of the pictures is not found.
    """
    listed = read_list(source)
    race = source.stem.removesuffix("_pairs") if source.stem.endswith("_pairs") else ""
    first = listed[0][0][0]
    base = _base_of(source, folder, race, first)
    listing = cache(lambda person: _suffixes(base / person))
    picture = cache(lambda one: _picture(one, listing(one[0])))
    pairs = [Pair(picture(a), picture(b), same, fold) for a, b, same, fold in listed]
    images = {one for a, b, _, _ in listed for one in (a, b)}
    groups = {"race": race} if race else {}
    return Dataset.of(
        (Sample(base / picture(one), picture(one), normal(one[0]), groups) for one in images),
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
        if not pairs and not folds and all(one.isdecimal() for one in fields):
            folds = [int(one) for one in fields]
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
    return text.split("\t") if "\t" in text else text.split()


def _pair(fields: Sequence[str]) -> tuple[Numbered, Numbered, bool] | None:
    fields = [one.strip() for one in fields]
    if len(fields) == 3 and fields[1].isdecimal() and fields[2].isdecimal():  # noqa: PLR2004
        return (fields[0], int(fields[1])), (fields[0], int(fields[2])), True
    if len(fields) == 4 and fields[1].isdecimal() and fields[3].isdecimal():  # noqa: PLR2004
        same = normal(fields[0]) == normal(fields[2])
        return (fields[0], int(fields[1])), (fields[2], int(fields[3])), same
    return None


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


def _base_of(source: Path, folder: Path | None, race: str, person: str) -> Path:
    """The folder that contains the folders of people."""
    if folder:
        near = [folder, folder / race, folder / "data" / race]
    else:
        here = source.parent
        near = [here, here.parent.parent / "data" / race, *islice(_subfolders(here), _MOST_FOLDERS)]
    for base in near:
        if exists(base / person) and (base / person).is_dir():
            return base
    raise InputError(
        f"{source}: no folder {person} in {folder or source.parent}; name the folder of the pictures"
    )


def _subfolders(folder: Path) -> list[Path]:
    return sorted(one for one in folder.iterdir() if one.is_dir())


def _picture(numbered: Numbered, suffixes: Mapping[str, str]) -> str:
    """The name of a numbered picture; with the suffix .jpg if there is none."""
    person, number = numbered
    stem = f"{person}_{number:04d}"
    return f"{person}/{stem}{suffixes.get(stem, '.jpg')}"


def _suffixes(folder: Path) -> dict[str, str]:
    """The suffixes of the pictures in a folder by their stems."""
    try:
        names = map(os.path.splitext, os.listdir(folder))  # noqa: PTH208  faster
    except OSError:
        return {}
    return {stem: suffix for stem, suffix in names if suffix.lower() in picture_suffixes()}


def is_pairs_list(source: Path) -> bool:
    """Whether the second and third line of a file are pairs (the first may state numbers)."""
    try:
        lines = [_fields(text) for _, text in islice(lines_of(source), 3)]
    except (InputError, OSError):
        return False
    return bool(lines) and _pair(lines[-1]) is not None


DATASETS("pairs_list")(
    Layout(
        what="LFW's pairs.txt or RFW's RACE_pairs.txt",
        recognises=lambda source: source.is_file() and is_pairs_list(source),
        read=read_pairs_list,
    )
)

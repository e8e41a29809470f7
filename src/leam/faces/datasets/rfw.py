"""Racial Faces in the Wild (Wang et al., ICCV 2019): data/RACE/PERSON/PICTURE and txts/RACE/RACE_pairs.txt."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from leam.faces.datasets import DATASETS, Layout
from leam.faces.datasets.folder import read_folder
from leam.faces.datasets.pairs_list import read_pairs_list
from leam.faces.people import Dataset, Pair
from leam.progress import Progress


def read_rfw(source: Path, _: Path | None, progress: Progress) -> Dataset:
    """Read all pictures with the group column race, and the pairs of all races.

    Raises:
        InputError: A list of pairs is damaged.
    """
    pictures = read_folder(source / "data", None, progress, column="race")
    samples = [
        replace(
            one,
            image=f"data/{one.image}",
            # Also if there is a single race, which is no column of other folders.
            groups=one.groups | {"race": one.image.partition("/")[0]},
        )
        for one in pictures.samples
    ]
    used = {_lists(source, race) for race in _races(source)}
    exclusions = {f"data/{name}": reason for name, reason in pictures.exclusions.items()}
    for path in sorted((source / "txts").rglob("*")):
        if path.is_file() and path not in used:
            exclusions[path.relative_to(source).as_posix()] = "not a list of pairs"
    pairs = list(_pairs(source, progress))
    known = {one.image for one in samples} | exclusions.keys()
    for image in sorted({one for pair in pairs for one in (pair.left, pair.right)} - known):
        exclusions[image] = "named in a list of pairs, but missing"
    note = f"layout: RFW, {len(_races(source))} races in the column race, {len(pairs)} pairs"
    return Dataset.of(samples, exclusions, pairs, (note, *pictures.notes))


def _pairs(source: Path, progress: Progress) -> Iterator[Pair]:
    for race in _races(source):
        folder = source / "data" / race
        for pair in read_pairs_list(_lists(source, race), folder, progress).pairs:
            left, right = f"data/{race}/{pair.left}", f"data/{race}/{pair.right}"
            yield replace(pair, left=left, right=right)


def _lists(source: Path, race: str) -> Path:
    return source / "txts" / race / f"{race}_pairs.txt"


def _races(source: Path) -> list[str]:
    """The races that have pictures and a list of pairs."""
    folders = sorted((source / "data").iterdir()) if (source / "data").is_dir() else []
    return [one.name for one in folders if one.is_dir() and _lists(source, one.name).is_file()]


DATASETS("rfw")(
    Layout(
        what="the folder of RFW, with data and txts",
        recognises=lambda source: source.is_dir() and bool(_races(source)),
        read=read_rfw,
    )
)

"""A CSV file with the columns left, right (pictures) and same (1 or 0), and optionally fold."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from leam.errors import InputError
from leam.faces.datasets import DATASETS, Layout
from leam.faces.datasets.table import located
from leam.faces.people import Dataset, Pair, Sample, linked_people
from leam.faces.tables import columns_of, flag, normal, rows_of, slashed, whole
from leam.progress import Progress

_REQUIRED = ("left", "right", "same")


def read_pairs_table(source: Path, folder: Path | None, _: Progress) -> Dataset:
    """Read a table of pairs. Its paths are relative to the folder, or to the table.

    A picture's person is its folder if genuine pairs lie in one folder and impostor pairs in two. Otherwise pictures
    that genuine pairs connect are of one person.

    Raises:
        InputError: The table cannot be read, lacks a column, or holds no pairs.
    """
    pairs = []
    for line, row in rows_of(source, _REQUIRED, ("fold",)):
        same, stated = flag(row["same"]), row.get("fold", "")
        fold = whole(stated)
        if same is None or (stated and fold is None):
            raise InputError(
                f"{source}: line {line} lacks left, right, or a same of 1 or 0 (and a fold that is a number, if any)"
            )
        left, right = (normal(slashed(row[side])) for side in ("left", "right"))
        pairs.append(Pair(left, right, same, fold))
    if not pairs:
        raise InputError(f"{source}: holds no pairs")
    people, note = _people(pairs)
    base = folder or source.parent
    return Dataset.of(
        (Sample(located(base, image), image, person) for image, person in people.items()),
        pairs=pairs,
        notes=(note,),
    )


def _people(pairs: list[Pair]) -> tuple[dict[str, str], str]:
    images = sorted({image for pair in pairs for image in (pair.left, pair.right)})
    folders = {image: PurePosixPath(image).parent.as_posix() for image in images}
    if all(pair.same == (folders[pair.left] == folders[pair.right]) for pair in pairs):
        return folders, "layout: pairs of pictures; the person of a picture is its folder"
    note = "layout: pairs of pictures without names of people; pictures joined by genuine pairs are one person"
    return linked_people(images, pairs), note


DATASETS("pairs_table")(
    Layout(
        what="a CSV file with the columns left, right and same",
        recognises=lambda source: source.is_file() and set(_REQUIRED) <= set(columns_of(source)),
        read=read_pairs_table,
    )
)

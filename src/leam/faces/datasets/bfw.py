"""Balanced Faces in the Wild (Robinson et al., CVPR Workshops 2020): its table of pairs with attributes.

The columns are p1 and p2 (pictures), label (1 for genuine pairs), fold (from 1), and for each picture att (subgroup),
a (its abbreviation), g (gender) and e (ethnicity). A picture's person is its folder.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from leam.errors import InputError
from leam.faces.datasets import DATASETS, Layout
from leam.faces.datasets.table import located
from leam.faces.people import Dataset, Pair, Sample
from leam.faces.tables import columns_of, flag, is_missing, normal, rows_of, slashed, whole
from leam.progress import Progress

_REQUIRED = ("p1", "p2", "label")
# The published names of attributes, and those of the group columns.
_GROUPS = {"att": "subgroup", "g": "gender", "e": "ethnicity"}
_KNOWN = ("fold", *(f"{name}{side}" for name in _GROUPS for side in "12"))
_REPORT_EVERY = 10_000


def read_bfw(source: Path, folder: Path | None, progress: Progress) -> Dataset:
    """Read the table. Its paths are relative to the folder, or to the table.

    Raises:
        InputError: The table cannot be read, a label is not 1 or 0, or a picture has two values of an attribute.
    """
    base = folder or source.parent
    samples: dict[str, Sample] = {}
    pairs = []
    for line, row in rows_of(source, _REQUIRED, _KNOWN):
        same = flag(row["label"])
        if same is None:
            raise InputError(f"{source}, line {line}: label {row['label']}; expected 1 or 0")
        images = [normal(slashed(row[side])) for side in ("p1", "p2")]
        for image, side in zip(images, "12", strict=True):
            groups = {
                name: row[f"{short}{side}"]
                for short, name in _GROUPS.items()
                if not is_missing(row.get(f"{short}{side}", ""))
            }
            known = samples.get(image)
            if known is None:
                person = PurePosixPath(image).parent.as_posix()
                samples[image] = Sample(located(base, image), image, person, groups)
            elif known.groups != groups:
                raise InputError(f"{source}, line {line}: {image} has other attributes than before")
        # One string for each picture's name, not one for each pair.
        left, right = (samples[image].image for image in images)
        fold = whole(row.get("fold", ""))
        pairs.append(Pair(left, right, same, fold - 1 if fold else None))
        if line % _REPORT_EVERY == 0:
            progress("reading pairs", line, None)
    found = [name for name in _GROUPS.values() if any(name in s.groups for s in samples.values())]
    note = f"layout: BFW, {len(pairs)} pairs; groups: {', '.join(found) or 'none'}"
    notes = [note]
    owner = {image: sample.person for image, sample in samples.items()}
    wrong = sum(pair.same != (owner[pair.left] == owner[pair.right]) for pair in pairs)
    if wrong:
        notes.append(f"{wrong} of {len(pairs)} pairs have another label than their folders say")
    return Dataset.of(samples.values(), pairs=pairs, notes=tuple(notes))


DATASETS("bfw")(
    Layout(
        what="the table of BFW, with the columns p1, p2 and label",
        recognises=lambda source: source.is_file() and set(_REQUIRED) <= set(columns_of(source)),
        read=read_bfw,
    )
)

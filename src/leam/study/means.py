"""The mean face and mean maps of a recognizer, and who may see the mean face."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final

import numpy as np
from numpy.typing import NDArray

from leam.errors import StudyError
from leam.results.shards import Shard, axes
from leam.study.explained import EXPLAIN, Explained
from leam.study.run_data import RunData

MEANS: Final = "means"
"""Folder of the stored :class:`MeanMaps`."""
FEWEST_SHOWN: Final = 100
"""A mean face of fewer people is a portrait of them.

In draws from LFW, with one picture per person and dlib_resnet, a mean face of 20 people was closer to one of them than
to any of 20 others in 9 of 12 draws, one of 40 people also in 9, one of 80 people in 5, as often as by chance.
"""
MOST_OF_ONE: Final = 0.05
"""So is one with more than this part of its pictures from one person."""


@dataclass(frozen=True)
class MeanMaps(Shard):
    """Means over all faces of a study, for one recognizer."""

    face: Annotated[
        NDArray[np.uint8],
        axes(
            "face_row", "face_column", 3, doc="The mean face, RGB; no pixels if it is a portrait."
        ),
    ]
    overall: Annotated[NDArray[np.float64], axes("row", "column", doc="The mean overall map.")]
    layers: Annotated[
        NDArray[np.float64],
        axes("layer", "side", "width", doc="The mean map of each layer, early to late."),
    ]

    def without_face(self) -> MeanMaps:
        """The same maps without the face."""
        return MeanMaps(np.zeros((0, 0, 3), dtype=np.uint8), self.overall, self.layers)


def mean_maps(run: RunData, recognizer: str) -> MeanMaps:
    """The mean face and the mean maps of a recognizer.

    Raises:
        StudyError: The recognizer's shards are missing.
    """
    stored = run.folder.read_shard(MeanMaps, f"{MEANS}/{recognizer}", 0)
    return _computed(run, recognizer) if stored is None else stored


def public_means(run: RunData, recognizer: str) -> MeanMaps:
    """:func:`mean_maps` without the face if it is a portrait: of few people, or mostly of one.

    Raises:
        StudyError: The recognizer's shards are missing.
    """
    stored = run.folder.read_shard(MeanMaps, f"{MEANS}/{recognizer}", 0)
    if stored is not None:
        return stored
    counts = Counter(
        run.plan.images[position].person
        for part in run.shards(Explained, EXPLAIN, recognizer, ["position"])
        for position in part.position.tolist()
    )
    found = _computed(run, recognizer)
    return found.without_face() if is_portrait(counts) else found


def is_portrait(pictures: Mapping[str, int]) -> bool:
    """Whether somebody may be recognised in a mean face, from the number of pictures of each person."""
    return len(pictures) < FEWEST_SHOWN or max(pictures.values()) > MOST_OF_ONE * sum(
        pictures.values()
    )


def _computed(run: RunData, recognizer: str) -> MeanMaps:
    face = overall = layers = None
    count = 0
    fields = ["face_sum", "density", "layer_sum"]
    for part in run.shards(Explained, EXPLAIN, recognizer, fields):
        density = part.density.sum(axis=0, dtype=np.float64)
        face = part.face_sum if face is None else face + part.face_sum
        overall = density if overall is None else overall + density
        # The sums of slices are added in double precision.
        found = part.layer_sum.astype(np.float64)
        layers = found if layers is None else layers + found
        count += len(part.density)
    if face is None or overall is None or layers is None:
        raise StudyError(
            f"{run.folder.path}: the maps of {recognizer} disappeared; run the study again"
        )
    return MeanMaps(np.round(face / count).astype(np.uint8), overall / count, layers / count)

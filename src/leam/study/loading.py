"""A model's overall maps, read back from its shards in groups of people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from leam.study.occluding import seeded
from leam.study.plan import Plan
from leam.study.store import RunFolder

# Slices whose people are compared with each other: people of far-apart names meet, and memory does not grow.
_SLICES_PER_GROUP = 4
_ARRAYS = ["position", "density", "critical", "share", "empty"]


@dataclass(frozen=True)
class StudyMaps:
    """Overall maps of ``n`` faces under one model.

    Attributes:
        dense: Each map times its number of pixels, ``(n, h, w)`` float16.
        critical: The critical masks, ``(n, h, w)`` bool.
        share: Part of the critical mask in each region, ``(n, R)``.
        empty: True where there is no map, ``(n,)``.
        person: Whose each face is, as a position among the people asked for, ``(n,)``.
    """

    dense: NDArray[np.float16]
    critical: NDArray[np.bool_]
    share: NDArray[np.float32]
    empty: NDArray[np.bool_]
    person: NDArray[np.int64]


def map_groups(
    plan: Plan, folder: RunFolder, model: str, people: dict[str, int]
) -> Iterator[StudyMaps]:
    """A model's maps in groups of whole people: some slices each, drawn with the study's seed.

    Args:
        plan: The study.
        folder: Its folder.
        model: The recognizer's name.
        people: From a person to its position.
    """
    order = seeded("groups", plan.settings.seed).permutation(len(plan.slices))
    for start in range(0, len(order), _SLICES_PER_GROUP):
        parts = [
            arrays
            for index in sorted(order[start : start + _SLICES_PER_GROUP].tolist())
            if (arrays := folder.read_shard(f"maps/{model}", index, _ARRAYS))
        ]
        if not parts:
            continue
        size = parts[0]["density"].shape[1:]
        packed = np.concatenate([part["critical"] for part in parts])
        masks = np.unpackbits(packed, axis=1, count=size[0] * size[1])
        positions = np.concatenate([part["position"] for part in parts])
        yield StudyMaps(
            dense=np.concatenate([part["density"] for part in parts]),
            critical=masks.reshape(-1, *size).astype(bool),
            share=np.concatenate([part["share"][:, 0] for part in parts]),
            empty=np.concatenate([part["empty"][:, 0] for part in parts]),
            person=np.array([people[plan.images[position].person] for position in positions]),
        )

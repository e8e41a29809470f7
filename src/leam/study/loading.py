"""A model's overall maps over a whole study, read back from its shards."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from leam.study.plan import Plan
from leam.study.store import RunFolder
from leam.study.tables import shards


@dataclass(frozen=True)
class StudyMaps:
    """Overall maps of ``n`` faces under one model.

    Attributes:
        dense: Each map times its number of pixels, ``(n, h w)`` float16.
        critical: The critical masks, ``(n, h w)`` bool.
        share: Part of the critical mask in each region, ``(n, R)``.
        empty: True where there is no map, ``(n,)``.
        names: The people.
        person: Whose each face is, as a position in ``names``, ``(n,)``.
    """

    dense: NDArray[np.float16]
    critical: NDArray[np.bool_]
    share: NDArray[np.float32]
    empty: NDArray[np.bool_]
    names: tuple[str, ...]
    person: NDArray[np.int64]


def load_maps(plan: Plan, folder: RunFolder, model: str) -> StudyMaps:
    """Read a model's overall maps."""
    parts = list(shards(plan, folder, model))
    pixels = parts[0]["density"][0].size
    people = [plan.images[position].person for part in parts for position in part["position"]]
    positions = {name: place for place, name in enumerate(dict.fromkeys(people))}
    masks = [np.unpackbits(part["critical"], axis=1, count=pixels) for part in parts]
    return StudyMaps(
        dense=np.concatenate([part["density"].reshape(-1, pixels) for part in parts]),
        critical=np.concatenate(masks).astype(bool),
        share=np.concatenate([part["share"][:, 0] for part in parts]),
        empty=np.concatenate([part["empty"][:, 0] for part in parts]),
        names=tuple(positions),
        person=np.array([positions[name] for name in people]),
    )

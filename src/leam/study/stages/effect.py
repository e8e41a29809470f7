"""Effect: whether a person's own mask lowers the similarity more than masks that are not the person's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Annotated

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from leam.metrics.effect import by_person, effect
from leam.metrics.statistics import Estimate
from leam.results.figures import Figures, Model
from leam.results.shards import Shard, axes, joined
from leam.study.explained import EXPLAIN
from leam.study.masks import CRITICAL, drops_by_fill, masks_of
from leam.study.plan import Plan
from leam.study.run_data import RunData
from leam.study.scene import Scene
from leam.study.stage import STAGES, Stage

MASKS = (
    CRITICAL,
    "other_picture",
    "other_person",
    "population",
    "edges",
    "edges_other_picture",
    "edges_other_person",
)
"""The masks that are compared, all of the same number of pixels."""
FILLS = ("black", "mean", "blur", "local_blur", "road")
"""The fills under which they are compared."""

_EDGES = {"edges": 1, "edges_other_person": -1}
_OTHER_EDGES = {"edges_other_picture": 1, "edges_other_person": -1}
CONTRASTS: Mapping[str, Mapping[str, float]] = {
    "own_other_person": {CRITICAL: 1, "other_person": -1},
    "own_population": {CRITICAL: 1, "population": -1},
    "edges_other_person": _EDGES,
    "own_beyond_edges": {
        CRITICAL: 1,
        "other_person": -1,
        **{mask: -weight for mask, weight in _EDGES.items()},
    },
    "other_picture_other_person": {"other_picture": 1, "other_person": -1},
    "other_picture_population": {"other_picture": 1, "population": -1},
    "edges_other_picture_other_person": _OTHER_EDGES,
    "other_picture_beyond_edges": {
        "other_picture": 1,
        "other_person": -1,
        **{mask: -weight for mask, weight in _OTHER_EDGES.items()},
    },
}
"""Contrasts of the drops: the weight of each mask."""


@dataclass(frozen=True)
class Effects(Shard):
    """Similarity drops of a slice's probes under each fill and mask."""

    position: Annotated[
        NDArray[np.int64], axes("face", doc="Position of the probe's picture in the plan.")
    ]
    drop: Annotated[
        NDArray[np.float32],
        axes("face", "fill", "mask", doc="Similarity drop; NaN if the mask is empty."),
    ]
    energy: Annotated[
        NDArray[np.float32],
        axes("face", "fill", "mask", doc="Mean squared change of the chip's values, 0-1."),
    ]


class EffectFigures(Figures):
    """Similarity drops under a person's own mask and under masks that are not the person's, for several fills."""

    class Contrast(Model):
        """A contrast of the drops under several masks, paired over people."""

        drop: Estimate
        """Contrast of the mean similarity drops."""
        p: float | None
        """Two-sided p-value of a sign-flip test; null if there is nothing to test."""
        d: Estimate
        """Mean of the contrast over people, divided by its standard deviation over people."""
        per_energy: Estimate
        """Contrast of the mean drops per mean changed pixel energy."""

    class Fill(Model):
        """The figures under one fill."""

        drops: dict[str, Estimate]
        """Similarity drop by mask: ``critical``, or a control."""
        energy: dict[str, Estimate]
        """Mean squared change of the chip's values (0-1) by mask."""
        contrasts: dict[str, EffectFigures.Contrast]
        """Contrasts by name. ``own_other_person``: critical mask minus another person's. ``own_population``: critical
        mask minus the population's. ``edges_other_person``: edges minus another person's edges. ``own_beyond_edges``:
        ``own_other_person`` minus ``edges_other_person``. The others are the same with the mask of the person's other
        picture instead of the critical mask."""

    fraction: float
    """Fraction of the pixels that is hidden."""
    fills: dict[str, Fill]
    """Figures by fill."""


@STAGES("effect")
class PersonEffect(Stage[Effects]):
    """Compares the similarity drop under a person's own mask with that under masks that are not the person's."""

    name = "effect"
    title = "effect of own and other masks"
    phase = "compare"
    needs = (EXPLAIN,)
    shard = Effects
    figures = EffectFigures
    columns = {
        "person": "Name of the person.",
        "image": "Name of the probe picture. Probes are all pictures, or the first ones of each person.",
        "fill": "Fill that replaces hidden pixels.",
        "mask": "``critical``, or the control.",
        "drop": "Similarity drop to the template of the person's other pictures.",
        "energy": "Mean squared change of the chip's values, 0-1.",
        "model": "The recognizer.",
    }

    def applies(self, plan: Plan) -> bool:
        """Whether the setting ``effect`` is on."""
        return plan.settings.effect

    def of_slice(self, scene: Scene) -> Effects:
        """The similarity drops of a slice's probes."""
        explained, rows, picked = scene.explained, scene.probes, torch.from_numpy(scene.probes)
        masks = masks_of(scene, MASKS, rows, explained.masks, explained.density)
        clean, mate = torch.from_numpy(explained.embedding)[picked], scene.mates[picked]
        images = scene.chips.images[rows]
        drop, energy = drops_by_fill(images, masks, clean, mate, scene.recognizer, FILLS)
        return Effects(position=scene.positions[rows], drop=drop, energy=energy)

    def tabulate(self, run: RunData, recognizer: str) -> Iterator[pl.DataFrame]:
        """One row per probe, fill and mask."""
        fills, masks = zip(*product(FILLS, MASKS), strict=True)
        for found in run.shards(Effects, self.name, recognizer):
            probes = len(found.position)
            yield pl.DataFrame(
                {
                    **run.who(np.repeat(found.position, len(fills))),
                    "fill": list(fills) * probes,
                    "mask": list(masks) * probes,
                    "drop": found.drop.ravel(),
                    "energy": found.energy.ravel(),
                }
            ).with_columns(pl.lit(recognizer).alias("model"))

    def summarise(self, run: RunData, recognizer: str) -> EffectFigures:
        """Drops and energies over people, and the contrasts."""
        found = joined(list(run.shards(Effects, self.name, recognizer)))
        owners = run.owners(found.position)
        return EffectFigures(
            fraction=run.settings.top,
            fills={
                fill: _fill(run, owners, found.drop[:, place], found.energy[:, place])
                for place, fill in enumerate(FILLS)
            },
        )


def _fill(
    run: RunData,
    owners: NDArray[np.int64],
    drop: NDArray[np.float32],
    energy: NDArray[np.float32],
) -> EffectFigures.Fill:
    """The figures of drops and energies ``(n, K)`` under one fill."""
    seed = run.settings.seed
    drops, energies = by_person(drop, owners), by_person(energy, owners)
    return EffectFigures.Fill(
        drops=dict(zip(MASKS, run.estimates(drop, owners), strict=True)),
        energy=dict(zip(MASKS, run.estimates(energy, owners), strict=True)),
        contrasts={
            name: EffectFigures.Contrast(**vars(effect(drops, energies, MASKS, weights, seed)))
            for name, weights in CONTRASTS.items()
        },
    )

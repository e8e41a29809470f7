"""Sanity check by cascading randomisation: whether the map depends on the learnt weights, on the subset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray

from leam.metrics.robustness import cascade
from leam.metrics.statistics import NOTHING, Estimate
from leam.results.figures import Figures, Model
from leam.results.shards import Shard, axes, joined
from leam.study.explained import EXPLAIN
from leam.study.run_data import RunData
from leam.study.scene import Scene
from leam.study.stage import STAGES, SubsetStage

_STEPS = 5
# Faces on which randomised layers are calibrated; more hardly change the result.
_FACES = 16


@dataclass(frozen=True)
class Randomised(Shard):
    """Similarity of each map to the original one as layers are randomised from the top down."""

    position: Annotated[NDArray[np.int64], axes("face", doc="Position of the picture in the plan.")]
    rank: Annotated[
        NDArray[np.float64], axes("face", "step", doc="Rank correlation with the original map.")
    ]
    ssim: Annotated[
        NDArray[np.float64], axes("face", "step", doc="Structural similarity to the original map.")
    ]
    fault: Annotated[
        NDArray[np.str_],
        axes("face", "step", doc="Why the step is invalid for the faces of the slice; or empty."),
    ]


class SanityFigures(Figures):
    """Similarity of the map to the original one as layers are randomised."""

    class Step(Model):
        """One step of the randomisation."""

        randomised: float
        """Fraction of the layers that are randomised, from the top down."""
        rank: Estimate
        """Rank correlation with the original map; null if the step is invalid."""
        ssim: Estimate
        """Structural similarity to the original map; null if the step is invalid."""
        invalid: str | None = None
        """Why the step is invalid, for instance because the randomised network gives all faces the same embedding."""

    steps: list[Step]
    """Steps in order; in the last one, all layers are randomised."""


@STAGES("sanity")
class Sanity(SubsetStage[Randomised]):
    """Randomises the network step by step, and compares the maps with the original ones."""

    name = "sanity"
    title = "cascading randomisation"
    needs = (EXPLAIN,)
    shard = Randomised
    figures = SanityFigures

    def of_subset(self, scene: Scene, rows: NDArray[np.intp]) -> Randomised:
        """Compare the maps of the subset's faces as more of the network is randomised."""
        explain, chips = scene.explain(rows), torch.from_numpy(scene.chips.images[rows])
        recognizer = scene.recognizer
        faces = recognizer.preprocess(scene.chips.images[:_FACES])
        found = cascade(
            recognizer.module, lambda: explain(chips), faces, scene.settings.seed, _STEPS
        )
        return Randomised(
            position=scene.positions[rows],
            rank=np.stack([one.rank for one in found], axis=1),
            ssim=np.stack([one.ssim for one in found], axis=1),
            fault=np.array([[one.fault for one in found]] * len(rows)),
        )

    def summarise(self, run: RunData, recognizer: str) -> SanityFigures | None:
        """The similarities over the people of the subset."""
        parts = list(run.shards(Randomised, self.name, recognizer))
        if not parts:
            return None
        found = joined(parts)
        owners, steps = run.owners(found.position), found.rank.shape[1]
        return SanityFigures(
            steps=[_step(run, found, owners, step, steps) for step in range(steps)]
        )


def _step(
    run: RunData, found: Randomised, owners: NDArray[np.int64], step: int, steps: int
) -> SanityFigures.Step:
    """The similarities at a step, which must be valid in all slices."""
    invalid = next((fault for fault in found.fault[:, step].tolist() if fault), None)
    rank, ssim = (
        NOTHING if invalid else run.estimate(values[:, step], owners)
        for values in (found.rank, found.ssim)
    )
    return SanityFigures.Step(randomised=(step + 1) / steps, rank=rank, ssim=ssim, invalid=invalid)

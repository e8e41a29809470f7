"""Stability: whether the map stays the same under slight noise and mirroring, on the subset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray

from leam.metrics.robustness import flip_consistency, max_sensitivity
from leam.metrics.statistics import Estimate
from leam.results.figures import Figures
from leam.results.shards import Shard, axes, joined
from leam.study.explained import EXPLAIN
from leam.study.run_data import RunData
from leam.study.scene import Scene
from leam.study.stage import STAGES, SubsetStage

_DRAWS = 5


@dataclass(frozen=True)
class Stable(Shard):
    """Change of each map under changes of the picture that do not affect the face."""

    position: Annotated[NDArray[np.int64], axes("face", doc="Position of the picture in the plan.")]
    sensitivity: Annotated[
        NDArray[np.float32],
        axes("face", doc="Largest change under noise, relative to the norm of the map."),
    ]
    flip: Annotated[
        NDArray[np.float32],
        axes("face", doc="Rank correlation with the map of the mirror image, mirrored back."),
    ]


class StabilityFigures(Figures):
    """Change of the map under imperceptible noise, and under mirroring."""

    max_sensitivity: Estimate
    """Largest change under noise of 2 % of the colour range, relative to the norm of the map."""
    flip_consistency: Estimate
    """Rank correlation with the map of the mirror image, mirrored back."""


@STAGES("stability")
class Stability(SubsetStage[Stable]):
    """Adds noise to the subset's faces and mirrors them."""

    name = "stability"
    title = "stability"
    needs = (EXPLAIN,)
    shard = Stable
    figures = StabilityFigures

    def of_subset(self, scene: Scene, rows: NDArray[np.intp]) -> Stable:
        """The changes of the maps of the subset's faces."""
        chips = torch.from_numpy(scene.chips.images[rows])
        explain, seed = scene.explain(rows), scene.settings.seed
        return Stable(
            position=scene.positions[rows],
            sensitivity=max_sensitivity(chips, explain, seed, draws=_DRAWS).numpy(),
            flip=flip_consistency(chips, explain).numpy(),
        )

    def summarise(self, run: RunData, recognizer: str) -> StabilityFigures | None:
        """The changes over the people of the subset."""
        parts = list(run.shards(Stable, self.name, recognizer))
        if not parts:
            return None
        found = joined(parts)
        owners = run.owners(found.position)
        return StabilityFigures(
            max_sensitivity=run.estimate(found.sensitivity, owners),
            flip_consistency=run.estimate(found.flip, owners),
        )

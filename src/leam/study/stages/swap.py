"""Swap test: whether the map finds a region that was replaced with another person's, on the subset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray

from leam.faces.alignment import transform_points
from leam.metrics.statistics import Estimate
from leam.metrics.swap import difference_target, like_posed, swap_ranking, swap_region
from leam.parsers.regions import REGIONS
from leam.results.figures import Figures
from leam.results.shards import Shard, axes, joined
from leam.study.explained import EXPLAIN
from leam.study.run_data import RunData
from leam.study.scene import Scene
from leam.study.stage import STAGES, SubsetStage

SWAPPED = ("nose", "eyes", "brows", "lips")
"""The regions that are replaced with another person's."""


@dataclass(frozen=True)
class Swapped(Shard):
    """How well the map of a changed face ranks the replaced pixels."""

    position: Annotated[NDArray[np.int64], axes("face", doc="Position of the picture in the plan.")]
    ranking: Annotated[
        NDArray[np.float32],
        axes(
            "face", len(SWAPPED),
            doc="Area under the ROC curve of the replaced pixels, by region.",
        ),
    ]  # fmt: skip


class SwapFigures(Figures):
    """How well a map ranks the replaced region when it explains the difference from the original face."""

    regions: dict[str, Estimate]
    """Area under the ROC curve of the replaced pixels, by region; 0.5 by chance."""


@STAGES("swap")
class Swap(SubsetStage[Swapped]):
    """Replaces a region with that of another person in a similar pose, and explains the difference."""

    name = "swap"
    title = "exchanged regions"
    needs = (EXPLAIN,)
    shard = Swapped
    figures = SwapFigures

    def of_subset(self, scene: Scene, rows: NDArray[np.intp]) -> Swapped:
        """The rankings of the subset's faces; NaN if there is no other person in the slice."""
        return Swapped(position=scene.positions[rows], ranking=_rankings(scene, rows))

    def summarise(self, run: RunData, recognizer: str) -> SwapFigures | None:
        """The rankings over the people of the subset."""
        parts = list(run.shards(Swapped, self.name, recognizer))
        if not parts:
            return None
        found = joined(parts)
        owners = run.owners(found.position)
        return SwapFigures(
            regions={
                region: run.estimate(found.ranking[:, place], owners)
                for place, region in enumerate(SWAPPED)
            }
        )


def _rankings(scene: Scene, rows: NDArray[np.intp]) -> NDArray[np.float32]:
    people = np.unique(scene.people, return_inverse=True)[1]
    if people.max() == 0:
        return np.full((len(rows), len(SWAPPED)), np.nan, dtype=np.float32)
    chips = scene.chips
    points = np.stack(
        [
            transform_points(matrix, landmarks)
            for matrix, landmarks in zip(chips.matrices, scene.batch.landmarks, strict=True)
        ]
    )
    donors = like_posed(points, people)[rows]
    regions = np.stack([parsing.regions for parsing in scene.parsings])
    target = difference_target(torch.from_numpy(scene.explained.embedding[rows]), scene.kind)
    rankings = []
    for name in SWAPPED:
        region = regions == REGIONS.index(name)
        # Use the union of both faces' regions, so that no part of the old region remains.
        masks = region[rows] | region[donors]
        changed = [
            swap_region(*one)
            for one in zip(chips.images[rows], chips.images[donors], masks, strict=True)
        ]
        maps = scene.explainer.explain(np.stack(changed), target).overall
        rankings.append(swap_ranking(maps, torch.from_numpy(masks)).numpy())
    return np.stack(rankings, axis=1).astype(np.float32)

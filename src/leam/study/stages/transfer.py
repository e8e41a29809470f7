"""Transfer: whether the critical pixels of one recognizer also matter to the others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from leam.errors import StudyError
from leam.explain.masks import critical_mask
from leam.metrics.controls import CONTROLS
from leam.metrics.occlusion import transfer_drops
from leam.metrics.statistics import Estimate
from leam.results.figures import Figures, Model, PairedDifference
from leam.results.shards import Shard, axes
from leam.study.explained import EXPLAIN, Explained
from leam.study.masks import carried_maps, size_only
from leam.study.plan import Plan
from leam.study.run_data import RunData
from leam.study.scene import Scene
from leam.study.stage import STAGES, Stage
from leam.study.stages.occlusion import Occluded

RANDOM = "scattered"
"""The control that is compared with the recognizers' masks."""


@dataclass(frozen=True)
class Transferred(Shard):
    """Similarity drops of one recognizer under the critical masks of all recognizers."""

    sources: Annotated[
        NDArray[np.str_], axes("source", doc="The recognizers whose masks were applied.")
    ]
    position: Annotated[
        NDArray[np.int64], axes("probe", doc="Position of the probe's picture in the plan.")
    ]
    drop: Annotated[
        NDArray[np.float32],
        axes("probe", "mask", doc="Similarity drop under each source's mask, then a random one."),
    ]


class TransferFigures(Figures):
    """Similarity drops of each recognizer under the critical masks of all recognizers."""

    class Target(Model):
        """One recognizer under its own masks and those of the others."""

        own: Estimate
        """Similarity drop under its own critical mask."""
        others: Estimate
        """Mean similarity drop under the other recognizers' masks."""
        random: Estimate
        """Similarity drop under the same number of scattered pixels."""
        others_over_random: PairedDifference
        """Drop under the other recognizers' masks minus drop under scattered pixels."""

    recognizers: list[str]
    """Rows of ``drop``."""
    masks: list[str]
    """Columns of ``drop``: the recognizers, then ``scattered``."""
    drop: list[list[Estimate]]
    """Similarity drop of each recognizer under each mask."""
    targets: dict[str, Target]
    """Figures by recognizer name; empty if there is only one recognizer."""


@STAGES("transfer")
class Transfer(Stage[Transferred]):
    """Hides the critical pixels of each recognizer from all others."""

    name = "transfer"
    title = "transfer of masks between recognizers"
    phase = "compare"
    needs = (EXPLAIN, "occlusion")
    shard = Transferred
    figures = TransferFigures
    columns = {
        "person": "Name of the person.",
        "image": "Name of the picture.",
        "mask": "The recognizer whose critical pixels are hidden, or ``scattered``.",
        "drop": "Similarity drop of the recognizer ``model``.",
        "model": "The recognizer.",
    }

    def applies(self, plan: Plan) -> bool:
        """Whether the setting ``transfer`` is on."""
        return plan.settings.transfer

    def of_slice(self, scene: Scene) -> Transferred:
        """The similarity drops of a slice's probes. All masks have the same number of pixels."""
        name = scene.recognizer.name
        own, measured = scene.explained, scene.stored(Occluded, "occlusion", ["drop"])
        if measured is None:
            raise StudyError(f"the occlusion of {name} disappeared; run the study again")
        rows, images = scene.probes, scene.chips.images[scene.probes]
        size = (images.shape[1], images.shape[2])
        sources = {
            other: maps
            for other in scene.recognizers
            if (maps := scene.stored(Explained, EXPLAIN, ["density", "matrix"], other))
        }
        masks = [
            critical_mask(
                carried_maps(maps, rows, scene.chips.matrices[rows], size), scene.settings.top
            ).numpy()
            for other, maps in sources.items()
            if other != name
        ]
        random = [
            CONTROLS[RANDOM](
                size_only(mask, scene.generator(f"transfer/{scene.subjects[row].image}"))
            )
            for mask, row in zip(own.masks[rows], rows, strict=True)
        ]
        # Unmasked faces, and faces without the recognizer's own critical pixels, are already embedded.
        clean = torch.from_numpy(own.embedding)
        drops = transfer_drops(
            images,
            [*masks, np.stack(random)],
            scene.mates[torch.from_numpy(rows)],
            scene.recognizer.embed,
            scene.kind,
            fill=scene.settings.fill,
            clean=clean[rows],
        ).numpy()
        place = list(sources).index(name)
        return Transferred(
            sources=np.array(list(sources)),
            position=scene.positions[rows],
            drop=np.insert(drops, place, measured.drop[:, 0], axis=0).T.astype(np.float32),
        )

    def is_current(self, shard: Transferred, recognizers: list[str]) -> bool:
        """Whether the masks belong to exactly the recognizers that have not failed."""
        return bool(shard.sources.tolist() == recognizers)

    def tabulate(self, run: RunData, recognizer: str) -> Iterator[pl.DataFrame]:
        """One row per probe and mask."""
        for found in run.shards(Transferred, self.name, recognizer):
            masks = [*found.sources.tolist(), RANDOM]
            yield pl.DataFrame(
                {
                    **run.who(np.repeat(found.position, len(masks))),
                    "mask": masks * len(found.position),
                    "drop": found.drop.ravel(),
                }
            ).with_columns(pl.lit(recognizer).alias("model"))

    def summarise_study(self, run: RunData) -> TransferFigures:
        """The matrix of drops, and each recognizer's drops under its own, others' and random masks."""
        names = run.recognizers
        rows, targets = [], {}
        for place, name in enumerate(names):
            parts = list(run.shards(Transferred, self.name, name, ["position", "drop"]))
            drops = np.concatenate([part.drop for part in parts]).astype(np.float64)
            owners = run.owners(np.concatenate([part.position for part in parts]))
            rows.append(run.estimates(drops, owners))
            others = [column for column in range(len(names)) if column != place]
            if others:
                elsewhere = drops[:, others].mean(axis=1)
                targets[name] = TransferFigures.Target(
                    own=run.estimate(drops[:, place], owners),
                    others=run.estimate(elsewhere, owners),
                    random=run.estimate(drops[:, -1], owners),
                    others_over_random=run.paired(elsewhere - drops[:, -1], owners),
                )
        return TransferFigures(
            recognizers=names, masks=[*names, RANDOM], drop=rows, targets=targets
        )

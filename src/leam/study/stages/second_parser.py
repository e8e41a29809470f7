"""Region shares with a second parser, to show how much they depend on the parser."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray

from leam.metrics.statistics import Estimate
from leam.parsers.regions import REGIONS
from leam.parsers.shares import region_areas, region_shares
from leam.results.figures import Figures, Model
from leam.results.shards import Shard, axes, joined
from leam.study.explained import EXPLAIN
from leam.study.plan import Plan
from leam.study.run_data import RunData
from leam.study.scene import Scene
from leam.study.stage import STAGES, Stage
from leam.study.stages.regions import RegionShares


@dataclass(frozen=True)
class SecondShares(Shard):
    """Shares of the critical masks in the regions of the second parser."""

    position: Annotated[NDArray[np.int64], axes("face", doc="Position of the picture in the plan.")]
    share: Annotated[
        NDArray[np.float32],
        axes("face", "region", doc="Fraction of the critical mask in each region."),
    ]
    area: Annotated[
        NDArray[np.float32],
        axes("face", "region", doc="Fraction of the chip that a region covers."),
    ]


class SecondParserFigures(Figures):
    """Region shares of the critical mask with the second parser."""

    class Region(Model):
        """One region."""

        share: Estimate
        """Fraction of the critical mask in the region, according to the second parser."""
        area: Estimate
        """Fraction of the chip that the region covers, according to the second parser."""
        moved: Estimate
        """Share with the second parser minus share with the first."""

    regions: dict[str, Region]
    """Figures by region name."""


@STAGES("second_parser")
class SecondParser(Stage[SecondShares]):
    """Measures the region shares with the second parser."""

    name = "second_parser"
    title = "regions by another parser"
    needs = (EXPLAIN, "regions")
    shard = SecondShares
    figures = SecondParserFigures

    def applies(self, plan: Plan) -> bool:
        """Whether a second parser is set."""
        return plan.settings.second_parser is not None

    def of_slice(self, scene: Scene) -> SecondShares:
        """The shares of a slice's critical masks."""
        parsings = scene.parsed(scene.settings.second_parser or scene.settings.parser)
        regions = torch.from_numpy(np.stack([parsing.regions for parsing in parsings]))
        masks = torch.from_numpy(scene.explained.masks)
        return SecondShares(
            position=scene.positions,
            share=region_shares(masks, regions, len(REGIONS)).numpy(),
            area=region_areas(regions, len(REGIONS)).numpy(),
        )

    def summarise(self, run: RunData, recognizer: str) -> SecondParserFigures:
        """The shares over people, and their change from the first parser."""
        second = joined(list(run.shards(SecondShares, self.name, recognizer)))
        first = np.concatenate(
            [
                part.share[:, 0].copy()  # a copy, to free the layers' shares
                for part in run.shards(RegionShares, "regions", recognizer, ["share"])
            ]
        )
        owners = run.owners(second.position)
        given = {*run.regions(), *run.regions(run.settings.second_parser)}
        return SecondParserFigures(
            regions={
                region: SecondParserFigures.Region(
                    share=run.estimate(second.share[:, i], owners),
                    area=run.estimate(second.area[:, i], owners),
                    moved=run.estimate(second.share[:, i].astype(np.float64) - first[:, i], owners),
                )
                for i, region in enumerate(REGIONS)
                if region in given
            }
        )

"""Region shares: which parts of the face the maps highlight."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from leam.explain.masks import critical_mask
from leam.metrics.statistics import Estimate
from leam.parsers.parsing import region_table
from leam.parsers.regions import REGIONS
from leam.parsers.shares import cell_regions, cell_shares, region_areas, region_shares
from leam.results.figures import Figures, Model
from leam.results.shards import Shard, axes
from leam.study.explained import EXPLAIN, Explained
from leam.study.run_data import OVERALL, RunData
from leam.study.scene import MapBatch
from leam.study.stage import STAGES, Stage
from leam.study.stages.control_maps import CONTROL_MAPS

_CONTROLS = ("area", "edges", "random_weights")


@dataclass(frozen=True)
class RegionShares(Shard):
    """Distribution of the overall map and each layer's map over the regions, in the order of ``REGIONS``."""

    share: Annotated[
        NDArray[np.float32],
        axes("face", "map", "region", doc="Fraction of the critical mask in each region."),
    ]
    mass: Annotated[
        NDArray[np.float32],
        axes("face", "map", "region", doc="Fraction of the map in each region."),
    ]
    area: Annotated[
        NDArray[np.float32],
        axes("face", "region", doc="Fraction of the chip that a region covers."),
    ]
    confidence: Annotated[
        NDArray[np.float32],
        axes("face", "region", doc="Mean confidence of the parser; NaN for an absent region."),
    ]


class RegionFigures(Figures):
    """Which parts of the face the overall maps highlight."""

    class Region(Model):
        """One region."""

        share: Estimate
        """Fraction of the critical mask in the region."""
        area: Estimate
        """Fraction of the chip that the region covers, which is the share expected by chance."""
        mass: Estimate
        """Fraction of the overall map in the region."""
        density: Estimate
        """Share divided by area; 1 by chance."""
        edges: Estimate
        """Fraction of the critical mask of the edge map in the region; needs no network."""
        random_weights: Estimate
        """Fraction of the critical mask of the same network with random weights; some people of the study."""
        margins: dict[str, Estimate]
        """Share minus each control: ``area``, ``edges`` and ``random_weights``, paired over people."""

    regions: dict[str, Region]
    """Figures by region name."""


@STAGES("regions")
class Regions(Stage[RegionShares]):
    """Measures the shares of the critical mask and of the map in each region of the face, for every layer."""

    name = "regions"
    title = "regions of the face"
    needs = (EXPLAIN, CONTROL_MAPS)
    shard = RegionShares
    figures = RegionFigures
    columns = {
        "person": "Name of the person.",
        "image": "Name of the picture.",
        "layer": "``overall``, or the name of a layer.",
        "depth": "0 for the overall map, then 1, 2, ... from early to late layers.",
        "region": "The region.",
        "area": "Fraction of the chip that the region covers.",
        "share": "Fraction of the critical mask in the region; for a layer, of its critical cells.",
        "mass": "Fraction of the map in the region.",
        "confidence": "Mean confidence of the parser over the region.",
        "empty": "Whether the map is empty.",
        "model": "The recognizer.",
    }

    def of_maps(self, batch: MapBatch) -> RegionShares:
        """The shares of a batch's maps. Layers are measured on their own grids."""
        maps, count = batch.maps, len(REGIONS)
        regions = torch.from_numpy(np.stack([parsing.regions for parsing in batch.parsings]))
        overall = maps.overall.cpu()
        shares = [region_shares(critical_mask(overall, batch.settings.top), regions, count)]
        masses = [region_shares(overall, regions, count)]
        found: dict[int, tuple[Tensor, Tensor]] = {}
        for places, layers in batch.layers_by_size():
            cells = cell_regions(regions, count, (layers.shape[2], layers.shape[3]))
            share = cell_shares(critical_mask(layers, batch.settings.top), cells)
            mass = cell_shares(layers, cells)
            found |= {place: (share[i], mass[i]) for i, place in enumerate(places)}
        for place in range(len(found)):
            shares.append(found[place][0])
            masses.append(found[place][1])
        confidence = [[row.confidence for row in region_table(one)] for one in batch.parsings]
        return RegionShares(
            share=torch.stack(shares, dim=1).numpy(),
            mass=torch.stack(masses, dim=1).numpy(),
            area=region_areas(regions, count).numpy(),
            confidence=np.array(confidence, dtype=np.float32),
        )

    def tabulate(self, run: RunData, recognizer: str) -> Iterator[pl.DataFrame]:
        """One row per picture, layer and region."""
        regions = run.regions()
        columns = [REGIONS.index(region) for region in regions]
        explained = run.shards(Explained, EXPLAIN, recognizer, ["position", "layers", "empty"])
        for maps, found in zip(
            explained, run.shards(RegionShares, self.name, recognizer), strict=True
        ):
            names = [OVERALL, *maps.layers.tolist()]
            each = (len(maps.position), len(names), len(columns))
            face, layer, region = (axis.ravel() for axis in np.indices(each))
            yield pl.DataFrame(
                {
                    **run.who(maps.position[face]),
                    "layer": pl.Series(names).gather(layer),
                    "depth": layer,
                    "region": pl.Series(regions).gather(region),
                    "area": found.area[:, columns][face, region],
                    "share": found.share[:, :, columns].ravel(),
                    "mass": found.mass[:, :, columns].ravel(),
                    "confidence": found.confidence[:, columns][face, region],
                    "empty": maps.empty[face, layer],
                }
            ).with_columns(pl.lit(recognizer).alias("model"))

    def summarise(self, run: RunData, recognizer: str) -> RegionFigures:
        """Share, area, mass and density of each region, over people."""
        table = run.table(
            self.name,
            recognizer,
            ["person", "image", "region", "share", "area", "mass"],
            (pl.col("layer") == OVERALL) & ~pl.col("empty"),
        )
        controls = run.table(
            CONTROL_MAPS, recognizer, ["image", "region", "edges", "random_weights"]
        )
        table = table.join(controls, on=["image", "region"], maintain_order="left").with_columns(
            pl.when(pl.col("area") > 0).then(pl.col("share") / pl.col("area")).alias("density"),
            *((pl.col("share") - pl.col(name)).alias(f"over_{name}") for name in _CONTROLS),
        )
        return RegionFigures(
            regions={
                region: _region(run, table.filter(pl.col("region") == region))
                for region in run.regions()
            }
        )


def _region(run: RunData, rows: pl.DataFrame) -> RegionFigures.Region:
    """The figures of one region."""
    figures = ["share", "area", "mass", "density", "edges", "random_weights"]
    margins = [f"over_{name}" for name in _CONTROLS]
    found = run.column_estimates(rows, [*figures, *margins])
    return RegionFigures.Region(
        **{name: found[name] for name in figures},
        margins={name: found[f"over_{name}"] for name in _CONTROLS},
    )

"""Which parts of the face hold a model's maps."""

from __future__ import annotations

import numpy as np
import polars as pl

from leam.parsers.regions import REGIONS
from leam.study.plan import Plan
from leam.study.store import RunFolder
from leam.study.summary.estimates import Summary, of_columns, over_people, owners_of
from leam.study.tables import OVERALL, parsed_regions, shards


def region_figures(plan: Plan, folder: RunFolder, name: str) -> Summary:
    """Share of the critical mask, area, mass and density of each region, over people."""
    table = folder.read_table(
        f"regions/{name}",
        ["person", "region", "share", "area", "mass"],
        (pl.col("layer") == OVERALL) & ~pl.col("empty"),
    )
    table = table.with_columns(
        pl.when(pl.col("area") > 0).then(pl.col("share") / pl.col("area")).alias("density")
    )
    return {
        region: of_columns(rows, ["share", "area", "mass", "density"], plan.settings.seed)
        for region in parsed_regions(plan.settings.parser)
        for rows in [table.filter(pl.col("region") == region)]
    }


def second_parser_figures(plan: Plan, folder: RunFolder, name: str) -> Summary:
    """How far each region's share of the critical mask moves when another parser names the regions."""
    wanted = ["position", "share", "second_share", "second_area"]
    # The layers' shares are let go of at once.
    first, second, area, positions = (
        np.concatenate(found)
        for found in zip(
            *(
                (
                    part["share"][:, 0].copy(),
                    part["second_share"],
                    part["second_area"],
                    part["position"],
                )
                for part in shards(plan, folder, f"maps/{name}", wanted)
            ),
            strict=True,
        )
    )
    owners, seed = owners_of(plan, positions), plan.settings.seed
    given = {
        *parsed_regions(plan.settings.parser),
        *parsed_regions(plan.settings.second_parser or ""),
    }
    return {
        region: {
            "share": over_people(second[:, i], owners, seed),
            "area": over_people(area[:, i], owners, seed),
            "moved": over_people(second[:, i].astype(np.float64) - first[:, i], owners, seed),
        }
        for i, region in enumerate(REGIONS)
        if region in given
    }

"""Which parts of the face hold a model's maps."""

from __future__ import annotations

import numpy as np
import polars as pl

from leam.parsers.regions import REGIONS
from leam.study.plan import Plan
from leam.study.store import RunFolder
from leam.study.summary.estimates import Summary, of_column, over_people, owners_of
from leam.study.tables import OVERALL, parsed_regions, shards


def region_figures(plan: Plan, folder: RunFolder, name: str) -> Summary:
    """Share of the critical mask, area, mass and density of each region, over people."""
    table = folder.read_table(f"regions/{name}").filter(
        (pl.col("layer") == OVERALL) & ~pl.col("empty")
    )
    table = table.with_columns(
        pl.when(pl.col("area") > 0).then(pl.col("share") / pl.col("area")).alias("density")
    )
    return {
        region: {
            column: of_column(rows, column, plan.settings.seed)
            for column in ("share", "area", "mass", "density")
        }
        for region in parsed_regions(plan.settings.parser)
        for rows in [table.filter(pl.col("region") == region)]
    }


def second_parser_figures(plan: Plan, folder: RunFolder, name: str) -> Summary:
    """How far each region's share of the critical mask moves when another parser names the regions."""
    parts = list(
        shards(plan, folder, f"maps/{name}", ["position", "share", "second_share", "second_area"])
    )
    first, second, area = (
        np.concatenate(found).astype(np.float64)
        for found in (
            [part["share"][:, 0] for part in parts],
            [part["second_share"] for part in parts],
            [part["second_area"] for part in parts],
        )
    )
    owners = owners_of(plan, np.concatenate([part["position"] for part in parts]))
    seed = plan.settings.seed
    given = {
        *parsed_regions(plan.settings.parser),
        *parsed_regions(plan.settings.second_parser or ""),
    }
    return {
        region: {
            "share": over_people(second[:, i], owners, seed),
            "area": over_people(area[:, i], owners, seed),
            "moved": over_people(second[:, i] - first[:, i], owners, seed),
        }
        for i, region in enumerate(REGIONS)
        if region in given
    }

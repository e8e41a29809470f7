"""Figures by group of people, and the gaps between groups, as they are and between people alike in the rest."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import polars as pl

from leam.metrics.fairness import Gap, gap, imbalance, matched_gap
from leam.metrics.statistics import Numbers, benjamini_hochberg, bootstrap_mean, finite
from leam.parsers.regions import REGIONS
from leam.study.occluding import CRITICAL
from leam.study.plan import Plan
from leam.study.store import RunFolder
from leam.study.summary.estimates import Summary
from leam.study.tables import OVERALL, parsed_regions

COMPARED = ("drop", "nose", "eyes", "brows", "lips")
"""What is compared between groups: the drop, and shares of the critical pixels."""

# A group of fewer people than this says nothing of the group.
_FEWEST = 5
_POSE = ("yaw", "pitch", "roll")
# What covers a face or changes its outline, where a parser can see it.
_COVERING = ("glasses", "hair", "hat")

Values = dict[str, dict[str, float]]
"""From a compared figure to each person's mean."""


def group_figures(plan: Plan, folder: RunFolder, column: str) -> Summary:
    """A column's groups of five people or more.

    Returns:
        From a value to ``people``, ``drop`` by model, and ``share`` by model and region.
    """
    members = _members(plan, folder, column)
    found = {m.card.name: _person_values(folder, m.card.name) for m in plan.models}
    seed = plan.settings.seed

    def estimate(people: list[str], values: dict[str, float]) -> Summary:
        return bootstrap_mean(_of(people, values), np.arange(len(people)), seed).as_dict()

    return {
        value: {
            "people": len(people),
            "drop": {model: estimate(people, one["drop"]) for model, one in found.items()},
            "share": {
                model: {region: estimate(people, one[region]) for region in COMPARED[1:]}
                for model, one in found.items()
            },
        }
        for value, people in members.items()
    }


def gap_figures(plan: Plan, folder: RunFolder, column: str) -> Summary:
    """The gaps between every two groups of a column under each model.

    Returns:
        ``covariates``: what people are matched on; ``gaps``: for every two values, model and compared figure the
        difference with interval, permutation p, p after Benjamini-Hochberg over all of them, and effect sizes; the same
        between people matched on pose under ``matched``, and between people matched on all covariates under
        ``matched_on_all``, which leaves few pairs where groups hardly overlap; with ``imbalance`` of the covariates
        before.
    """
    members = _members(plan, folder, column)
    covariates = _covariates(plan, folder)
    names = [name for name in covariates.columns if name != "person"]
    known = {str(row[0]): row[1:] for row in covariates.iter_rows()}
    nothing = (np.nan,) * len(names)
    rows = []
    for (first, people), (second, others) in combinations(members.items(), 2):
        sides = [
            np.array([known.get(person, nothing) for person in one], dtype=np.float64)
            for one in (people, others)
        ]
        apart = dict(zip(names, map(finite, imbalance(sides[0], sides[1]).tolist()), strict=True))
        for model in plan.models:
            values = _person_values(folder, model.card.name)
            for compared in COMPARED:
                pair = (_of(people, values[compared]), _of(others, values[compared]))
                rows.append(
                    {
                        "first": first,
                        "second": second,
                        "model": model.card.name,
                        "of": compared,
                        **_row(gap(*pair, plan.settings.seed)),
                        "matched": _row(matched_gap(*pair, *_pose(sides), plan.settings.seed)),
                        "matched_on_all": _row(
                            matched_gap(*pair, sides[0], sides[1], plan.settings.seed)
                        ),
                        "imbalance": apart,
                    }
                )
    matched = ([row[kind] for row in rows] for kind in ("matched", "matched_on_all"))
    for target in (rows, *matched):
        adjusted = benjamini_hochberg(np.array([row["p"] for row in target], dtype=np.float64))
        for row, p in zip(target, adjusted, strict=True):
            row["p_adjusted"] = finite(float(p))
    return {"covariates": names, "gaps": rows}


def _pose(sides: Sequence[Numbers]) -> tuple[Numbers, Numbers]:
    """The covariates of both groups that are of pose: the first ones."""
    return sides[0][:, : len(_POSE)], sides[1][:, : len(_POSE)]


def _row(found: Gap) -> Summary:
    return {
        "difference": found.difference.as_dict(),
        "p": finite(found.p),
        "d": finite(found.d),
        "delta": finite(found.delta),
    }


def _members(plan: Plan, folder: RunFolder, column: str) -> dict[str, list[str]]:
    """The people of each group, of those that the study could use."""
    used = set(_person_values(folder, plan.models[0].card.name)["nose"])
    faces = folder.read_table("faces", ["person", f"group_{column}"])
    rows = faces.unique("person").drop_nulls().sort("person")
    members: dict[str, list[str]] = {}
    for person, value in rows.iter_rows():
        if person in used:
            members.setdefault(str(value), []).append(person)
    return {v: people for v, people in sorted(members.items()) if len(people) >= _FEWEST}


def _person_values(folder: RunFolder, model: str) -> Values:
    """Each person's mean drop under the critical mask, and mean shares of it."""
    drops = folder.read_table(
        f"occlusion/{model}",
        ["person", "drop"],
        (pl.col("mask") == CRITICAL) & pl.col("drop").is_not_nan(),
    )
    found: Values = {"drop": _means(drops, "drop")}
    shares = folder.read_table(
        f"regions/{model}",
        ["person", "region", "share"],
        (pl.col("layer") == OVERALL) & ~pl.col("empty") & pl.col("region").is_in(COMPARED[1:]),
    )
    for region in COMPARED[1:]:
        found[region] = _means(shares.filter(pl.col("region") == region), "share")
    return found


def _means(table: pl.DataFrame, column: str) -> dict[str, float]:
    return dict(table.group_by("person").agg(pl.col(column).mean()).iter_rows())


def _covariates(plan: Plan, folder: RunFolder) -> pl.DataFrame:
    """What a gap could come from instead of the group: pose, and what covers the face, as each person's means."""
    faces = folder.read_table("faces", ["person", *_POSE], pl.col("reason") == "")
    table = faces.group_by("person").agg(
        pl.col("yaw").abs().mean(), pl.col("pitch").mean(), pl.col("roll").abs().mean()
    )
    settings = plan.settings
    for parser, column in ((settings.parser, "area"), (settings.second_parser, "second_area")):
        covering = [region for region in _COVERING if parser and region in parsed_regions(parser)]
        if covering:
            areas = _areas(plan, folder, column)
            return table.join(areas.select("person", *covering), on="person", how="left").sort(
                "person"
            )
    return table.sort("person")


def _areas(plan: Plan, folder: RunFolder, column: str) -> pl.DataFrame:
    """Each person's mean area of every region, under the first model's crop."""
    rows: dict[str, list[np.ndarray]] = {}
    name = plan.models[0].card.name
    for index, _ in enumerate(plan.slices):
        arrays = folder.read_shard(f"maps/{name}", index, ["position", column]) or {}
        for position, areas in zip(arrays.get("position", ()), arrays.get(column, ()), strict=True):
            rows.setdefault(plan.images[position].person, []).append(areas)
    means = np.array([np.mean(found, axis=0) for found in rows.values()], dtype=np.float64)
    return pl.DataFrame({"person": list(rows), **dict(zip(REGIONS, means.T, strict=True))})


def _of(people: list[str], found: dict[str, float]) -> Numbers:
    return np.array([found.get(person, np.nan) for person in people])

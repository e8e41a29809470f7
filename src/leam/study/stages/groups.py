"""Figures by group of people, and the gaps between groups, unmatched and matched."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from leam.metrics.fairness import Gap, gap, imbalance, matched_gap
from leam.metrics.statistics import (
    Estimate,
    Numbers,
    benjamini_hochberg,
    bootstrap_mean,
    finite,
)
from leam.parsers.regions import REGIONS
from leam.results.figures import Figures, Model
from leam.results.shards import Shard
from leam.study.explained import EXPLAIN, Explained
from leam.study.masks import CRITICAL
from leam.study.plan import Plan
from leam.study.run_data import OVERALL, RunData
from leam.study.stage import STAGES, Stage
from leam.study.stages.regions import RegionShares
from leam.study.stages.second_parser import SecondShares

DROP = "drop"
COMPARED_REGIONS = ("nose", "eyes", "brows", "lips")
"""The regions whose share of the critical mask is compared between groups."""

# Smaller groups are left out, since their figures are too uncertain.
_FEWEST = 5
_POSE = ("yaw", "pitch", "roll")
# Regions that cover a face or change its outline, if the parser distinguishes them.
_COVERING = ("glasses", "hair", "hat")

Values = dict[str, dict[str, float]]
"""The mean of each person, by compared figure."""


class GroupFigures(Figures):
    """Figures by group of people, and the gaps between groups."""

    class Group(Model):
        """The people with the same value in a column."""

        people: int
        """Number of people."""
        drop: dict[str, Estimate]
        """Similarity drop under the critical mask, by recognizer."""
        share: dict[str, dict[str, Estimate]]
        """Share of the critical mask, by recognizer and region."""

    class Gap(Model):
        """The difference between two groups of people."""

        difference: Estimate
        """First group minus second group."""
        p: float | None
        """Two-sided p-value of a permutation test."""
        p_adjusted: float | None
        """The p-value after Benjamini-Hochberg correction over all gaps of the column."""
        d: float | None
        """Cohen's d: with pooled standard deviation, or of the paired differences for matched people."""
        delta: float | None
        """Cliff's delta."""

    class Row(Gap):
        """The gap between two groups in one figure of one recognizer."""

        first: str
        """The first group."""
        second: str
        """The second group."""
        recognizer: str
        """The recognizer."""
        of: str
        """The compared figure: ``drop``, or the name of a region for its share of the critical mask."""
        matched: GroupFigures.Gap
        """The gap between people matched on pose."""
        matched_on_all: GroupFigures.Gap
        """The gap between people matched on all covariates; rests on few pairs if the groups hardly overlap."""
        imbalance: dict[str, float | None]
        """Difference of each covariate before matching, in standard deviations."""

    class Column(Model):
        """One column of the people table."""

        groups: dict[str, GroupFigures.Group]
        """Groups of at least five people, by value."""
        covariates: list[str]
        """Covariates for matching: pose, and regions that cover the face if a parser distinguishes them."""
        gaps: list[GroupFigures.Row]
        """Gaps for each pair of groups, recognizer and figure."""

    columns: dict[str, Column]
    """Figures by column name."""


@STAGES("groups")
class Groups(Stage[Shard]):
    """Compares similarity drop and region shares between groups of people."""

    name = "groups"
    title = "groups of people"
    phase = "compare"
    needs = ("occlusion", "regions")
    figures = GroupFigures

    def applies(self, plan: Plan) -> bool:
        """Whether the study compares columns of the people table."""
        return bool(plan.settings.groups)

    def summarise_study(self, run: RunData) -> GroupFigures:
        """Groups and gaps for each column."""
        values = {name: _person_values(run, name) for name in run.recognizers}
        covariates = _covariates(run)
        return GroupFigures(
            columns={
                column: _column(run, column, values, covariates) for column in run.settings.groups
            }
        )


def _column(
    run: RunData, column: str, values: dict[str, Values], covariates: pl.DataFrame
) -> GroupFigures.Column:
    members = _members(run, column, set(next(iter(values.values()))["nose"]))
    names = [name for name in covariates.columns if name != "person"]
    return GroupFigures.Column(
        groups={
            value: _group(people, values, run.settings.seed) for value, people in members.items()
        },
        covariates=names,
        gaps=_gaps(members, values, covariates, run.settings.seed),
    )


def _group(people: list[str], values: dict[str, Values], seed: int) -> GroupFigures.Group:
    def estimate(found: dict[str, float]) -> Estimate:
        return bootstrap_mean(_of(people, found), np.arange(len(people)), seed)

    return GroupFigures.Group(
        people=len(people),
        drop={name: estimate(one[DROP]) for name, one in values.items()},
        share={
            name: {region: estimate(one[region]) for region in COMPARED_REGIONS}
            for name, one in values.items()
        },
    )


def _gaps(
    members: dict[str, list[str]], values: dict[str, Values], covariates: pl.DataFrame, seed: int
) -> list[GroupFigures.Row]:
    """The gaps for each pair of groups, recognizer and figure, with corrected p-values."""
    names = [name for name in covariates.columns if name != "person"]
    known = {str(row[0]): row[1:] for row in covariates.iter_rows()}
    nothing = (np.nan,) * len(names)
    keys: list[tuple[str, str, str, str, dict[str, float | None]]] = []
    kinds: tuple[list[Gap], list[Gap], list[Gap]] = ([], [], [])
    for (first, people), (second, others) in combinations(members.items(), 2):
        left, right = (
            np.array([known.get(person, nothing) for person in one], dtype=np.float64)
            for one in (people, others)
        )
        apart = dict(zip(names, map(finite, imbalance(left, right).tolist()), strict=True))
        pose = left[:, : len(_POSE)], right[:, : len(_POSE)]
        for recognizer, found in values.items():
            for compared in (DROP, *COMPARED_REGIONS):
                pair = (_of(people, found[compared]), _of(others, found[compared]))
                keys.append((first, second, recognizer, compared, apart))
                kinds[0].append(gap(*pair, seed))
                kinds[1].append(matched_gap(*pair, *pose, seed))
                kinds[2].append(matched_gap(*pair, left, right, seed))
    plain, matched, on_all = ([_gap(*one) for one in _adjusted(kind)] for kind in kinds)
    return [
        GroupFigures.Row(
            **dict(one),
            first=first,
            second=second,
            recognizer=recognizer,
            of=compared,
            matched=by_pose,
            matched_on_all=by_all,
            imbalance=apart,
        )
        for (first, second, recognizer, compared, apart), one, by_pose, by_all in zip(
            keys, plain, matched, on_all, strict=True
        )
    ]


def _adjusted(gaps: Sequence[Gap]) -> list[tuple[Gap, float]]:
    """Gaps with their p-values after Benjamini-Hochberg correction."""
    adjusted = benjamini_hochberg(np.array([one.p for one in gaps], dtype=np.float64))
    return list(zip(gaps, adjusted.tolist(), strict=True))


def _gap(found: Gap, adjusted: float) -> GroupFigures.Gap:
    return GroupFigures.Gap(
        difference=found.difference,
        p=finite(found.p),
        p_adjusted=finite(adjusted),
        d=finite(found.d),
        delta=finite(found.delta),
    )


def _members(run: RunData, column: str, used: set[str]) -> dict[str, list[str]]:
    """The people of each group, limited to people whose maps were measured."""
    faces = run.folder.read_table("faces", ["person", f"group_{column}"])
    members: dict[str, list[str]] = {}
    for person, value in faces.unique("person").drop_nulls().sort("person").iter_rows():
        if person in used:
            members.setdefault(str(value), []).append(person)
    return {v: people for v, people in sorted(members.items()) if len(people) >= _FEWEST}


def _person_values(run: RunData, recognizer: str) -> Values:
    """Each person's mean similarity drop under the critical mask, and mean region shares of that mask."""
    drops = run.table(
        "occlusion",
        recognizer,
        ["person", "drop"],
        (pl.col("mask") == CRITICAL) & pl.col("drop").is_not_nan(),
    )
    shares = run.table(
        "regions",
        recognizer,
        ["person", "region", "share"],
        (pl.col("layer") == OVERALL) & ~pl.col("empty") & pl.col("region").is_in(COMPARED_REGIONS),
    )
    found: Values = {DROP: _means(drops, "drop")}
    for region in COMPARED_REGIONS:
        found[region] = _means(shares.filter(pl.col("region") == region), "share")
    return found


def _means(table: pl.DataFrame, column: str) -> dict[str, float]:
    return dict(table.group_by("person").agg(pl.col(column).mean()).iter_rows())


def _covariates(run: RunData) -> pl.DataFrame:
    """Each person's mean covariates, which may explain a gap: pose, and regions that cover the face."""
    faces = run.folder.read_table("faces", ["person", *_POSE], pl.col("reason") == "")
    table = faces.group_by("person").agg(
        pl.col("yaw").abs().mean(), pl.col("pitch").mean(), pl.col("roll").abs().mean()
    )
    settings = run.settings
    kinds: tuple[tuple[str | None, type[RegionShares | SecondShares], str], ...] = (
        (settings.parser, RegionShares, "regions"),
        (settings.second_parser, SecondShares, "second_parser"),
    )
    for parser, kind, stage in kinds:
        covering = [region for region in _COVERING if parser and region in run.regions(parser)]
        if covering:
            areas = _areas(run, kind, stage).select("person", *covering)
            return table.join(areas, on="person", how="left").sort("person")
    return table.sort("person")


def _areas(run: RunData, kind: type[RegionShares | SecondShares], stage: str) -> pl.DataFrame:
    """Each person's mean area of each region, in the first recognizer's crop."""
    rows: dict[str, list[NDArray[np.float32]]] = {}
    name = run.recognizers[0]
    maps = run.shards(Explained, EXPLAIN, name, ["position"])
    for explained, part in zip(maps, run.shards(kind, stage, name, ["area"]), strict=True):
        for position, areas in zip(explained.position, part.area, strict=True):
            rows.setdefault(run.plan.images[position].person, []).append(areas)
    means = np.array([np.mean(found, axis=0) for found in rows.values()], dtype=np.float64)
    return pl.DataFrame({"person": list(rows), **dict(zip(REGIONS, means.T, strict=True))})


def _of(people: list[str], found: dict[str, float]) -> Numbers:
    return np.array([found.get(person, np.nan) for person in people])

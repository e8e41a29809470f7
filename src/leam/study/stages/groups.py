"""Figures by group of people, and the gaps between groups, unmatched and matched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from leam.metrics.fairness import Gap, Matching, gap, imbalance, matched_gap, matching
from leam.metrics.statistics import (
    FEWEST,
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
Covariates = dict[str, tuple[float, ...]]
"""The covariates of each person."""


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
        """Cohen's d: the difference, of all or of matched people, over the pooled standard deviation of all people."""
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
        """The gap between people matched on pose; ``n`` of the difference is the number of pairs."""
        matched_on_all: GroupFigures.Gap
        """The gap between people matched on all covariates; rests on few pairs if the groups hardly overlap."""
        imbalance: dict[str, float | None]
        """Difference of each covariate before matching, in standard deviations."""

    class Column(Model):
        """One column of the people table."""

        groups: dict[str, GroupFigures.Group]
        """Groups of at least five people, by value."""
        left_out: dict[str, int] = {}
        """Groups of fewer people, which are not compared, with their number of people."""
        unknown: int = 0
        """People without a value in the column."""
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
        pictures = {name: _pictures(run, name) for name in run.recognizers}
        values = {name: _person_values(run, name, used) for name, used in pictures.items()}
        covariates = {name: _covariates(run, used) for name, used in pictures.items()}
        return GroupFigures(
            columns={
                column: _column(run, column, values, covariates) for column in run.settings.groups
            }
        )


def _column(
    run: RunData, column: str, values: dict[str, Values], covariates: dict[str, Covariates]
) -> GroupFigures.Column:
    used = set(next(iter(values.values()))[DROP])
    everybody = _members(run, column, used)
    members = {value: people for value, people in everybody.items() if len(people) >= _FEWEST}
    names = [*_POSE, *_covering(run)[1]]
    return GroupFigures.Column(
        groups={
            value: _group(people, values, run.settings.seed) for value, people in members.items()
        },
        left_out={v: len(people) for v, people in everybody.items() if v not in members},
        unknown=len(used) - sum(map(len, everybody.values())),
        covariates=names,
        gaps=_gaps(members, values, covariates, names, run.settings.seed),
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
    members: dict[str, list[str]],
    values: dict[str, Values],
    covariates: dict[str, Covariates],
    names: Sequence[str],
    seed: int,
) -> list[GroupFigures.Row]:
    """The gaps for each pair of groups, recognizer and figure, with corrected p-values."""
    keys: list[tuple[str, str, str, str, dict[str, float | None]]] = []
    kinds: tuple[list[Gap], list[Gap], list[Gap]] = ([], [], [])
    for (first, people), (second, others) in combinations(members.items(), 2):
        match = _Matcher(seed)
        for recognizer, found in values.items():
            left, right = (
                _rows(one, covariates[recognizer], len(names)) for one in (people, others)
            )
            apart = dict(zip(names, map(finite, imbalance(left, right).tolist()), strict=True))
            by_pose = match(left[:, : len(_POSE)], right[:, : len(_POSE)])
            by_all = match(left, right)
            for compared in (DROP, *COMPARED_REGIONS):
                pair = (_of(people, found[compared]), _of(others, found[compared]))
                keys.append((first, second, recognizer, compared, apart))
                kinds[0].append(gap(*pair, seed))
                kinds[1].append(matched_gap(*pair, by_pose, seed))
                kinds[2].append(matched_gap(*pair, by_all, seed))
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


class _Matcher:
    """Matches groups; recognizers with the same usable pictures share the matchings, which take long."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._known: dict[tuple[bytes, bytes], Matching] = {}

    def __call__(self, first: Numbers, second: Numbers) -> Matching:
        """The matching of two groups by their covariates, ``(a, C)`` and ``(b, C)``."""
        key = first.tobytes(), second.tobytes()
        if key not in self._known:
            self._known[key] = matching(first, second, self._seed)
        return self._known[key]


def _rows(people: list[str], covariates: Covariates, count: int) -> Numbers:
    """The covariates of some people, ``(n, count)``; NaN for people without any."""
    nothing = (np.nan,) * count
    rows = [covariates.get(person, nothing) for person in people]
    return np.array(rows, dtype=np.float64)


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
    faces = run.folder.read_table("faces", ["person", f"group_{column}"]).drop_nulls().unique()
    # A person whose pictures have several values is in none of the groups; see Plan.people_of.
    members: dict[str, list[str]] = {}
    for person, value in faces.unique("person", keep="none").sort("person").iter_rows():
        if person in used:
            members.setdefault(str(value), []).append(person)
    return dict(sorted(members.items()))


def judged_gap(found: GroupFigures.Column, row: GroupFigures.Row) -> Estimate:
    """The gap of all people for a verdict: ``n`` is the smaller group if it has too few people for a conclusion."""
    smaller = min(found.groups[name].people for name in (row.first, row.second))
    return replace(row.difference, n=smaller) if smaller < FEWEST else row.difference


def left_out_note(found: GroupFigures.Column) -> str:
    """Which groups are not compared, and how many people have no value; empty if all are compared."""
    parts = [f"{value} (n = {count})" for value, count in found.left_out.items()]
    parts += [f"people without a value (n = {found.unknown})"] if found.unknown else []
    return (
        f"Not compared, since they are fewer than {_FEWEST} or not known: {', '.join(parts)}."
        if parts
        else ""
    )


def _pictures(run: RunData, recognizer: str) -> pl.DataFrame:
    """Each picture's similarity drop under the critical mask, where it was measured.

    Everything that is compared, and the covariates, come from these pictures.
    """
    measured = (pl.col("mask") == CRITICAL) & pl.col("drop").is_not_nan()
    return run.table("occlusion", recognizer, ["person", "image", "drop"], measured)


def _person_values(run: RunData, recognizer: str, pictures: pl.DataFrame) -> Values:
    """Each person's mean similarity drop under the critical mask, and mean region shares of that mask."""
    shares = run.table(
        "regions",
        recognizer,
        ["person", "image", "region", "share"],
        (pl.col("layer") == OVERALL) & ~pl.col("empty") & pl.col("region").is_in(COMPARED_REGIONS),
    ).join(pictures, on="image", how="semi")
    found: Values = {DROP: _means(pictures, "drop")}
    for region in COMPARED_REGIONS:
        found[region] = _means(shares.filter(pl.col("region") == region), "share")
    return found


def _means(table: pl.DataFrame, column: str) -> dict[str, float]:
    return dict(table.group_by("person").agg(pl.col(column).mean()).iter_rows())


def _covariates(run: RunData, pictures: pl.DataFrame) -> Covariates:
    """Each person's mean covariates, which may explain a gap: pose, and regions that cover the face."""
    stage, covering = _covering(run)
    faces = run.folder.read_table("faces", ["person", "image", *_POSE], pl.col("reason") == "")
    table = faces.join(pictures, on="image", how="semi")
    if covering:
        areas = _areas(run, SecondShares if stage == "second_parser" else RegionShares, stage)
        table = table.join(areas, on="image", how="left")
    means = table.group_by("person", maintain_order=True).agg(
        pl.col("yaw").abs().mean(),
        pl.col("pitch").mean(),
        pl.col("roll").abs().mean(),
        *(pl.col(region).mean() for region in covering),
    )
    return {str(row[0]): row[1:] for row in means.sort("person").iter_rows()}


def _covering(run: RunData) -> tuple[str, list[str]]:
    """The first stage whose parser distinguishes regions that cover the face, and these regions."""
    settings = run.settings
    for stage, parser in (("regions", settings.parser), ("second_parser", settings.second_parser)):
        covering = [region for region in _COVERING if parser and region in run.regions(parser)]
        if covering:
            return stage, covering
    return "regions", []


def _areas(run: RunData, kind: type[RegionShares | SecondShares], stage: str) -> pl.DataFrame:
    """Each picture's area of each region, in the first recognizer's crop."""
    images: list[str] = []
    areas: list[NDArray[np.float32]] = []
    name = run.recognizers[0]
    maps = run.shards(Explained, EXPLAIN, name, ["position"])
    for explained, part in zip(maps, run.shards(kind, stage, name, ["area"]), strict=True):
        images += [run.plan.images[position].image for position in explained.position]
        areas.append(part.area)
    columns = np.concatenate(areas).astype(np.float64).T
    return pl.DataFrame({"image": images, **dict(zip(REGIONS, columns, strict=True))})


def _of(people: list[str], found: dict[str, float]) -> Numbers:
    return np.array([found.get(person, np.nan) for person in people])

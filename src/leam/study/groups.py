"""Figures by group of people, and the gap between two groups."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import polars as pl

from leam.measures.gaps import gap
from leam.measures.significance import benjamini_hochberg
from leam.measures.statistics import Numbers, bootstrap_mean, finite
from leam.study.plan import Plan
from leam.study.store import RunFolder

# A group of fewer people than this says nothing of the group.
_FEWEST = 5


def group_figures(plan: Plan, folder: RunFolder, column: str) -> dict[str, Any]:
    """A column's groups: people, mean drop under each model, and the gaps between groups.

    Returns:
        ``values``: from a value to ``people`` and ``drop`` by model; ``gaps``: for every two values and each model the
        difference of the mean drops with interval, permutation p, p after Benjamini-Hochberg over all gaps, and
        effect sizes. Groups of fewer than five people are left out.
    """
    persons = folder.read_table("faces").select("person", value=f"group_{column}").unique("person")
    drops = {m.card.name: _person_drops(folder, m.card.name) for m in plan.models}
    values = {
        str(value): rows["person"].to_list()
        for (value,), rows in persons.drop_nulls()
        .sort("person")
        .group_by("value", maintain_order=True)
    }
    known = next(iter(drops.values()))
    members = {value: [p for p in people if p in known] for value, people in sorted(values.items())}
    members = {value: people for value, people in members.items() if len(people) >= _FEWEST}
    seed = plan.settings.seed
    figures = {
        value: {
            "people": len(people),
            "drop": {
                model: bootstrap_mean(_of(people, found), np.arange(len(people)), seed).as_dict()
                for model, found in drops.items()
            },
        }
        for value, people in members.items()
    }
    return {"values": figures, "gaps": _gaps(members, drops, seed)}


def _gaps(
    members: dict[str, list[str]], drops: dict[str, dict[str, float]], seed: int
) -> list[dict[str, Any]]:
    rows = []
    for (first, people), (second, others) in combinations(members.items(), 2):
        for model, found in drops.items():
            between = gap(_of(people, found), _of(others, found), seed)
            rows.append(
                {
                    "first": first,
                    "second": second,
                    "model": model,
                    "difference": between.difference.as_dict(),
                    "p": finite(between.p),
                    "d": finite(between.d),
                    "delta": finite(between.delta),
                }
            )
    adjusted = benjamini_hochberg(np.array([row["p"] for row in rows], dtype=np.float64))
    return [{**row, "p_adjusted": finite(float(p))} for row, p in zip(rows, adjusted, strict=True)]


def _person_drops(folder: RunFolder, model: str) -> dict[str, float]:
    """Each person's mean drop under the critical mask at the top fraction."""
    table = folder.read_table(f"occlusion/{model}")
    top = table.filter(
        pl.col("mask") == "critical", pl.col("fraction") == folder.plan().settings.top
    )
    means = top.filter(pl.col("drop").is_not_nan()).group_by("person").agg(pl.col("drop").mean())
    return dict(means.iter_rows())


def _of(people: list[str], found: dict[str, float]) -> Numbers:
    return np.array([found.get(person, np.nan) for person in people])

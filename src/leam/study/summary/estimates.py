"""Estimates over people, as they stand in ``summary.json``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from leam.metrics.statistics import bootstrap_means
from leam.study.plan import Plan

Summary = dict[str, Any]


def over_people(values: NDArray[np.floating], owners: NDArray[np.int64], seed: int) -> Summary:
    """The mean of values ``(n,)`` with its interval; ``owners (n,)`` says whose each is."""
    return each_over_people(values[:, None], owners, seed)[0]


def each_over_people(
    values: NDArray[np.floating], owners: NDArray[np.int64], seed: int
) -> list[Summary]:
    """The same for each column of values ``(n, c)``, at little more than the cost of one."""
    found = bootstrap_means(values, owners, seed)
    return [estimate.as_dict() for estimate in found]


def of_columns(rows: pl.DataFrame, columns: Sequence[str], seed: int) -> dict[str, Summary]:
    """The means of a table's columns, over its people."""
    people = rows["person"].rank("dense").to_numpy().astype(np.int64)
    values = rows.select(pl.col(columns).cast(pl.Float64)).to_numpy()
    return dict(zip(columns, each_over_people(values, people, seed), strict=True))


def owners_of(plan: Plan, positions: Sequence[int] | NDArray[np.integer]) -> NDArray[np.int64]:
    """Whose the pictures at some positions are, as numbers, ``(n,)``."""
    people = [plan.images[int(position)].person for position in positions]
    found: NDArray[np.int64] = np.unique(people, return_inverse=True)[1]
    return found

"""Estimates over people, as they stand in ``summary.json``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from leam.measures.statistics import Numbers, bootstrap_mean
from leam.study.plan import Plan

Summary = dict[str, Any]


def over_people(values: Numbers, owners: NDArray[np.int64], seed: int) -> Summary:
    """The mean of values ``(n,)`` with its interval; ``owners (n,)`` says whose each is."""
    return bootstrap_mean(values.astype(np.float64), owners, seed).as_dict()


def of_column(rows: pl.DataFrame, column: str, seed: int) -> Summary:
    """The mean of a table's column, over its people."""
    people = rows["person"].rank("dense").to_numpy().astype(np.int64)
    return over_people(rows[column].cast(pl.Float64).to_numpy(), people, seed)


def owners_of(plan: Plan, positions: Sequence[int] | NDArray[np.integer]) -> NDArray[np.int64]:
    """Whose the pictures at some positions are, as numbers, ``(n,)``."""
    people = [plan.images[int(position)].person for position in positions]
    found: NDArray[np.int64] = np.unique(people, return_inverse=True)[1]
    return found

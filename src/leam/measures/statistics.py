"""Estimates with intervals: bootstrap over people, since a person's images are not independent."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

REPEATS = 2000
LEVEL = 0.95
# Resamples worked on at once, so that memory stays flat as people grow.
_BLOCK = 100


@dataclass(frozen=True)
class Estimate:
    """A mean and its interval.

    Attributes:
        mean: The mean.
        low: Lower end of the 95 % interval.
        high: Upper end.
        n: Number of people it rests on.
    """

    mean: float | None
    low: float | None
    high: float | None
    n: int

    def as_dict(self) -> dict[str, float | int | None]:
        """As it stands in ``summary.json``: None where there is nothing to estimate from."""
        return asdict(self)


NOTHING = Estimate(None, None, None, 0)


def bootstrap_mean(values: Numbers, people: NDArray[np.integer], seed: int, repeats: int = REPEATS) -> Estimate:
    """The mean of values, with a percentile interval from resampling whole people.

    Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, ch. 13; people are the clusters.

    Args:
        values: ``(n,)``; NaN counts as absent.
        people: Whose each value is, ``(n,)``.
        seed: Of the resampling.
        repeats: Number of resamples.
    """
    present = np.isfinite(values)
    if not present.any():
        return NOTHING
    _, owner = np.unique(people[present], return_inverse=True)
    sums = np.bincount(owner, weights=values[present])
    counts = np.bincount(owner).astype(np.float64)
    draws = np.concatenate(
        [(w @ sums) / (w @ counts) for w in _resamples(len(sums), seed, repeats)]
    )
    return _estimate(float(sums.sum() / counts.sum()), draws, len(sums))


def bootstrap_pair_mean(sums: Numbers, counts: Numbers, seed: int, repeats: int = REPEATS) -> Estimate:
    """The mean over pairs of different people, with an interval from resampling people.

    A pair drawn in a resample counts as often as the product of its two people's multiplicities; a person is never
    paired with itself.

    Args:
        sums: Sum of the measure over the image pairs of persons i and j, ``(P, P)`` symmetric; the diagonal is ignored.
        counts: Number of those image pairs, ``(P, P)``.
        seed: Of the resampling.
        repeats: Number of resamples.
    """
    sums, counts = (np.where(np.eye(len(a), dtype=bool), 0.0, a) for a in (sums, counts))
    if counts.sum() == 0:
        return NOTHING
    draws = []
    for w in _resamples(len(sums), seed, repeats):
        weight = ((w @ counts) * w).sum(axis=1)
        total = ((w @ sums) * w).sum(axis=1)
        draws.append(np.divide(total, weight, out=np.full_like(total, np.nan), where=weight > 0))
    return _estimate(float(sums.sum() / counts.sum()), np.concatenate(draws), len(sums))


def _resamples(people: int, seed: int, repeats: int) -> list[Numbers]:
    """How often each person is drawn in each resample, in blocks of ``(<=_BLOCK, people)``."""
    generator = np.random.default_rng(seed)
    even = np.full(people, 1 / people)
    sizes = [min(_BLOCK, repeats - start) for start in range(0, repeats, _BLOCK)]
    return [generator.multinomial(people, even, size=size).astype(np.float64) for size in sizes]


def _estimate(mean: float, draws: Numbers, people: int) -> Estimate:
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.nanpercentile(draws, [tail, 100 - tail])
    return Estimate(mean, float(low), float(high), people)

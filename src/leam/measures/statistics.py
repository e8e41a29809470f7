"""Estimates with intervals: bootstrap over people, since a person's images are not independent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

REPEATS = 2000
LEVEL = 0.95
# Resamples worked on at once: few, so that memory stays flat as people grow and a block of weights fits the cache.
_BLOCK = 10
# Resamples of up to this many numbers, a byte each, are kept for the next figure.
_KEPT = 64_000_000


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
        """As it stands in ``summary.json``: None where there is nothing to estimate from.

        Eight digits are kept: the last ones of a sum depend on the order a machine adds in.
        """
        return {
            name: float(f"{value:.8g}") if isinstance(value, float) else value
            for name, value in asdict(self).items()
        }


NOTHING = Estimate(None, None, None, 0)


def finite(value: float) -> float | None:
    """A number as JSON can hold it: None for NaN and infinity."""
    return value if np.isfinite(value) else None


def bootstrap_mean(
    values: Numbers, people: NDArray[np.integer], seed: int, repeats: int = REPEATS
) -> Estimate:
    """The mean of values, with a percentile interval from resampling whole people.

    Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, ch. 13; people are the clusters.

    Args:
        values: ``(n,)``; NaN counts as absent.
        people: Whose each value is, ``(n,)``.
        seed: Of the resampling.
        repeats: Number of resamples.
    """
    return bootstrap_means(values[:, None], people, seed, repeats)[0]


def bootstrap_means(
    values: NDArray[np.floating], people: NDArray[np.integer], seed: int, repeats: int = REPEATS
) -> list[Estimate]:
    """The same for each column of values ``(n, c)``, from one draw of the resamples.

    A column's figures are those that it has alone: columns with values of the same people share the draws.
    """
    if not values.shape[1]:
        return []
    _, owner = np.unique(people, return_inverse=True)
    sums = np.zeros((values.shape[1], int(owner.max(initial=-1)) + 1))
    counts = np.zeros_like(sums)
    for place, column in enumerate(values.T):
        present = np.isfinite(column)
        sums[place] = np.bincount(owner, np.where(present, column, 0.0), sums.shape[1])
        counts[place] = np.bincount(owner, present, sums.shape[1])
    known, pattern = np.unique(counts > 0, axis=0, return_inverse=True)
    found = [NOTHING] * values.shape[1]
    for number, whose in enumerate(known):
        columns = np.flatnonzero(pattern.ravel() == number)
        if not whose.any():
            continue
        some, of = sums[np.ix_(columns, whose)], counts[np.ix_(columns, whose)]
        blocks = resamples(int(whose.sum()), seed, repeats)
        draws = np.concatenate([(w @ some.T) / (w @ of.T) for w in blocks])
        for place, column in enumerate(columns):
            mean = float(some[place].sum() / of[place].sum())
            found[column] = estimate(mean, draws[:, place], int(whose.sum()))
    return found


def bootstrap_difference(
    first: Numbers, second: Numbers, seed: int, repeats: int = REPEATS
) -> Estimate:
    """The difference of two groups' means over people, each group resampled by itself.

    Args:
        first: One value a person of the first group, ``(a,)``; NaN counts as absent.
        second: The same for the second group, ``(b,)``.
        seed: Of the resampling.
        repeats: Number of resamples.

    Returns:
        ``mean(first) - mean(second)``; ``n`` counts the people of both groups.
    """
    first, second = first[np.isfinite(first)], second[np.isfinite(second)]
    if not len(first) or not len(second):
        return NOTHING
    # The groups' resamples must not be the same draws.
    seeds = np.random.SeedSequence(seed).spawn(2)
    means = [
        np.concatenate([w @ values / len(values) for w in resamples(len(values), own, repeats)])
        for values, own in zip((first, second), seeds, strict=True)
    ]
    difference = float(first.mean() - second.mean())
    return estimate(difference, means[0] - means[1], len(first) + len(second))


def person_means(values: Numbers, person: NDArray[np.integer], people: int) -> Numbers:
    """The mean of each person's values ``(n,)``, ``(people,)``; NaN where a person has none.

    Args:
        values: ``(n,)``; NaN counts as absent.
        person: Whose each value is, ``(n,)``, in [0, people).
        people: Number of people.
    """
    present = np.isfinite(values)
    sums = np.bincount(person[present], weights=values[present], minlength=people)
    counts = np.bincount(person[present], minlength=people)
    with np.errstate(invalid="ignore"):
        means: Numbers = sums / counts
    return means


def resamples(
    people: int, seed: int | np.random.SeedSequence, repeats: int = REPEATS
) -> Iterator[Numbers]:
    """How often each person is drawn in each resample, in blocks of ``(<=10, people)``."""
    if isinstance(seed, int) and people * repeats <= _KEPT:
        yield from (block.astype(np.float64) for block in _kept(people, seed, repeats))
    else:
        yield from _drawn(people, seed, repeats)


def _drawn(people: int, seed: int | np.random.SeedSequence, repeats: int) -> Iterator[Numbers]:
    generator = np.random.default_rng(seed)
    for start in range(0, repeats, _BLOCK):
        # Drawing people and counting them is far faster than a multinomial draw of the counts.
        drawn = (
            generator.integers(people, size=people, dtype=np.uint32)
            for _ in range(min(_BLOCK, repeats - start))
        )
        yield np.stack([np.bincount(one, minlength=people) for one in drawn]).astype(np.float64)


@lru_cache(maxsize=2)
def _kept(people: int, seed: int, repeats: int) -> tuple[NDArray[np.uint8], ...]:
    """The same, kept: a study asks for the same resamples hundreds of times, and drawing them costs most.

    No one is drawn 256 times: among so many people that they could be, the odds are below 1 in 10^500.
    """
    return tuple(block.astype(np.uint8) for block in _drawn(people, seed, repeats))


def estimate(value: float, draws: Numbers, people: int) -> Estimate:
    """A value with the percentile interval of its draws ``(repeats,)``; NaN draws are left out."""
    tail = 100 * (1 - LEVEL) / 2
    if not np.isfinite(draws).any():
        return Estimate(value, None, None, people)
    low, high = np.nanpercentile(draws, [tail, 100 - tail])
    return Estimate(value, float(low), float(high), people)

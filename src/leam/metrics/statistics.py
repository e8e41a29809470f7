"""Estimates with intervals over people, effect sizes, and permutation tests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

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


def cohens_d_paired(differences: Numbers) -> float:
    """Mean paired difference in units of its own standard deviation (Cohen's d_z, 1988).

    Args:
        differences: One a person, ``(P,)``; NaN counts as absent.

    Returns:
        NaN with fewer than two differences, or where all are equal.
    """
    differences = differences[np.isfinite(differences)]
    return _ratio(differences.mean(), differences.std(ddof=1)) if len(differences) > 1 else np.nan


def cohens_d(first: Numbers, second: Numbers) -> float:
    """Difference of two groups' means in units of their pooled standard deviation (Cohen 1988).

    Args:
        first: One value a person of the first group, ``(a,)``; NaN counts as absent.
        second: The same for the second group, ``(b,)``.

    Returns:
        NaN with fewer than two values in a group, or where nothing varies.
    """
    first, second = first[np.isfinite(first)], second[np.isfinite(second)]
    if min(len(first), len(second)) < 2:  # noqa: PLR2004
        return np.nan
    squares = ((first - first.mean()) ** 2).sum() + ((second - second.mean()) ** 2).sum()
    return _ratio(first.mean() - second.mean(), np.sqrt(squares / (len(first) + len(second) - 2)))


def cliffs_delta(first: Numbers, second: Numbers) -> float:
    """How much oftener a value of the first group is larger than smaller (Cliff 1993).

    Args:
        first: ``(a,)``; NaN counts as absent.
        second: ``(b,)``.

    Returns:
        In [-1, 1]; NaN where a group is empty.
    """
    return 2 * auc(first, second) - 1


def auc(higher: Numbers, lower: Numbers) -> float:
    """Area under the ROC curve: the chance that a value of ``higher`` exceeds one of ``lower``.

    Hanley and McNeil, "The meaning and use of the area under a ROC curve", Radiology 1982. Ties
    count half.

    Args:
        higher: ``(a,)``; NaN counts as absent.
        lower: ``(b,)``.

    Returns:
        In [0, 1], 0.5 by chance; NaN where a group is empty.
    """
    higher, lower = higher[np.isfinite(higher)], np.sort(lower[np.isfinite(lower)])
    if not len(higher) or not len(lower):
        return np.nan
    below = np.searchsorted(lower, higher, side="left")
    up_to = np.searchsorted(lower, higher, side="right")
    return float((below + up_to).mean() / (2 * len(lower)))


def spearman(first: NDArray[np.floating], second: NDArray[np.floating]) -> Numbers:
    """Rank correlation along the last axis (Spearman 1904), equal values sharing their mean rank.

    Args:
        first: ``(..., n)``.
        second: The same shape.

    Returns:
        ``(...)`` in [-1, 1]; NaN where one side is constant.
    """
    a, b = (rankdata(values, axis=-1) for values in (first, second))
    a, b = a - a.mean(axis=-1, keepdims=True), b - b.mean(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        correlations: Numbers = (a * b).sum(axis=-1) / np.sqrt(
            (a**2).sum(axis=-1) * (b**2).sum(axis=-1)
        )
    return correlations


def _ratio(difference: float, deviation: float) -> float:
    return float(difference / deviation) if deviation > 0 else np.nan


PERMUTATIONS = 10_000
# Permutations worked on at once, so that memory stays flat.
_PERMUTED_AT_ONCE = 200


def sign_flip_p(differences: Numbers, seed: int, repeats: int = PERMUTATIONS) -> float:
    """Two-sided p-value of a mean paired difference: under chance each pair's sign may be flipped.

    Fisher, "The Design of Experiments", 1935, drawn at random; the observed signs count as one draw
    (Phipson and Smyth 2010), so that p is never below ``1 / (repeats + 1)``.

    Args:
        differences: One a person, ``(P,)``; NaN counts as absent.
        seed: Of the draws.
        repeats: Number of draws.

    Returns:
        In (0, 1]; NaN where there is no difference to test.
    """
    differences = differences[np.isfinite(differences)]
    generator = np.random.default_rng(seed)
    draws = (
        generator.integers(0, 2, size=(size, len(differences))) * 2.0 @ differences
        - differences.sum()
        for size in _blocks(repeats)
    )
    return _p_value(differences.sum(), draws, repeats) if len(differences) else np.nan


def label_permutation_p(
    first: Numbers, second: Numbers, seed: int, repeats: int = PERMUTATIONS
) -> float:
    """Two-sided p-value of the difference of two groups' means: under chance labels are exchanged.

    Pitman, "Significance tests which may be applied to samples from any populations", 1937, drawn
    at random; counted as in :func:`sign_flip_p`.

    Args:
        first: One value a person of the first group, ``(a,)``; NaN counts as absent.
        second: The same for the second group, ``(b,)``.
        seed: Of the draws.
        repeats: Number of draws.

    Returns:
        In (0, 1]; NaN where a group is empty.
    """
    first, second = first[np.isfinite(first)], second[np.isfinite(second)]
    if not len(first) or not len(second):
        return np.nan
    pooled = np.concatenate([first, second])
    generator = np.random.default_rng(seed)

    def draws() -> Iterator[Numbers]:
        for size in _blocks(repeats):
            shuffled = generator.permuted(np.broadcast_to(pooled, (size, len(pooled))), axis=1)
            yield shuffled[:, : len(first)].mean(axis=1) - shuffled[:, len(first) :].mean(axis=1)

    return _p_value(first.mean() - second.mean(), draws(), repeats)


def benjamini_hochberg(p_values: Numbers) -> Numbers:
    """p-values corrected for their number, so that 0.05 bounds the part of false discoveries.

    Benjamini and Hochberg, "Controlling the false discovery rate", JRSS B 1995, in its step-up
    form.

    Args:
        p_values: Any shape; NaN stays NaN and is not counted.

    Returns:
        The same shape, in [0, 1], never below the given values.
    """
    adjusted = np.full(p_values.shape, np.nan)
    present = np.isfinite(p_values)
    given = p_values[present]
    order = np.argsort(given)[::-1]
    ranks = np.arange(len(given), 0, -1)
    stepped = np.minimum.accumulate(np.append(1.0, given[order] * (len(given) / ranks)))[1:]
    corrected = np.empty_like(given)
    corrected[order] = stepped
    adjusted[present] = corrected
    return adjusted


def _blocks(repeats: int) -> Iterator[int]:
    for start in range(0, repeats, _PERMUTED_AT_ONCE):
        yield min(_PERMUTED_AT_ONCE, repeats - start)


def _p_value(observed: float, draws: Iterator[Numbers], repeats: int) -> float:
    # Sums in another order differ in their last bits, and must still count as equal.
    bound = abs(observed) * (1 - 1e-12)
    extreme = sum(int((np.abs(block) >= bound).sum()) for block in draws)
    return (1 + extreme) / (1 + repeats)

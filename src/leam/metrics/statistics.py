"""Estimates with intervals over people, effect sizes, rank statistics and permutation tests.

Everywhere, NaN counts as absent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

REPEATS = 2000
"""Resamples of a bootstrap."""
LEVEL = 0.95
"""Level of confidence intervals."""
PERMUTATIONS = 10_000
"""Random permutations of a permutation test."""

# Resamples per block: few, so that memory does not grow with the people and a block of weights fits the cache.
_BLOCK = 10
# Resamples of up to this many numbers of one byte are kept for the next figure.
_MAX_KEPT = 64_000_000
# Numbers that a permutation test works on at once, which bounds its memory.
_MAX_PERMUTED = 1_000_000


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % confidence interval over people.

    Attributes:
        mean: The figure; None if there is nothing to estimate it from.
        low: Lower end of the interval.
        high: Upper end of the interval.
        n: Number of people.
    """

    mean: float | None
    low: float | None
    high: float | None
    n: int

    def as_dict(self) -> dict[str, float | int | None]:
        """The estimate as in ``summary.json``, rounded to eight digits; more would depend on the order of additions."""
        return {
            name: float(f"{value:.8g}") if isinstance(value, float) else value
            for name, value in asdict(self).items()
        }


NOTHING = Estimate(None, None, None, 0)
"""The estimate from no data."""


def finite(value: float) -> float | None:
    """A number that JSON can represent: None for NaN and infinity."""
    return value if np.isfinite(value) else None


def bootstrap_mean(
    values: Numbers, people: NDArray[np.integer], seed: int, repeats: int = REPEATS
) -> Estimate:
    """The mean of values, with a percentile interval from a cluster bootstrap over people.

    Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, ch. 13.

    Args:
        values: ``(n,)``.
        people: The person of each value, ``(n,)``.
        seed: Random seed.
        repeats: Number of resamples.
    """
    return bootstrap_means(values[:, None], people, seed, repeats)[0]


def bootstrap_means(
    values: NDArray[np.floating], people: NDArray[np.integer], seed: int, repeats: int = REPEATS
) -> list[Estimate]:
    """:func:`bootstrap_mean` of each column of values ``(n, c)``.

    Each column gets the estimate that it would get alone; columns with values of the same people share the resamples.
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
    """The difference of two groups' means, with a percentile interval from resampling each group.

    Args:
        first: One value per person of the first group, ``(a,)``.
        second: One value per person of the second group, ``(b,)``.
        seed: Random seed.
        repeats: Number of resamples.

    Returns:
        ``mean(first) - mean(second)``; ``n`` is the number of people in both groups.
    """
    first, second = first[np.isfinite(first)], second[np.isfinite(second)]
    if not len(first) or not len(second):
        return NOTHING
    # The groups' resamples must be independent.
    seeds = np.random.SeedSequence(seed).spawn(2)
    means = [
        np.concatenate([w @ values / len(values) for w in resamples(len(values), own, repeats)])
        for values, own in zip((first, second), seeds, strict=True)
    ]
    difference = float(first.mean() - second.mean())
    return estimate(difference, means[0] - means[1], len(first) + len(second))


def person_means(values: Numbers, person: NDArray[np.integer], people: int) -> Numbers:
    """The mean of each person's values, ``(people,)``; NaN for a person without values.

    Args:
        values: ``(n,)``.
        person: The person of each value, ``(n,)``, in [0, people).
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
    """How often each person is drawn in each resample, in blocks ``(<=10, people)``."""
    if isinstance(seed, int) and people * repeats <= _MAX_KEPT:
        yield from (block.astype(np.float64) for block in _kept(people, seed, repeats))
    else:
        yield from _drawn(people, seed, repeats)


def estimate(value: float, draws: Numbers, people: int) -> Estimate:
    """A value with the percentile interval of its resampled values ``(repeats,)``; NaN is ignored."""
    tail = 100 * (1 - LEVEL) / 2
    if not np.isfinite(draws).any():
        return Estimate(value, None, None, people)
    low, high = np.nanpercentile(draws, [tail, 100 - tail])
    return Estimate(value, float(low), float(high), people)


def cohens_d_paired(differences: Numbers) -> float:
    """Mean paired difference in units of its own standard deviation (Cohen's d_z, 1988).

    Args:
        differences: One per person, ``(P,)``.

    Returns:
        NaN with fewer than two differences, or if all are equal.
    """
    differences = differences[np.isfinite(differences)]
    return _ratio(differences.mean(), differences.std(ddof=1)) if len(differences) > 1 else np.nan


def cohens_d(first: Numbers, second: Numbers) -> float:
    """Difference of two groups' means in units of their pooled standard deviation (Cohen 1988).

    Args:
        first: One value per person of the first group, ``(a,)``.
        second: One value per person of the second group, ``(b,)``.

    Returns:
        NaN with fewer than two values in a group, or if all values are equal.
    """
    first, second = first[np.isfinite(first)], second[np.isfinite(second)]
    if min(len(first), len(second)) < 2:  # noqa: PLR2004
        return np.nan
    squares = ((first - first.mean()) ** 2).sum() + ((second - second.mean()) ** 2).sum()
    return _ratio(first.mean() - second.mean(), np.sqrt(squares / (len(first) + len(second) - 2)))


def cliffs_delta(first: Numbers, second: Numbers) -> float:
    """The probability that a value of the first group is the larger one minus that it is the smaller one (Cliff 1993).

    Args:
        first: ``(a,)``.
        second: ``(b,)``.

    Returns:
        In [-1, 1]; NaN if a group is empty.
    """
    return 2 * auc(first, second) - 1


def auc(higher: Numbers, lower: Numbers) -> float:
    """Area under the ROC curve: the probability that a value of ``higher`` exceeds one of ``lower``; ties count half.

    Hanley and McNeil, "The meaning and use of the area under a ROC curve", Radiology 1982.

    Args:
        higher: ``(a,)``.
        lower: ``(b,)``.

    Returns:
        In [0, 1], 0.5 by chance; NaN if a group is empty.
    """
    higher, lower = higher[np.isfinite(higher)], np.sort(lower[np.isfinite(lower)])
    if not len(higher) or not len(lower):
        return np.nan
    below = np.searchsorted(lower, higher, side="left")
    up_to = np.searchsorted(lower, higher, side="right")
    return float((below + up_to).mean() / (2 * len(lower)))


def spearman(first: NDArray[np.floating], second: NDArray[np.floating]) -> Numbers:
    """Rank correlation along the last axis (Spearman 1904); ties get their mean rank.

    Args:
        first: ``(..., n)``.
        second: The same shape.

    Returns:
        ``(...)`` in [-1, 1]; NaN if one side is constant.
    """
    from scipy.stats import rankdata  # noqa: PLC0415  slow to import

    a, b = (rankdata(values, axis=-1) for values in (first, second))
    a, b = a - a.mean(axis=-1, keepdims=True), b - b.mean(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        correlations: Numbers = (a * b).sum(axis=-1) / np.sqrt(
            (a**2).sum(axis=-1) * (b**2).sum(axis=-1)
        )
    return correlations


def sign_flip_p(differences: Numbers, seed: int, repeats: int = PERMUTATIONS) -> float:
    """Two-sided p-value of a mean paired difference; under the null hypothesis each sign is random.

    Fisher, "The Design of Experiments", 1935. Exact if there are at most ``repeats`` combinations of signs; otherwise
    with random signs, the observed ones counting as one draw (Phipson and Smyth 2010), so that p is never below
    ``1 / (repeats + 1)``.

    Args:
        differences: One per person, ``(P,)``.
        seed: Random seed.
        repeats: Number of permutations.

    Returns:
        In (0, 1]; NaN without a difference.
    """
    differences = differences[np.isfinite(differences)]
    return _permutation_p((differences,), _absolute_sum, "samples", seed, repeats)


def label_permutation_p(
    first: Numbers, second: Numbers, seed: int, repeats: int = PERMUTATIONS
) -> float:
    """Two-sided p-value of the difference of two groups' means; under the null hypothesis the labels are random.

    Pitman, "Significance tests which may be applied to samples from any populations", 1937; exact or with random
    permutations as in :func:`sign_flip_p`.

    Args:
        first: One value per person of the first group, ``(a,)``.
        second: One value per person of the second group, ``(b,)``.
        seed: Random seed.
        repeats: Number of permutations.

    Returns:
        In (0, 1]; NaN if a group is empty.
    """
    groups = first[np.isfinite(first)], second[np.isfinite(second)]
    return _permutation_p(groups, _absolute_difference, "independent", seed, repeats)


def benjamini_hochberg(p_values: Numbers) -> Numbers:
    """p-values corrected for their number, so that rejecting below 0.05 keeps the false discovery rate at 5 %.

    Benjamini and Hochberg, "Controlling the false discovery rate", JRSS B 1995, in its step-up form.

    Args:
        p_values: Any shape; NaN stays NaN and is not counted.

    Returns:
        The same shape, in [0, 1], never below the given values.
    """
    from scipy.stats import false_discovery_control  # noqa: PLC0415  slow to import

    adjusted = np.full(p_values.shape, np.nan)
    present = np.isfinite(p_values)
    if present.any():
        adjusted[present] = false_discovery_control(p_values[present], method="bh")
    return adjusted


def _drawn(people: int, seed: int | np.random.SeedSequence, repeats: int) -> Iterator[Numbers]:
    generator = np.random.default_rng(seed)
    for start in range(0, repeats, _BLOCK):
        # Drawing people and counting them is much faster than drawing multinomial counts.
        drawn = (
            generator.integers(people, size=people, dtype=np.uint32)
            for _ in range(min(_BLOCK, repeats - start))
        )
        yield np.stack([np.bincount(one, minlength=people) for one in drawn]).astype(np.float64)


@lru_cache(maxsize=2)
def _kept(people: int, seed: int, repeats: int) -> tuple[NDArray[np.uint8], ...]:
    """The blocks of :func:`_drawn`, cached: a study needs the same resamples hundreds of times.

    One byte per count is enough: the probability that a person is drawn 256 times or more is below 10^-500.
    """
    return tuple(block.astype(np.uint8) for block in _drawn(people, seed, repeats))


def _ratio(difference: float, deviation: float) -> float:
    return float(difference / deviation) if deviation > 0 else np.nan


def _permutation_p(
    samples: tuple[Numbers, ...],
    statistic: Callable[..., Numbers],
    kind: str,
    seed: int,
    repeats: int,
) -> float:
    if not all(len(values) for values in samples):
        return np.nan
    if min(map(len, samples)) == 1:
        return _single_p(samples)
    from scipy.stats import permutation_test  # noqa: PLC0415  slow to import

    result = permutation_test(
        samples,
        statistic,
        permutation_type=kind,
        alternative="greater",
        n_resamples=repeats,
        batch=max(1, _MAX_PERMUTED // sum(map(len, samples))),
        random_state=np.random.default_rng(seed),
    )
    return float(result.pvalue)


def _single_p(samples: tuple[Numbers, ...]) -> float:
    """The exact p-value if a sample has a single value, which SciPy refuses."""
    if len(samples) == 1:
        return 1.0
    single, others = sorted(samples, key=len)
    pooled = np.concatenate([single, others])
    # Each value in turn is the single one.
    distances = np.abs(pooled - (pooled.sum() - pooled) / len(others))
    # Sums in another order differ in their last bits, and must still count as equal.
    return float((distances >= distances[0] * (1 - 1e-12)).mean())


def _absolute_sum(values: Numbers, axis: int) -> Numbers:
    return np.asarray(np.abs(values.sum(axis=axis)))


def _absolute_difference(first: Numbers, second: Numbers, axis: int) -> Numbers:
    return np.asarray(np.abs(first.mean(axis=axis) - second.mean(axis=axis)))

"""Error rates by group of people at one threshold, in the terms of ISO/IEC 19795-10."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from leam.metrics.error_rates import (
    Comparisons,
    counts_of,
    fmr_estimate,
    fnmr_estimate,
    mean_estimate,
)
from leam.metrics.statistics import (
    FEWEST,
    NOTHING,
    Estimate,
    Numbers,
    benjamini_hochberg,
)

PERMUTATIONS = 2000
"""Random permutations of group labels."""
# Permutations at once, so that memory does not grow with all of them.
_BLOCK = 100


@dataclass(frozen=True)
class GroupRates:
    """The error rates of one group.

    Attributes:
        people: Number of people in the group.
        genuine: Number of genuine comparisons.
        impostors: Number of impostor comparisons of two people of the group.
        fmr: False match rate within the group.
        fnmr: False non-match rate.
    """

    people: int
    genuine: int
    impostors: int
    fmr: Estimate
    fnmr: Estimate


@dataclass(frozen=True)
class RateGap:
    """How one error rate differs between two groups.

    Attributes:
        rate: ``fmr`` or ``fnmr``.
        first: Name of a group.
        second: Name of the other group.
        difference: The first group's rate minus the second's.
        ratio: The first group's rate divided by the second's.
        p: Two-sided p-value of permuted group labels of people; NaN if a group has fewer than :data:`FEWEST` people.
        corrected: ``p`` corrected for the number of gaps (Benjamini and Hochberg).
    """

    rate: str
    first: str
    second: str
    difference: Estimate
    ratio: Estimate
    p: float
    corrected: float


def group_rates(
    comparisons: Comparisons, group: Sequence[str], threshold: float, seed: int
) -> dict[str, GroupRates]:
    """The error rates within each group, at one threshold for all.

    Args:
        comparisons: Comparisons of all people; those across groups are not used.
        group: The group of each person, ``(P,)``; "" for a person without a known group.
        threshold: Comparisons at or above it are accepted.
        seed: Random seed.

    Returns:
        By group, in alphabetical order; a rate without comparisons is an estimate from nothing.
    """
    labels = np.asarray(group)
    found = {}
    for name in sorted({one for one in group if one}):
        of_group = labels == name
        within = comparisons.among(of_group)
        found[name] = GroupRates(
            people=int(of_group.sum()),
            genuine=len(within.genuine.scores),
            impostors=len(within.impostors.scores),
            fmr=fmr_estimate(within.impostors, threshold, seed),
            fnmr=fnmr_estimate(within.genuine, threshold, seed),
        )
    return found


def rate_gaps(
    comparisons: Comparisons, group: Sequence[str], threshold: float, seed: int
) -> list[RateGap]:
    """The differences and ratios of both error rates between every two groups.

    Args:
        comparisons: As for :func:`group_rates`.
        group: As for :func:`group_rates`.
        threshold: As for :func:`group_rates`.
        seed: Random seed.
    """
    rates = group_rates(comparisons, group, threshold, seed)
    names = list(rates)
    pairs = [(one, other) for place, one in enumerate(names) for other in names[place + 1 :]]
    gaps = []
    for kind in ("fmr", "fnmr"):
        for one, other in pairs:
            first, second = (getattr(rates[name], kind) for name in (one, other))
            p = _permutation_p(comparisons, group, (one, other), kind, threshold, seed)
            gaps.append(
                RateGap(
                    kind, one, other, difference(first, second), ratio(first, second), p, np.nan
                )
            )
    corrected = benjamini_hochberg(np.array([one.p for one in gaps]))
    return [
        RateGap(one.rate, one.first, one.second, one.difference, one.ratio, one.p, float(value))
        for one, value in zip(gaps, corrected, strict=True)
    ]


def difference(first: Estimate, second: Estimate) -> Estimate:
    """The difference of two independent rates, with the interval of MOVER.

    Newcombe, "Interval estimation for the difference between independent proportions", Statistics in Medicine 1998.
    """
    if first.mean is None or second.mean is None:
        return NOTHING
    value, people = first.mean - second.mean, first.n + second.n
    ends = _ends(first, second)
    if ends is None:
        return Estimate(value, None, None, people)
    (low, high), (other_low, other_high) = ends
    below = np.hypot(first.mean - low, other_high - second.mean)
    above = np.hypot(high - first.mean, second.mean - other_low)
    return Estimate(value, float(value - below), float(value + above), people)


def ratio(first: Estimate, second: Estimate) -> Estimate:
    """The ratio of two independent rates, with the interval of MOVER on the logarithmic scale.

    Donner and Zou, "Closed-form confidence intervals for functions of the normal mean and standard deviation",
    Statistical Methods in Medical Research 2012.

    Returns:
        Nothing if the second rate is 0; an end that is not finite is None.
    """
    if first.mean is None or not second.mean:
        return NOTHING
    value, people = first.mean / second.mean, first.n + second.n
    ends = _ends(first, second)
    if ends is None or not first.mean:
        return Estimate(value, None, None, people)
    with np.errstate(divide="ignore"):
        (low, high), (other_low, other_high) = np.log(ends)
    log, other = np.log(first.mean), np.log(second.mean)
    below, above = np.hypot(log - low, other_high - other), np.hypot(high - log, other - other_low)
    return Estimate(
        value,
        float(value * np.exp(-below)) if np.isfinite(below) else None,
        float(value * np.exp(above)) if np.isfinite(above) else None,
        people,
    )


def gap_conclusion(
    difference: Estimate, p: float | None, groups: tuple[str, str], level: float
) -> str:
    """For which of two groups a figure is larger, or that this cannot be said with these numbers.

    Args:
        difference: First group minus second group.
        p: The corrected p-value; None or NaN if there are too few people to test.
        groups: Names of the groups.
        level: The difference is shown if its interval excludes zero and ``p`` is below this.
    """
    if p is None or np.isnan(p) or difference.low is None or difference.high is None:
        return f"cannot be said with these numbers (n = {difference.n})"
    if p < level and difference.low > 0:
        return f"more for {groups[0]}"
    if p < level and difference.high < 0:
        return f"more for {groups[1]}"
    return f"inconclusive (n = {difference.n})"


def worst_to_best(rates: Mapping[str, float]) -> float:
    """The largest rate divided by the smallest; infinite if only the smallest is 0, NaN if all are.

    The ratio of Grother, "Demographic differentials in face recognition algorithms", NIST IR 8429, 2022.
    """
    largest, smallest = max(rates.values()), min(rates.values())
    if smallest:
        return largest / smallest
    return np.inf if largest else np.nan


def garbe(fmr: Mapping[str, float], fnmr: Mapping[str, float], alpha: float = 0.5) -> float:
    """The Gini Aggregation Rate for Biometric Equitability; 0 if all groups have equal rates, at most 1.

    Howard et al., "Evaluating proposed fairness models for face recognition algorithms", ICPR workshops 2022.

    Args:
        fmr: False match rate by group.
        fnmr: False non-match rate by group.
        alpha: Weight of the false match rate.
    """
    return alpha * _gini(list(fmr.values())) + (1 - alpha) * _gini(list(fnmr.values()))


def fairness_discrepancy_rate(
    fmr: Mapping[str, float], fnmr: Mapping[str, float], alpha: float = 0.5
) -> float:
    """The fairness discrepancy rate (FDR); 1 if all groups have equal rates.

    De Freitas Pereira and Marcel, "Fairness in biometrics: a figure of merit to assess biometric verification
    systems", IEEE T-BIOM 2022.

    Args:
        fmr: False match rate by group.
        fnmr: False non-match rate by group.
        alpha: Weight of the false match rate.
    """
    spans = [max(rates.values()) - min(rates.values()) for rates in (fmr, fnmr)]
    return 1 - (alpha * spans[0] + (1 - alpha) * spans[1])


def _gini(values: Sequence[float]) -> float:
    """The Gini coefficient, corrected for the number of values; 0 if all are 0."""
    rates, size = np.array(values), len(values)
    if size < 2 or not rates.any():  # noqa: PLR2004  one value cannot differ
        return 0.0
    distances = np.abs(rates[:, None] - rates).sum()
    return float(size / (size - 1) * distances / (2 * size**2 * rates.mean()))


def _ends(
    first: Estimate, second: Estimate
) -> tuple[tuple[float, float], tuple[float, float]] | None:
    if first.low is None or first.high is None or second.low is None or second.high is None:
        return None
    return (first.low, first.high), (second.low, second.high)


def _permutation_p(
    comparisons: Comparisons,
    group: Sequence[str],
    names: tuple[str, str],
    kind: str,
    threshold: float,
    seed: int,
) -> float:
    """The p-value of a gap between two groups' error rates."""
    members = np.isin(group, names)
    some = comparisons.among(members)
    some = some.impostors if kind == "fmr" else some.genuine
    wrong = (some.scores >= threshold) == (kind == "fmr")
    return permutation_p(some, wrong, np.asarray(group)[members] == names[0], seed)


def group_gap(
    comparisons: Comparisons, values: Numbers, first: NDArray[np.bool_], seed: int
) -> Estimate:
    """How the mean of a value of comparisons differs between two groups.

    Args:
        comparisons: Genuine comparisons only, or impostor comparisons only; those across groups are not used.
        values: The value of each comparison, ``(N,)``.
        first: Whether each person belongs to the first group, ``(P,)``; the others belong to the second.
        seed: Random seed.

    Returns:
        First group minus second group.
    """
    means = []
    for members in (first, ~first):
        within = members[comparisons.first] & members[comparisons.second]
        means.append(mean_estimate(comparisons.where(within), values[within], seed))
    return difference(*means)


def permuted_gaps(
    comparisons: Comparisons,
    values: Numbers | NDArray[np.bool_],
    first: NDArray[np.bool_],
    seed: int,
) -> Numbers:
    """The differences of two groups' means if group labels of people are exchanged at random.

    Args:
        comparisons: As for :func:`group_gap`, but comparisons across groups are used.
        values: As for :func:`group_gap`.
        first: As for :func:`group_gap`.
        seed: Random seed; calls with the same seed and labels exchange them alike.

    Returns:
        ``(1 + PERMUTATIONS,)``, the observed difference first; all NaN if a group has fewer than :data:`FEWEST` people,
        or no comparison.
    """
    nothing = np.full(1 + PERMUTATIONS, np.nan)
    if min(first.sum(), (~first).sum()) < FEWEST or not len(values):
        return nothing
    counts = counts_of(comparisons, values)
    generator = np.random.default_rng(seed)
    chosen = np.stack([first, *(generator.permutation(first) for _ in range(PERMUTATIONS))])
    blocks = np.split(chosen, range(_BLOCK, len(chosen), _BLOCK))
    gaps = np.concatenate([counts.rates(one + 0.0) - counts.rates(1.0 - one) for one in blocks])
    return gaps if np.isfinite(gaps[0]) else nothing


def permutation_p(
    comparisons: Comparisons,
    values: Numbers | NDArray[np.bool_],
    first: NDArray[np.bool_],
    seed: int,
) -> float:
    """The two-sided p-value of a difference of two groups' means if group labels of people are exchanged.

    Args:
        comparisons: As for :func:`permuted_gaps`.
        values: As for :func:`permuted_gaps`.
        first: As for :func:`permuted_gaps`.
        seed: Random seed.

    Returns:
        NaN if a group has fewer than :data:`FEWEST` people, or no comparison.
    """
    return exceeded(np.abs(permuted_gaps(comparisons, values, first, seed)))


def exceeded(values: Numbers) -> float:
    """The part of values that reach the first, the observed one, which counts as well; NaN if it is NaN.

    Args:
        values: The observed value and those of permutations, ``(1 + PERMUTATIONS,)``.
    """
    if np.isnan(values[0]):
        return np.nan
    # Equal sums may differ by rounding.
    return float((values[np.isfinite(values)] >= values[0] * (1 - 1e-9)).mean())


def largest_gaps(gaps: Numbers) -> tuple[Numbers, Numbers]:
    """Standardised differences of several values, and their p-values corrected for the number of values.

    A difference is divided by its standard deviation under exchanged labels. Its p-value is the part of permutations
    whose largest standardised difference of all values reaches it (single-step maxT of Westfall and Young,
    "Resampling-based multiple testing", 1993), so that the probability of any false conclusion is the level.

    Args:
        gaps: Columns of :func:`permuted_gaps` with the same exchanged labels, ``(1 + PERMUTATIONS, K)``.

    Returns:
        Standardised differences and corrected p-values, each ``(K,)``; NaN for columns of NaN.
    """
    known = ~np.isnan(gaps[0])
    standardised, p = np.full((2, gaps.shape[1]), np.nan)
    if known.any():
        spread = np.nanstd(gaps[:, known], axis=0)
        relative = gaps[:, known] / np.where(spread > 0, spread, 1)
        largest = np.nan_to_num(np.abs(relative)).max(axis=1)
        standardised[known] = relative[0]
        p[known] = [exceeded(np.append(abs(one), largest[1:])) for one in relative[0]]
    return standardised, p

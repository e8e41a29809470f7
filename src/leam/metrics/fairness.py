"""Fairness: differences between groups of people, without and with matching on pose and occlusion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from leam.metrics.statistics import (
    LEVEL,
    NOTHING,
    Estimate,
    Numbers,
    bootstrap_difference,
    cliffs_delta,
    cohens_d,
    label_permutation_p,
    pooled_deviation,
    sign_flip_p,
)

CALIPER = 0.2
"""Largest difference of matched people in a covariate, in standard deviations (Austin 2011); what remains within it can
still be systematic, see :func:`imbalance`."""


REMATCHES = 200
"""Resamples in which people are matched anew, enough for a standard error (Efron and Tibshirani 1993, ch. 6)."""


@dataclass(frozen=True)
class Gap:
    """The difference between two groups' means.

    Attributes:
        difference: ``mean(first) - mean(second)`` with its interval; ``n`` is the number of people in both groups, or
            of matched pairs.
        p: Two-sided p-value of a permutation test of no difference.
        d: Cohen's d: the difference, of all or of matched people, in units of the pooled standard deviation of all
            people, so that both are on one scale.
        delta: Cliff's delta.
    """

    difference: Estimate
    p: float
    d: float
    delta: float


def gap(first: Numbers, second: Numbers, seed: int) -> Gap:
    """The difference between two groups of people.

    Args:
        first: One value per person of the first group, ``(a,)``; NaN counts as absent.
        second: One value per person of the second group, ``(b,)``.
        seed: Random seed of resamples and permutations.
    """
    return Gap(
        difference=bootstrap_difference(first, second, seed),
        p=label_permutation_p(first, second, seed),
        d=cohens_d(first, second),
        delta=cliffs_delta(first, second),
    )


@dataclass(frozen=True)
class Matching:
    """Pairs of similar people of two groups.

    Attributes:
        pairs: Positions in the first and in the second group, ``(pairs, 2)``.
        resampled: The pairs of people drawn with replacement from both groups and matched anew.
    """

    pairs: NDArray[np.int64]
    resampled: tuple[NDArray[np.int64], ...]


def matching(first: Numbers, second: Numbers, seed: int, repeats: int = REMATCHES) -> Matching:
    """Match two groups, and match them again in resamples of people; see :func:`match`.

    Args:
        first: Covariates of the first group, ``(a, C)``; people with a NaN are not matched.
        second: Covariates of the second group, ``(b, C)``.
        seed: Random seed.
        repeats: Number of resamples.
    """
    generator = np.random.default_rng(seed)
    resampled = []
    for _ in range(repeats):
        drawn = [generator.integers(len(group), size=len(group)) for group in (first, second)]
        pairs = match(first[drawn[0]], second[drawn[1]])
        resampled.append(np.stack([drawn[0][pairs[:, 0]], drawn[1][pairs[:, 1]]], axis=1))
    return Matching(match(first, second), tuple(resampled))


def matched_gap(first: Numbers, second: Numbers, matched: Matching, seed: int) -> Gap:
    """The difference between two groups, computed on pairs of people with similar covariates.

    A difference that is due to pose, hair or glasses vanishes if these are matched. The interval is Student's around
    the mean, with the standard deviation of the means of the resampled pairs (the complex bootstrap of Austin and
    Small, "The use of bootstrapping when using propensity-score matching without replacement", Statistics in Medicine
    2014); it is slightly too wide. Fewer pairs than people make it wider than that of :func:`gap`: an interval that
    contains zero does not show that there is no difference.

    Args:
        first: One value per person of the first group, ``(a,)``; pairs with a NaN are left out.
        second: One value per person of the second group, ``(b,)``.
        matched: The pairs.
        seed: Random seed of permutations.
    """
    one, other = first[matched.pairs[:, 0]], second[matched.pairs[:, 1]]
    differences = one - other
    differences = differences[np.isfinite(differences)]
    mean = float(differences.mean()) if len(differences) else np.nan
    deviation = pooled_deviation(first, second)
    return Gap(
        difference=_rematched(first, second, matched, mean, len(differences)),
        p=sign_flip_p(differences, seed),
        d=mean / deviation if deviation > 0 else np.nan,
        delta=cliffs_delta(one, other),
    )


def _rematched(
    first: Numbers, second: Numbers, matched: Matching, mean: float, pairs: int
) -> Estimate:
    """The mean difference of matched pairs with its interval from resampled pairs."""
    from scipy.special import stdtrit  # noqa: PLC0415  slow to import

    if not pairs:
        return NOTHING
    drawn = [first[found[:, 0]] - second[found[:, 1]] for found in matched.resampled]
    known = [found[np.isfinite(found)] for found in drawn]
    means = [found.mean() for found in known if len(found)]
    if pairs == 1 or len(means) < 2:  # noqa: PLR2004
        return Estimate(mean, None, None, pairs)
    half = float(stdtrit(pairs - 1, (1 + LEVEL) / 2) * np.std(means, ddof=1))
    return Estimate(mean, mean - half, mean + half, pairs)


def match(first: Numbers, second: Numbers, caliper: float = CALIPER) -> NDArray[np.int64]:
    """Pair people of two groups with similar covariates.

    Optimal matching without replacement (Rosenbaum, JASA 1989): the largest number of pairs whose covariates all
    differ by at most ``caliper`` standard deviations, and among these the pairing with the smallest sum of Euclidean
    distances.

    Args:
        first: Covariates ``(a, C)``; people with a NaN are not matched.
        second: Covariates ``(b, C)``.
        caliper: Largest difference, in standard deviations over both groups.

    Returns:
        Positions in the first and in the second group, ``(pairs, 2)``.
    """
    from scipy.optimize import linear_sum_assignment  # noqa: PLC0415  slow to import
    from scipy.spatial.distance import cdist  # noqa: PLC0415

    known = [np.flatnonzero(np.isfinite(group).all(axis=1)) for group in (first, second)]
    first, second = first[known[0]], second[known[1]]
    if not len(first) or not len(second):
        return np.zeros((0, 2), dtype=np.int64)
    unit = _deviations(first, second)
    allowed = cdist(first / unit, second / unit, "chebyshev") <= caliper
    # The assignment takes most of the time, and does not need people without a partner.
    some = [np.flatnonzero(allowed.any(axis=axis)) for axis in (1, 0)]
    allowed = allowed[np.ix_(*some)]
    known = [one[kept] for one, kept in zip(known, some, strict=True)]
    cost = cdist(first[some[0]] / unit, second[some[1]] / unit)
    # A pair beyond the caliper costs more than all pairs within it together.
    forbidden = 1.0 + cost[allowed].sum()
    rows, columns = linear_sum_assignment(np.where(allowed, cost, forbidden))
    pairs = np.stack([known[0][rows], known[1][columns]], axis=1)
    return np.asarray(pairs[allowed[rows, columns]], dtype=np.int64)


def imbalance(first: Numbers, second: Numbers) -> Numbers:
    """Standardised mean differences of two groups' covariates.

    Args:
        first: Covariates ``(a, C)``; NaN counts as absent.
        second: Covariates ``(b, C)``.

    Returns:
        ``(C,)``, in standard deviations; differences below 0.1 are conventionally negligible.
    """
    means = [np.nanmean(group, axis=0) for group in (first, second)]
    return np.asarray((means[0] - means[1]) / _deviations(first, second))


def head_pose(landmarks: NDArray[np.float64]) -> Numbers:
    """Proxies for yaw, pitch and roll from the positions of eyes, nose tip and mouth.

    Our own definition, similar to the five-point geometry that is common in face quality assessment; it needs no camera
    model and does not depend on the recognizer.

    Args:
        landmarks: dlib's 68 points in pixels, ``(n, 68, 2)``; NaN without a face.

    Returns:
        ``(n, 3)``. Yaw: the horizontal offset of the nose tip from the middle of eyes and mouth, in units of the
        distance between the eyes (0 for a frontal face, positive to the picture's right). Pitch: the position of the
        nose tip between eyes and mouth (about 0.5 for a frontal face, larger when looking down). Roll: the slope of the
        line between the eyes, in radians.
    """
    left, right = landmarks[:, 36:42].mean(axis=1), landmarks[:, 42:48].mean(axis=1)
    mouth, nose = landmarks[:, [48, 54]].mean(axis=1), landmarks[:, 30]
    across = right - left
    width = np.linalg.norm(across, axis=1)
    unit = across / width[:, None]
    down = np.stack([-unit[:, 1], unit[:, 0]], axis=1)
    eyes = (left + right) / 2

    def along(points: NDArray[np.float64], axis: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(((points - eyes) * axis).sum(axis=1))

    yaw = (along(nose, unit) - along(mouth, unit) / 2) / width
    pitch = along(nose, down) / along(mouth, down)
    return np.stack([yaw, pitch, np.arctan2(across[:, 1], across[:, 0])], axis=1)


def _deviations(first: Numbers, second: Numbers) -> Numbers:
    """The standard deviation of each covariate over both groups; 1 for a constant covariate."""
    deviation = np.nanstd(np.concatenate([first, second]), axis=0)
    return np.where(deviation > 0, deviation, 1.0)

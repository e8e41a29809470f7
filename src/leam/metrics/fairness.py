"""Fairness: differences between groups of people, without and with matching on pose and occlusion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from leam.metrics.statistics import (
    Estimate,
    Numbers,
    bootstrap_difference,
    bootstrap_mean,
    cliffs_delta,
    cohens_d,
    cohens_d_paired,
    label_permutation_p,
    sign_flip_p,
)

CALIPER = 0.2
"""Largest difference of matched people in a covariate, in standard deviations (Austin 2011); what remains within it can
still be systematic, see :func:`imbalance`."""


@dataclass(frozen=True)
class Gap:
    """The difference between two groups' means.

    Attributes:
        difference: ``mean(first) - mean(second)`` with its interval; ``n`` is the number of people in both groups, or
            of matched pairs.
        p: p-value of a permutation test of no difference.
        d: Cohen's d, of the groups or of the pairs' differences.
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


def matched_gap(
    first: Numbers,
    second: Numbers,
    first_covariates: Numbers,
    second_covariates: Numbers,
    seed: int,
) -> Gap:
    """The difference between two groups, computed on pairs of people with similar covariates; see :func:`match`.

    A difference that is due to pose, hair or glasses vanishes if these are matched.

    Args:
        first: One value per person of the first group, ``(a,)``.
        second: One value per person of the second group, ``(b,)``.
        first_covariates: Covariates of the first group, ``(a, C)``.
        second_covariates: Covariates of the second group, ``(b, C)``.
        seed: Random seed of resamples and permutations.
    """
    pairs = match(
        np.where(np.isfinite(first)[:, None], first_covariates, np.nan),
        np.where(np.isfinite(second)[:, None], second_covariates, np.nan),
    )
    one, other = first[pairs[:, 0]], second[pairs[:, 1]]
    return Gap(
        difference=bootstrap_mean(one - other, np.arange(len(pairs)), seed),
        p=sign_flip_p(one - other, seed),
        d=cohens_d_paired(one - other),
        delta=cliffs_delta(one, other),
    )


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
    cost = cdist(first / unit, second / unit)
    allowed = cdist(first / unit, second / unit, "chebyshev") <= caliper
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

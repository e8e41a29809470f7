"""Differences between groups of people, as they are and between people matched on pose and occlusion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

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


def head_pose(landmarks: NDArray[np.float64]) -> Numbers:
    """Proxies of yaw, pitch and roll from the places of eyes, nose tip and mouth.

    Own definition, after the five-point geometry common in face quality assessment: no camera model, no degrees, the
    same for every recognizer.

    Args:
        landmarks: dlib's 68 points in pixels, ``(n, 68, 2)``; NaN where there is no face.

    Returns:
        ``(n, 3)``: how far the nose tip lies beside the middle of eyes and mouth, in units of the distance between the
        eyes (0 straight on, positive to the picture's right); how far down it lies from eyes to mouth (about 0.5
        straight on, larger when looking down); the slope of the line between the eyes, in radians.
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


# The most that matched people may differ in a covariate, in standard deviations (Austin 2011). What
# is left within it can still lean one way: see `imbalance`.
CALIPER = 0.2


@dataclass(frozen=True)
class Gap:
    """How far one group's mean lies above another's.

    Attributes:
        difference: ``mean(first) - mean(second)`` with its interval; ``n`` counts the people of
            both groups, or the matched pairs.
        p: Of a permutation test of no difference.
        d: Cohen's d, of the groups or of the pairs' differences.
        delta: Cliff's delta.
    """

    difference: Estimate
    p: float
    d: float
    delta: float


def gap(first: Numbers, second: Numbers, seed: int) -> Gap:
    """The difference of two groups of people.

    Args:
        first: One value a person of the first group, ``(a,)``; NaN counts as absent.
        second: The same for the second group, ``(b,)``.
        seed: Of resamples and permutations.
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
    """The difference of two groups between people who are alike in their covariates.

    A gap that comes from pose, hair or glasses goes when these are matched; see :func:`match`.

    Args:
        first: One value a person of the first group, ``(a,)``.
        second: The same for the second group, ``(b,)``.
        first_covariates: Of the first group's people, ``(a, C)``.
        second_covariates: Of the second group's people, ``(b, C)``.
        seed: Of resamples and permutations.
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
    """Pair people of two groups so that their covariates are as alike as can be.

    Optimal matching without replacement (Rosenbaum, JASA 1989): as many pairs as there can be whose
    covariates all differ by at most ``caliper`` standard deviations, and of these the pairing with
    the smallest summed Euclidean distance.

    Args:
        first: Covariates ``(a, C)``; people with a NaN are not matched.
        second: Covariates ``(b, C)``.
        caliper: In standard deviations of both groups together.

    Returns:
        Positions in the first and the second group, ``(pairs, 2)``.
    """
    known = [np.flatnonzero(np.isfinite(group).all(axis=1)) for group in (first, second)]
    first, second = first[known[0]], second[known[1]]
    if not len(first) or not len(second):
        return np.zeros((0, 2), dtype=np.int64)
    unit = _deviations(first, second)
    cost = cdist(first / unit, second / unit)
    allowed = cdist(first / unit, second / unit, "chebyshev") <= caliper
    # A pair beyond the caliper costs more than all that are within it together.
    forbidden = 1.0 + cost[allowed].sum()
    rows, columns = linear_sum_assignment(np.where(allowed, cost, forbidden))
    pairs = np.stack([known[0][rows], known[1][columns]], axis=1)
    return np.asarray(pairs[allowed[rows, columns]], dtype=np.int64)


def imbalance(first: Numbers, second: Numbers) -> Numbers:
    """How far two groups' covariates differ on average, in standard deviations.

    Args:
        first: Covariates ``(a, C)``; NaN counts as absent.
        second: Covariates ``(b, C)``.

    Returns:
        ``(C,)``; by custom, 0.1 is small.
    """
    means = [np.nanmean(group, axis=0) for group in (first, second)]
    return np.asarray((means[0] - means[1]) / _deviations(first, second))


def _deviations(first: Numbers, second: Numbers) -> Numbers:
    """Standard deviation of each covariate over both groups, 1 where it is constant."""
    deviation = np.nanstd(np.concatenate([first, second]), axis=0)
    return np.where(deviation > 0, deviation, 1.0)

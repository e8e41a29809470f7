"""The effect of masks: contrasts of similarity drops, paired over people, and per unit of changed pixel energy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from leam.metrics.statistics import (
    NOTHING,
    Estimate,
    Numbers,
    bootstrap_mean,
    estimate,
    finite,
    person_means,
    resamples,
    sign_flip_p,
)


@dataclass(frozen=True)
class Effect:
    """A contrast of the similarity drops under several masks.

    Attributes:
        drop: The contrast of the mean drops.
        p: Two-sided p-value of a sign-flip test; None if there is nothing to test.
        d: The contrast's mean over people divided by its standard deviation over people (Cohen's d_z).
        per_energy: The contrast of the drops per unit of changed pixel energy. The drop per unit of energy under a mask
            is the ratio of its mean drop to its mean energy, so that faces with little change do not dominate.
    """

    drop: Estimate
    p: float | None
    d: Estimate
    per_energy: Estimate


def effect(
    drops: Numbers, energy: Numbers, masks: Sequence[str], weights: Mapping[str, float], seed: int
) -> Effect:
    """A contrast of the drops under several masks.

    Args:
        drops: Similarity drops, one per person and mask, ``(P, K)``.
        energy: Changed pixel energy, ``(P, K)``; see :func:`leam.metrics.occlusion.pixel_energy`.
        masks: The names of the ``K`` masks.
        weights: The weight of each mask in the contrast; other masks are not used.
        seed: Random seed.

    Returns:
        The contrast with intervals over people. People for whom a drop under one of the masks is NaN are left out.
    """
    columns = [masks.index(mask) for mask in weights]
    weight = np.array(list(weights.values()))
    some = np.isfinite(drops[:, columns]).all(axis=1)
    drops, energy = drops[some][:, columns], energy[some][:, columns]
    people = len(drops)
    if not people:
        return Effect(NOTHING, None, NOTHING, NOTHING)
    difference = drops @ weight
    table = np.column_stack([difference, (difference - difference.mean()) ** 2, drops, energy])
    draws = np.concatenate([block @ table for block in resamples(people, seed)]) / people
    exact = table.mean(axis=0)

    def d_of(means: Numbers) -> Numbers:
        shift = means[..., 0] - exact[0]
        variance = (means[..., 1] - shift**2) * people / max(people - 1, 1)
        with np.errstate(invalid="ignore", divide="ignore"):
            found: Numbers = means[..., 0] / np.sqrt(np.where(variance > 0, variance, np.nan))
        return found

    def rate_of(means: Numbers) -> Numbers:
        first, second = np.split(means[..., 2:], 2, axis=-1)
        with np.errstate(invalid="ignore", divide="ignore"):
            found: Numbers = np.where(second > 0, first / second, np.nan) @ weight
        return found

    return Effect(
        drop=bootstrap_mean(difference, np.arange(people), seed),
        p=finite(sign_flip_p(difference, seed)),
        d=_estimated(d_of(exact), d_of(draws), people),
        per_energy=_estimated(rate_of(exact), rate_of(draws), people),
    )


def by_person(values: NDArray[np.floating], owners: NDArray[np.integer]) -> Numbers:
    """Each person's means over pictures, as :func:`effect` takes them.

    Args:
        values: ``(n, K)``; NaN where a picture has no value.
        owners: The person of each picture, ``(n,)``, from 0 without gaps.

    Returns:
        ``(P, K)`` float64; NaN for a person without values.
    """
    people = int(owners.max()) + 1
    columns = [person_means(column, owners, people) for column in values.T.astype(np.float64)]
    return np.column_stack(columns)


def _estimated(value: Numbers, draws: Numbers, people: int) -> Estimate:
    return estimate(float(value), draws, people) if np.isfinite(value) else NOTHING

"""Whether maps belong to a person: overlap within people against overlap between people."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor

from leam.measures.effects import auc
from leam.measures.registry import measure
from leam.measures.statistics import (
    NOTHING,
    Estimate,
    Numbers,
    bootstrap_mean,
    bootstrap_pair_mean,
    estimate,
    resamples,
)

# Pairs of different people kept for the distribution of their overlaps: the AUC's standard error
# from drawing so many is at most 0.0016.
DIFFERENT_PAIRS = 100_000
_LEVELS = np.linspace(0, 1, 1000)


@dataclass(frozen=True)
class Specificity:
    """Overlaps of maps, by pairs of people.

    Attributes:
        same: The overlap of every pair of images of one person, ``(s,)``.
        same_person: Whose pair it is, as a position among the people, ``(s,)``.
        different: The overlap of pairs of images of two people, ``(d,)``: all of them, or a random
            sample of 100,000 where there are more.
        different_people: Whose pairs they are, ``(d, 2)``.
        sums: Sum of all overlaps between the images of persons i and j, ``(P, P)``; the diagonal is
            zero.
        counts: Number of those pairs, ``(P, P)``.
    """

    same: Numbers
    same_person: NDArray[np.int64]
    different: Numbers
    different_people: NDArray[np.int64]
    sums: Numbers
    counts: Numbers

    def same_estimate(self, seed: int) -> Estimate:
        """The mean overlap of two images of one person."""
        return bootstrap_mean(self.same, self.same_person, seed)

    def different_estimate(self, seed: int) -> Estimate:
        """The mean overlap of images of two people."""
        return bootstrap_pair_mean(self.sums, self.counts, seed)

    def auc_estimate(self, seed: int) -> Estimate:
        """The chance that a same-person overlap exceeds a different-person one; 0.5 says nothing.

        The interval is from resampling people: a person's pairs count as often as the person is
        drawn, a pair of two people as often as the product of their draws. The resampled curves are
        read at 1,000 levels, the estimate itself is exact.
        """
        if not len(self.same) or not len(self.different):
            return NOTHING
        levels = np.unique(np.quantile(np.concatenate([self.same, self.different]), _LEVELS))
        same_level, different_level = (
            np.searchsorted(levels, values, side="right") for values in (self.same, self.different)
        )

        def weighted(same: Numbers, different: Numbers) -> float:
            high = np.bincount(same_level, weights=same, minlength=len(levels) + 1)
            low = np.bincount(different_level, weights=different, minlength=len(levels) + 1)
            return float(high @ (low.cumsum() - low / 2) / (high.sum() * low.sum()))

        return self._resampled(auc(self.same, self.different), weighted, seed)

    def d_prime_estimate(self, seed: int) -> Estimate:
        """How many standard deviations part same from different: ``(m_s - m_d) / rms(s_s, s_d)``.

        Green and Swets, "Signal Detection Theory and Psychophysics", 1966; the root mean square of
        both deviations is the unit. Interval as in :meth:`auc_estimate`.
        """

        def weighted(same: Numbers, different: Numbers) -> float:
            (mean_s, spread_s), (mean_d, spread_d) = (
                _moments(self.same, same),
                _moments(self.different, different),
            )
            unit = np.sqrt((spread_s + spread_d) / 2)
            return float((mean_s - mean_d) / unit) if unit > 0 else np.nan

        ones = (np.ones_like(self.same), np.ones_like(self.different))
        return self._resampled(weighted(*ones) if len(self.same) else np.nan, weighted, seed)

    def of_people(self) -> tuple[Numbers, Numbers]:
        """Each person's mean overlap within and with others, ``(P,)`` each; NaN without a pair."""
        people = len(self.sums)
        within = np.bincount(self.same_person, weights=self.same, minlength=people)
        pairs = np.bincount(self.same_person, minlength=people)
        with np.errstate(invalid="ignore"):
            return within / pairs, self.sums.sum(axis=1) / self.counts.sum(axis=1)

    def _resampled(
        self, value: float, weighted: Callable[[Numbers, Numbers], float], seed: int
    ) -> Estimate:
        """A value with its interval, from the same figure under weights of the pairs."""
        if not np.isfinite(value):
            return NOTHING
        first, second = self.different_people.T
        draws = []
        for block in resamples(len(self.sums), seed):
            for draw in block:
                same, different = draw[self.same_person], draw[first] * draw[second]
                # A resample of very few people may hold no pair of one of the kinds.
                usable = same.any() and different.any()
                draws.append(weighted(same, different) if usable else np.nan)
        return estimate(value, np.array(draws), len(self.sums))


@dataclass(frozen=True)
class Chance:
    """What the figures are when identities are permuted among the images.

    Attributes:
        same: The mean same-person overlap: its mean over permutations and where 95 % of them lie.
        auc: The AUC in the same way.
        p: The chance that permuted identities give an AUC at least as high as the true ones.
    """

    same: Estimate
    auc: Estimate
    p: float


@measure("specificity", "specificity", "higher")
def specificity(overlaps: Numbers, person: NDArray[np.int64], seed: int = 0) -> Specificity:
    """Sort the overlaps of images into pairs of one person and pairs of two.

    Args:
        overlaps: Between every two images, ``(n, n)``, symmetric; rows that are NaN are left out.
        person: Whose each image is, ``(n,)``, from 0 without gaps.
        seed: Of the sample of different-person pairs.
    """
    people = int(person.max(initial=-1)) + 1
    usable = np.isfinite(overlaps)
    np.fill_diagonal(usable, val=False)
    members = np.eye(people)[person]
    sums = members.T @ np.where(usable, overlaps, 0.0) @ members
    counts = members.T @ usable.astype(np.float64) @ members
    np.fill_diagonal(sums, 0.0)
    np.fill_diagonal(counts, 0.0)
    one = person[:, None] == person[None, :]
    first, second = np.nonzero(np.triu(usable & one))
    other_first, other_second = _sample(np.flatnonzero(np.triu(usable & ~one)), len(person), seed)
    return Specificity(
        same=overlaps[first, second],
        same_person=person[first],
        different=overlaps[other_first, other_second],
        different_people=np.stack([person[other_first], person[other_second]], axis=1),
        sums=sums,
        counts=counts,
    )


@measure("chance", "specificity", "none")
def chance_level(
    overlaps: Numbers, person: NDArray[np.int64], seed: int, repeats: int = 1000
) -> Chance:
    """What overlap and AUC are by chance: identities are permuted among the images.

    Args:
        overlaps: Between every two images, ``(n, n)``, symmetric; rows that are NaN are left out.
        person: Whose each image is, ``(n,)``.
        seed: Of the permutations.
        repeats: Number of permutations.
    """
    present = np.isfinite(overlaps).sum(axis=1) > 1
    overlaps, person = overlaps[np.ix_(present, present)], person[present]
    images = len(person)
    upper = np.triu_indices(images, 1)
    first, second = (side[person[upper[0]] == person[upper[1]]] for side in upper)
    pairs, same = len(upper[0]), len(first)
    if not same or same == pairs:
        return Chance(NOTHING, NOTHING, np.nan)
    ranks = np.zeros((images, images))
    ranks[upper] = rankdata(overlaps[upper])
    ranks += ranks.T

    def figures(order: NDArray[np.int64]) -> tuple[float, float]:
        a, b = order[first], order[second]
        # The rank sum of Wilcoxon and of Mann and Whitney, exact over all pairs.
        area = (ranks[a, b].sum() - same * (same + 1) / 2) / (same * (pairs - same))
        return float(overlaps[a, b].mean()), float(area)

    generator = np.random.default_rng(seed)
    draws = np.array([figures(generator.permutation(images)) for _ in range(repeats)])
    observed = figures(np.arange(images))[1]
    people = len(np.unique(person))
    means = draws.mean(axis=0)
    return Chance(
        same=estimate(float(means[0]), draws[:, 0], people),
        auc=estimate(float(means[1]), draws[:, 1], people),
        p=float((1 + (draws[:, 1] >= observed).sum()) / (1 + repeats)),
    )


@measure("person_maps", "specificity", "none")
def person_maps(
    maps: Tensor, person: NDArray[np.int64], seed: int
) -> tuple[Tensor, NDArray[np.int64]]:
    """Split-half maps: each person's images fall at random into two halves, averaged each.

    What comes back is treated like images: the two halves of a person are its only same pair.

    Args:
        maps: Overall maps, ``(n, h, w)``, each summing to 1 or empty. Empty ones are left out.
        person: Whose each is, ``(n,)``.
        seed: Of the split.

    Returns:
        Maps ``(2 Q, h, w)`` of the ``Q`` people with two maps or more, first all first halves, then
        all second ones; and whose each is, ``(2 Q,)``, from 0 without gaps in the order of people.
    """
    full = (maps.flatten(1).sum(dim=1) > 0).numpy()
    generator = np.random.default_rng(seed)
    halves: tuple[list[Tensor], list[Tensor]] = ([], [])
    for one in np.unique(person):
        images = generator.permutation(np.flatnonzero((person == one) & full))
        if len(images) > 1:
            for half, chosen in zip(halves, np.array_split(images, 2), strict=True):
                half.append(maps[torch.from_numpy(chosen)].float().mean(dim=0))
    joined = [*halves[0], *halves[1]]
    means = torch.stack(joined) if joined else maps[:0].float()
    return means, np.tile(np.arange(len(halves[0])), 2)


def _sample(
    pairs: NDArray[np.int64], images: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of at most ``DIFFERENT_PAIRS`` of the flat positions given."""
    if len(pairs) > DIFFERENT_PAIRS:
        generator = np.random.default_rng(seed)
        pairs = np.sort(generator.choice(pairs, size=DIFFERENT_PAIRS, replace=False))
    rows, columns = np.divmod(pairs, images)
    return rows, columns


def _moments(values: Numbers, weights: Numbers) -> tuple[float, float]:
    """Weighted mean and variance."""
    # Plain sums: a threaded dot product of this length spends its time on starting threads.
    total = weights.sum()
    mean = float((weights * values).sum() / total)
    return mean, float((weights * (values - mean) ** 2).sum() / total)

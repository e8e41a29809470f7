"""Specificity: whether maps of one person are more similar than maps of different people.

Similarity of maps is their Bhattacharyya coefficient (bc), see :func:`leam.metrics.overlap.bhattacharyya_matrix`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leam.metrics.statistics import (
    NOTHING,
    Estimate,
    Numbers,
    auc,
    bootstrap_mean,
    central,
    estimate,
    resamples,
)

DIFFERENT_PAIRS = 50_000
"""Pairs of different people that are kept: sampling them adds a standard error of at most 0.0022 to the AUC."""
# Levels at which resampled ROC curves are read.
_LEVELS = np.linspace(0, 1, 1000)


@dataclass(frozen=True)
class Block:
    """The coefficients of every two of some images; all images of a person are in the same block.

    Attributes:
        coefficients: ``(n, n)``, symmetric; images whose row is NaN are ignored.
        person: The person of each image, as a position among all people, ``(n,)``.
    """

    coefficients: Numbers
    person: NDArray[np.int64]


@dataclass(frozen=True)
class Specificity:
    """Coefficients of maps of the same person and of different people.

    Attributes:
        same: The coefficient of every pair of images of one person, ``(s,)``.
        same_person: The person of each of these pairs, as a position among all people, ``(s,)``.
        different: The coefficients of pairs of images of two people, ``(d,)``: all computed ones, or a random sample of
            50,000 if there are more.
        different_people: The two people of each of these pairs, ``(d, 2)``.
        sums: The sum of all computed coefficients of each person's images with other people's images, ``(P,)``.
        counts: The number of these pairs, ``(P,)``.
    """

    same: Numbers
    same_person: NDArray[np.int64]
    different: Numbers
    different_people: NDArray[np.int64]
    sums: Numbers
    counts: Numbers

    def estimates(self, seed: int) -> dict[str, Estimate]:
        """The figures with their intervals, all from the same resamples of people.

        A person's pairs are weighted with the number of times that the person is drawn, pairs of two people with the
        product of these numbers.

        Returns:
            ``same`` and ``different``: the mean coefficients. ``auc``: the probability that a coefficient of one person
            exceeds one of two people, 0.5 by chance; exact, but resampled curves are read at 1,000 levels. ``d_prime``:
            the distance between the means in standard deviations, ``(m_s - m_d) / rms(s_s, s_d)`` (Green and Swets,
            "Signal Detection Theory and Psychophysics", 1966).
        """
        return {
            "same": bootstrap_mean(self.same, self.same_person, seed),
            **self._between(seed),
        }

    def of_people(self) -> tuple[Numbers, Numbers]:
        """Each person's mean coefficient within the person and with others, ``(P,)`` each; NaN without a pair."""
        people = len(self.sums)
        within = np.bincount(self.same_person, weights=self.same, minlength=people)
        pairs = np.bincount(self.same_person, minlength=people)
        with np.errstate(invalid="ignore"):
            return within / pairs, self.sums / self.counts

    def _between(self, seed: int) -> dict[str, Estimate]:
        """The figures that need pairs of different people."""
        if not len(self.same) or not len(self.different):
            found = dict.fromkeys(("different", "auc", "d_prime"), NOTHING)
            if len(self.different):
                found["different"] = Estimate(self._different, None, None, len(self.sums))
            return found
        same, different = self._pairs()
        draws = [
            np.stack([other.mean, _area(one, other), _d_prime(one, other)])
            for one, other in self._resampled(same, different, seed)
        ]
        even = [pairs.weighted(np.ones((len(pairs.values), 1))) for pairs in (same, different)]
        exact = {
            "different": self._different,
            "auc": auc(self.same, self.different),
            "d_prime": float(_d_prime(*even)[0]),
        }
        return {
            name: estimate(value, drawn, self.people) if np.isfinite(value) else NOTHING
            for (name, value), drawn in zip(
                exact.items(), np.concatenate(draws, axis=1), strict=True
            )
        }

    def auc_draws(self, seed: int) -> Numbers:
        """The AUC of each resample of people; of two sets of pairs of the same people, they are paired."""
        same, different = self._pairs()
        return np.concatenate(
            [_area(one, other) for one, other in self._resampled(same, different, seed)]
        )

    def _pairs(self) -> tuple[_Pairs, _Pairs]:
        levels = np.unique(np.quantile(np.concatenate([self.same, self.different]), _LEVELS))
        return _Pairs(self.same, levels), _Pairs(self.different, levels)

    def _resampled(
        self, same: _Pairs, different: _Pairs, seed: int
    ) -> Iterator[tuple[_Weighted, _Weighted]]:
        """The statistics of both kinds of pairs, by blocks of resamples of people."""
        first, second = self.different_people.T
        for block in resamples(len(self.sums), seed):
            # One row per person, so that the weights of a pair are gathered from whole rows.
            people = np.ascontiguousarray(block.T)
            yield (
                same.weighted(people[self.same_person]),
                different.weighted(people[first] * people[second]),
            )

    @property
    def people(self) -> int:
        """The number of people in the pairs."""
        return len(np.unique(np.concatenate([self.same_person, *self.different_people.T])))

    @property
    def _different(self) -> float:
        """The mean over all computed pairs of different people."""
        return float(self.sums.sum() / self.counts.sum())


@dataclass(frozen=True)
class Chance:
    """The figures under random identities.

    Attributes:
        same: The mean coefficient of one person: its mean over permutations, and the interval that contains 95 % of
            them.
        auc: The AUC, likewise.
        p: Two-sided p-value of the AUC of the true identities, twice the smaller tail; at least ``2 / (repeats + 1)``.
    """

    same: Estimate
    auc: Estimate
    p: float


def specificity(coefficients: Numbers, person: NDArray[np.int64], seed: int = 0) -> Specificity:
    """Sort the coefficients of images into pairs of the same person and pairs of different people.

    Args:
        coefficients: Of every two images, ``(n, n)``, symmetric; images whose row is NaN are ignored.
        person: The person of each image, ``(n,)``, from 0 without gaps.
        seed: Random seed of the sample of pairs of different people.
    """
    pool = Pool(int(person.max(initial=-1)) + 1, seed)
    pool.add(Block(coefficients, person))
    return pool.found()


class Pool:
    """Collects coefficients block by block: all pairs of the same person, and a sample of the others.

    A person's images must all be in the same block. Time grows linearly with the number of images, memory with the
    number of people.

    Args:
        people: Number of people in all blocks.
        seed: Random seed of the sample of pairs of different people.
    """

    def __init__(self, people: int, seed: int = 0) -> None:
        self._same = [np.zeros(0)]
        self._same_person = [np.zeros(0, dtype=np.int64)]
        self._different = np.zeros(0)
        self._different_people = np.zeros((0, 2), dtype=np.int64)
        # The pairs with the smallest random keys are a uniform sample of all pairs so far.
        self._keys = np.zeros(0)
        self._generator = np.random.default_rng(seed)
        self._sums, self._counts = np.zeros(people), np.zeros(people)

    def add(self, block: Block) -> None:
        """Add the pairs of a block."""
        usable = np.isfinite(block.coefficients)
        np.fill_diagonal(usable, val=False)
        one = block.person[:, None] == block.person[None, :]
        first, second = np.nonzero(np.triu(usable & one))
        self._same.append(block.coefficients[first, second])
        self._same_person.append(block.person[first])
        others = usable & ~one
        first, second = np.nonzero(np.triu(others))
        self._sample(
            block.coefficients[first, second],
            np.stack([block.person[first], block.person[second]], axis=1),
        )
        sums = np.where(others, block.coefficients, 0.0).sum(axis=1)
        self._sums += np.bincount(block.person, sums, minlength=len(self._sums))
        self._counts += np.bincount(block.person, others.sum(axis=1), minlength=len(self._sums))

    def found(self) -> Specificity:
        """The coefficients of all blocks so far."""
        return Specificity(
            same=np.concatenate(self._same),
            same_person=np.concatenate(self._same_person),
            different=self._different,
            different_people=self._different_people,
            sums=self._sums,
            counts=self._counts,
        )

    def _sample(self, coefficients: Numbers, people: NDArray[np.int64]) -> None:
        keys = np.concatenate([self._keys, self._generator.random(len(coefficients))])
        coefficients = np.concatenate([self._different, coefficients])
        people = np.concatenate([self._different_people, people])
        if len(keys) > DIFFERENT_PAIRS:
            chosen = np.sort(np.argpartition(keys, DIFFERENT_PAIRS)[:DIFFERENT_PAIRS])
            keys, coefficients, people = keys[chosen], coefficients[chosen], people[chosen]
        self._keys, self._different, self._different_people = keys, coefficients, people


@dataclass(frozen=True)
class AucMargin:
    """How far the AUC of a recognizer's maps exceeds that of a control.

    Attributes:
        claim: AUC of the recognizer's maps.
        control: AUC of the control on pairs of the same people.
        difference: The difference, with an interval from the same resamples of people.
    """

    claim: Estimate
    control: Estimate
    difference: Estimate


def auc_margins(
    claim: Specificity, controls: Mapping[str, Specificity], seed: int
) -> dict[str, AucMargin]:
    """The margin of the AUC of a recognizer's maps over that of each control.

    Args:
        claim: Coefficients of the recognizer's maps.
        controls: Coefficients of each control, of the same people.
        seed: Random seed.
    """

    def measured(one: Specificity) -> tuple[float, Numbers]:
        if not len(one.same) or not len(one.different):
            return np.nan, np.full(1, np.nan)
        return auc(one.same, one.different), one.auc_draws(seed)

    def estimated(value: float, draws: Numbers) -> Estimate:
        return estimate(value, draws, claim.people) if np.isfinite(value) else NOTHING

    own, own_draws = measured(claim)
    found = {}
    for name, control in controls.items():
        other, draws = measured(control)
        found[name] = AucMargin(
            claim=estimated(own, own_draws),
            control=estimated(other, draws),
            difference=estimated(own - other, own_draws - draws),
        )
    return found


@dataclass(frozen=True)
class Matched:
    """The AUC with impostor pairs that resemble the genuine pairs in a covariate.

    Attributes:
        auc: Probability that a genuine pair's coefficient exceeds that of an impostor pair matched to it.
        change: That probability minus the one for all impostor pairs.
    """

    auc: Estimate
    change: Estimate


def matched_auc(
    claim: Specificity, covariate: Specificity, seed: int, nearest: int = 20
) -> Matched:
    """The AUC when each genuine pair is compared with the impostor pairs nearest to it in a covariate.

    Args:
        claim: Coefficients of the recognizer's maps.
        covariate: The covariate of the same pairs, such as the distance between landmarks.
        seed: Random seed of the intervals, which resample the people of the genuine pairs.
        nearest: Number of impostor pairs for each genuine pair; more if several are equally near.

    Raises:
        ValueError: The two do not have the same pairs.
    """
    if len(claim.same) != len(covariate.same) or len(claim.different) != len(covariate.different):
        raise ValueError("coefficients and covariate are of different pairs")
    if not len(claim.same) or len(claim.different) < nearest:
        return Matched(NOTHING, NOTHING)
    overall, within = (np.zeros(len(claim.same)) for _ in range(2))
    for place, (value, at) in enumerate(zip(claim.same, covariate.same, strict=True)):
        distance = np.abs(covariate.different - at)
        # Impostor pairs at the same distance as the last one count, too.
        farthest = np.partition(distance, nearest - 1)[nearest - 1]
        overall[place] = _fraction_below(claim.different, value)
        within[place] = _fraction_below(claim.different[distance <= farthest], value)
    return Matched(
        auc=bootstrap_mean(within, claim.same_person, seed),
        change=bootstrap_mean(within - overall, claim.same_person, seed),
    )


def chance_level(blocks: Sequence[Block], seed: int, repeats: int = 1000) -> Chance:
    """The figures by chance: identities are permuted among the images of each block.

    Args:
        blocks: Coefficients within groups of people.
        seed: Random seed.
        repeats: Number of permutations.
    """
    found = [_present(block) for block in blocks]
    uppers = [np.triu_indices(len(block.person), 1) for block in found]
    values = np.concatenate(
        [block.coefficients[upper] for block, upper in zip(found, uppers, strict=True)]
    )
    together = [
        block.person[upper[0]] == block.person[upper[1]]
        for block, upper in zip(found, uppers, strict=True)
    ]
    pairs, same = len(values), int(sum(one.sum() for one in together))
    if not same or same == pairs:
        return Chance(NOTHING, NOTHING, np.nan)
    ranks = _rank_matrices(values, [len(block.person) for block in found], uppers)
    sides = [(u[0][one], u[1][one]) for u, one in zip(uppers, together, strict=True)]

    def figures(orders: Sequence[NDArray[np.int64]]) -> tuple[float, float]:
        total = rank_sum = 0.0
        for block, rank, order, (first, second) in zip(found, ranks, orders, sides, strict=True):
            a, b = order[first], order[second]
            total += block.coefficients[a, b].sum()
            rank_sum += rank[a, b].sum()
        # The Mann-Whitney statistic, over all pairs.
        area = (rank_sum - same * (same + 1) / 2) / (same * (pairs - same))
        return total / same, area

    generator = np.random.default_rng(seed)
    sizes = [len(block.person) for block in found]
    draws = np.array(
        [figures([generator.permutation(size) for size in sizes]) for _ in range(repeats)]
    )
    observed = figures([np.arange(size) for size in sizes])[1]
    people = len(np.unique(np.concatenate([block.person for block in found])))
    means = draws.mean(axis=0)
    rarer = min((draws[:, 1] >= observed).sum(), (draws[:, 1] <= observed).sum())
    return Chance(
        same=central(float(means[0]), draws[:, 0], people),
        auc=central(float(means[1]), draws[:, 1], people),
        p=float(min(1.0, 2 * (1 + rarer) / (1 + repeats))),
    )


def _fraction_below(values: Numbers, value: float) -> float:
    """The fraction of values below a value; equal ones count half."""
    return float((values < value).mean() + (values == value).mean() / 2)


def _present(block: Block) -> Block:
    """A block without the images whose map is empty."""
    present = np.isfinite(block.coefficients).sum(axis=1) > 1
    return Block(block.coefficients[np.ix_(present, present)], block.person[present])


def _rank_matrices(
    values: Numbers,
    sizes: Sequence[int],
    uppers: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]],
) -> list[Numbers]:
    """The ranks of all blocks' pairs together, as a matrix ``(n, n)`` for each block."""
    from scipy.stats import rankdata  # noqa: PLC0415  slow to import

    ranked = rankdata(values)
    matrices, start = [], 0
    for size, upper in zip(sizes, uppers, strict=True):
        matrix = np.zeros((size, size))
        matrix[upper] = ranked[start : start + len(upper[0])]
        matrices.append(matrix + matrix.T)
        start += len(upper[0])
    return matrices


def person_maps(
    maps: Tensor, person: NDArray[np.int64], seed: int
) -> tuple[Tensor, NDArray[np.int64]]:
    """Split-half maps: each person's maps are divided at random into two halves, and each half is averaged.

    The averages can be used like maps of images, with one pair for each person.

    Args:
        maps: Overall maps, ``(n, h, w)``, each summing to 1 or empty; empty maps are ignored.
        person: The person of each map, ``(n,)``.
        seed: Random seed.

    Returns:
        The averages ``(2 Q, h, w)`` of the ``Q`` people with at least two maps, all first halves before all second
        halves; and the person of each, ``(2 Q,)``, from 0 without gaps in the order of people.
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


@dataclass(frozen=True)
class _Weighted:
    """Statistics of pairs under ``r`` resampled weights; NaN if a resample contains no pair.

    Attributes:
        levels: The weight at each level, ``(levels, r)``.
        mean: Weighted mean of the coefficients, ``(r,)``.
        variance: Weighted variance of the coefficients, ``(r,)``.
    """

    levels: Numbers
    mean: Numbers
    variance: Numbers


class _Pairs:
    """Coefficients ``(n,)``, prepared for repeated weighting.

    Args:
        values: The coefficients.
        levels: The bounds between levels, increasing.
    """

    def __init__(self, values: Numbers, levels: Numbers) -> None:
        from scipy.sparse import csr_array  # noqa: PLC0415  slow to import

        self.values = values
        level = np.searchsorted(levels, values, side="right")
        entries = (np.ones(len(values)), (level, np.arange(len(values))))
        self._at_level = csr_array(entries, shape=(len(levels) + 1, len(values)))
        # Relative to the unweighted mean, to avoid cancellation.
        self._centre = values.mean()
        self._powers = np.stack([values - self._centre, (values - self._centre) ** 2])

    def weighted(self, weights: Numbers) -> _Weighted:
        """The statistics under each column of weights ``(n, r)``."""
        levels = self._at_level @ weights
        total = levels.sum(axis=0)
        with np.errstate(invalid="ignore"):
            mean, square = self._powers @ weights / total
        return _Weighted(levels, self._centre + mean, np.clip(square - mean**2, 0.0, None))


def _area(high: _Weighted, low: _Weighted) -> Numbers:
    """Areas under ROC curves, ``(r,)``."""
    above = (high.levels * (low.levels.cumsum(axis=0) - low.levels / 2)).sum(axis=0)
    with np.errstate(invalid="ignore"):
        area: Numbers = above / (high.levels.sum(axis=0) * low.levels.sum(axis=0))
    return area


def _d_prime(same: _Weighted, different: _Weighted) -> Numbers:
    """The d' of each resample, ``(r,)``; NaN if nothing varies."""
    unit = np.sqrt((same.variance + different.variance) / 2)
    apart = same.mean - different.mean
    return np.divide(apart, unit, out=np.full_like(unit, np.nan), where=unit > 0)

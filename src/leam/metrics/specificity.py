"""Whether maps belong to a person: overlap within people against overlap between people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.stats import rankdata
from torch import Tensor

from leam.metrics.statistics import (
    NOTHING,
    Estimate,
    Numbers,
    auc,
    bootstrap_mean,
    estimate,
    resamples,
)

# Pairs of different people kept for the distribution of their overlaps: the AUC's standard error
# from drawing so many is at most 0.0022.
DIFFERENT_PAIRS = 50_000
_LEVELS = np.linspace(0, 1, 1000)


@dataclass(frozen=True)
class Block:
    """The overlaps between every two of some images; whole people.

    Attributes:
        overlaps: ``(n, n)``, symmetric; rows that are NaN are left out.
        person: Whose each image is, as a position among all people, ``(n,)``.
    """

    overlaps: Numbers
    person: NDArray[np.int64]


@dataclass(frozen=True)
class Specificity:
    """Overlaps of maps, by pairs of people.

    Attributes:
        same: The overlap of every pair of images of one person, ``(s,)``.
        same_person: Whose pair it is, as a position among the people, ``(s,)``.
        different: The overlap of pairs of images of two people, ``(d,)``: all that were computed, or a random sample
            of 50,000 where there are more.
        different_people: Whose pairs they are, ``(d, 2)``.
        sums: Sum of all computed overlaps of each person's images with other people's, ``(P,)``.
        counts: Number of those pairs, ``(P,)``.
    """

    same: Numbers
    same_person: NDArray[np.int64]
    different: Numbers
    different_people: NDArray[np.int64]
    sums: Numbers
    counts: Numbers

    def estimates(self, seed: int) -> dict[str, Estimate]:
        """The figures with their intervals, from the same resamples of people.

        A person's pairs count as often as the person is drawn, a pair of two people as often as the
        product of their draws.

        Returns:
            ``same`` and ``different``, the mean overlaps; ``auc``, the chance that a same-person
            overlap exceeds a different-person one, 0.5 says nothing: exact, but resampled curves are
            read at 1,000 levels; ``d_prime``, how many standard deviations part same from
            different, ``(m_s - m_d) / rms(s_s, s_d)`` (Green and Swets, "Signal Detection Theory
            and Psychophysics", 1966).
        """
        return {
            "same": bootstrap_mean(self.same, self.same_person, seed),
            **self._between(seed),
        }

    def of_people(self) -> tuple[Numbers, Numbers]:
        """Each person's mean overlap within and with others, ``(P,)`` each; NaN without a pair."""
        people = len(self.sums)
        within = np.bincount(self.same_person, weights=self.same, minlength=people)
        pairs = np.bincount(self.same_person, minlength=people)
        with np.errstate(invalid="ignore"):
            return within / pairs, self.sums / self.counts

    def _between(self, seed: int) -> dict[str, Estimate]:
        """The figures that take both kinds of pairs."""
        if not len(self.same) or not len(self.different):
            found = dict.fromkeys(("different", "auc", "d_prime"), NOTHING)
            if len(self.different):
                found["different"] = Estimate(self._different, None, None, len(self.sums))
            return found
        levels = np.unique(np.quantile(np.concatenate([self.same, self.different]), _LEVELS))
        same, different = _Pairs(self.same, levels), _Pairs(self.different, levels)
        first, second = self.different_people.T
        draws: list[Numbers] = []
        for block in resamples(len(self.sums), seed):
            # One row a person, so that a pair's weights are gathered from whole rows.
            people = np.ascontiguousarray(block.T)
            one = same.weighed(people[self.same_person])
            other = different.weighed(people[first] * people[second])
            draws.append(np.stack([other.mean, _area(one, other), _d_prime(one, other)]))
        even = [pairs.weighed(np.ones((len(pairs.values), 1))) for pairs in (same, different)]
        exact = {
            "different": self._different,
            "auc": auc(self.same, self.different),
            "d_prime": float(_d_prime(*even)[0]),
        }
        seen = len(np.unique(np.concatenate([self.same_person, first, second])))
        return {
            name: estimate(value, drawn, seen) if np.isfinite(value) else NOTHING
            for (name, value), drawn in zip(
                exact.items(), np.concatenate(draws, axis=1), strict=True
            )
        }

    @property
    def _different(self) -> float:
        """The mean over all computed pairs of different people."""
        return float(self.sums.sum() / self.counts.sum())


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


def specificity(overlaps: Numbers, person: NDArray[np.int64], seed: int = 0) -> Specificity:
    """Sort the overlaps of images into pairs of one person and pairs of two.

    Args:
        overlaps: Between every two images, ``(n, n)``, symmetric; rows that are NaN are left out.
        person: Whose each image is, ``(n,)``, from 0 without gaps.
        seed: Of the sample of different-person pairs.
    """
    pool = Pool(int(person.max(initial=-1)) + 1, seed)
    pool.add(Block(overlaps, person))
    return pool.found()


class Pool:
    """Sorts overlaps block by block: every same-person pair is kept, and a sample of the others.

    No person is in two blocks. Time grows with the images, not with their square, and what is held
    with the people.

    Args:
        people: Number of all people.
        seed: Of the sample of different-person pairs.
    """

    def __init__(self, people: int, seed: int = 0) -> None:
        self._same = [np.zeros(0)]
        self._same_person = [np.zeros(0, dtype=np.int64)]
        self._different = np.zeros(0)
        self._different_people = np.zeros((0, 2), dtype=np.int64)
        # The pairs with the smallest keys are a sample of those seen so far, each as likely as any.
        self._keys = np.zeros(0)
        self._generator = np.random.default_rng(seed)
        self._sums, self._counts = np.zeros(people), np.zeros(people)

    def add(self, block: Block) -> None:
        """Take a block's pairs."""
        usable = np.isfinite(block.overlaps)
        np.fill_diagonal(usable, val=False)
        one = block.person[:, None] == block.person[None, :]
        first, second = np.nonzero(np.triu(usable & one))
        self._same.append(block.overlaps[first, second])
        self._same_person.append(block.person[first])
        others = usable & ~one
        first, second = np.nonzero(np.triu(others))
        self._sample(
            block.overlaps[first, second],
            np.stack([block.person[first], block.person[second]], axis=1),
        )
        sums = np.where(others, block.overlaps, 0.0).sum(axis=1)
        self._sums += np.bincount(block.person, sums, minlength=len(self._sums))
        self._counts += np.bincount(block.person, others.sum(axis=1), minlength=len(self._sums))

    def found(self) -> Specificity:
        """The overlaps of all blocks so far."""
        return Specificity(
            same=np.concatenate(self._same),
            same_person=np.concatenate(self._same_person),
            different=self._different,
            different_people=self._different_people,
            sums=self._sums,
            counts=self._counts,
        )

    def _sample(self, overlaps: Numbers, people: NDArray[np.int64]) -> None:
        keys = np.concatenate([self._keys, self._generator.random(len(overlaps))])
        overlaps = np.concatenate([self._different, overlaps])
        people = np.concatenate([self._different_people, people])
        if len(keys) > DIFFERENT_PAIRS:
            chosen = np.sort(np.argpartition(keys, DIFFERENT_PAIRS)[:DIFFERENT_PAIRS])
            keys, overlaps, people = keys[chosen], overlaps[chosen], people[chosen]
        self._keys, self._different, self._different_people = keys, overlaps, people


def chance_level(blocks: Sequence[Block], seed: int, repeats: int = 1000) -> Chance:
    """What overlap and AUC are by chance: identities are permuted among the images of each block.

    Args:
        blocks: Overlaps within groups of people.
        seed: Of the permutations.
        repeats: Number of permutations.
    """
    found = [_present(block) for block in blocks]
    uppers = [np.triu_indices(len(block.person), 1) for block in found]
    values = np.concatenate(
        [block.overlaps[upper] for block, upper in zip(found, uppers, strict=True)]
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
            total += block.overlaps[a, b].sum()
            rank_sum += rank[a, b].sum()
        # The rank sum of Wilcoxon and of Mann and Whitney, exact over all pairs.
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
    return Chance(
        same=estimate(float(means[0]), draws[:, 0], people),
        auc=estimate(float(means[1]), draws[:, 1], people),
        p=float((1 + (draws[:, 1] >= observed).sum()) / (1 + repeats)),
    )


def _present(block: Block) -> Block:
    """A block without the images that have no map."""
    present = np.isfinite(block.overlaps).sum(axis=1) > 1
    return Block(block.overlaps[np.ix_(present, present)], block.person[present])


def _rank_matrices(
    values: Numbers,
    sizes: Sequence[int],
    uppers: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]],
) -> list[Numbers]:
    """The ranks of all pairs together, laid back into each block's ``(n, n)``."""
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


@dataclass(frozen=True)
class _Weighed:
    """Pairs under ``r`` resampled weights; NaN where a resample of very few people holds none.

    Attributes:
        levels: The weight at each level, ``(levels, r)``.
        mean: Of the overlaps, ``(r,)``.
        variance: Of the overlaps, ``(r,)``.
    """

    levels: Numbers
    mean: Numbers
    variance: Numbers


class _Pairs:
    """Overlaps ``(n,)``, ready to be weighed many times.

    Args:
        values: The overlaps.
        levels: What parts the levels, increasing.
    """

    def __init__(self, values: Numbers, levels: Numbers) -> None:
        self.values = values
        level = np.searchsorted(levels, values, side="right")
        entries = (np.ones(len(values)), (level, np.arange(len(values))))
        self._at_level = csr_array(entries, shape=(len(levels) + 1, len(values)))
        # About the plain mean, so that nothing is lost to cancellation.
        self._centre = values.mean()
        self._powers = np.stack([values - self._centre, (values - self._centre) ** 2])

    def weighed(self, weights: Numbers) -> _Weighed:
        """Their figures under each column of weights ``(n, r)``."""
        levels = self._at_level @ weights
        total = levels.sum(axis=0)
        with np.errstate(invalid="ignore"):
            mean, square = self._powers @ weights / total
        return _Weighed(levels, self._centre + mean, np.clip(square - mean**2, 0.0, None))


def _area(high: _Weighed, low: _Weighed) -> Numbers:
    """Areas under ROC curves, ``(r,)``."""
    above = (high.levels * (low.levels.cumsum(axis=0) - low.levels / 2)).sum(axis=0)
    with np.errstate(invalid="ignore"):
        area: Numbers = above / (high.levels.sum(axis=0) * low.levels.sum(axis=0))
    return area


def _d_prime(same: _Weighed, different: _Weighed) -> Numbers:
    """The d' of each resample, ``(r,)``; NaN where nothing varies."""
    unit = np.sqrt((same.variance + different.variance) / 2)
    apart = same.mean - different.mean
    return np.divide(apart, unit, out=np.full_like(unit, np.nan), where=unit > 0)

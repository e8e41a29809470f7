"""Whether maps belong to a person: overlap within people against overlap between people."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from leam.measures.registry import measure
from leam.measures.statistics import Estimate, Numbers, bootstrap_mean, bootstrap_pair_mean


@dataclass(frozen=True)
class Specificity:
    """Overlaps of maps, by pairs of people.

    Attributes:
        same: The overlap of every pair of images of one person, ``(s,)``.
        same_person: Whose pair it is, as a position among the people, ``(s,)``.
        sums: Sum of the overlaps between the images of persons i and j, ``(P, P)``; the diagonal is zero.
        counts: Number of those pairs, ``(P, P)``.
    """

    same: Numbers
    same_person: NDArray[np.int64]
    sums: Numbers
    counts: Numbers

    def same_estimate(self, seed: int) -> Estimate:
        """The mean overlap of two images of one person."""
        return bootstrap_mean(self.same, self.same_person, seed)

    def different_estimate(self, seed: int) -> Estimate:
        """The mean overlap of images of two people."""
        return bootstrap_pair_mean(self.sums, self.counts, seed)

    def of_people(self) -> tuple[Numbers, Numbers]:
        """For each person the mean overlap within and with others, ``(P,)`` and ``(P,)``; NaN where there is no pair."""
        people = len(self.sums)
        within = np.bincount(self.same_person, weights=self.same, minlength=people)
        pairs = np.bincount(self.same_person, minlength=people)
        with np.errstate(invalid="ignore"):
            return within / pairs, self.sums.sum(axis=1) / self.counts.sum(axis=1)


@measure("specificity", "specificity", "higher")
def specificity(overlaps: Numbers, person: NDArray[np.int64]) -> Specificity:
    """Sort the overlaps of images into pairs of one person and pairs of two.

    Args:
        overlaps: Between every two images, ``(n, n)``, symmetric; rows that are NaN are left out.
        person: Whose each image is, ``(n,)``, from 0 without gaps.
    """
    people = int(person.max(initial=-1)) + 1
    usable = np.isfinite(overlaps)
    np.fill_diagonal(usable, val=False)
    members = np.eye(people)[person]
    sums = members.T @ np.where(usable, overlaps, 0.0) @ members
    counts = members.T @ usable.astype(np.float64) @ members
    np.fill_diagonal(sums, 0.0)
    np.fill_diagonal(counts, 0.0)
    first, second = np.nonzero(np.triu(usable & (person[:, None] == person[None, :])))
    return Specificity(overlaps[first, second], person[first], sums, counts)

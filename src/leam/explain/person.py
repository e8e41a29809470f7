"""Person maps: what a recognizer relies on in a person's face, from several pictures of that person.

A person map knows the pictures that it was made of, and refuses to be applied to them or compared with maps of them: a
map that contains a picture's own map resembles it whether or not it says anything about the person.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leam.errors import InputError
from leam.explain.masks import critical_mask
from leam.plugins import Registry

Values = NDArray[np.float64]

FEWEST_PEOPLE: Final = 10
"""Fewest people with several pictures in a population."""


@dataclass(frozen=True, repr=False)
class Population:
    """What the maps of other people tell about a person's map.

    Attributes:
        mean: Mean over people of their mean maps, ``(h, w)``; sums to 1.
        agreement: Part of the variance of single maps that is between people and not between a person's pictures, in
            [0, 1]: 0 if the maps of a person agree no better than those of different people.
        people: Number of people.
        pictures: Identifiers of the pictures.
    """

    mean: Values
    agreement: float
    people: int
    pictures: frozenset[str]

    def __repr__(self) -> str:
        count, agreement = len(self.pictures), self.agreement
        return f"Population({self.people} people, {count} pictures, agreement {agreement:.2f})"

    @classmethod
    def of(cls, maps: Tensor, people: Sequence[str], pictures: Sequence[str]) -> Population:
        """Learn from the maps of people.

        The agreement is the intraclass correlation ICC(1, 1) (Shrout and Fleiss, "Intraclass correlations", 1979) with
        variances summed over pixels.

        Args:
            maps: Overall maps, ``(n, h, w)``, each summing to 1.
            people: The person of each map.
            pictures: An identifier of each map's picture, such as its SHA-256.

        Raises:
            InputError: There are too few people with at least two pictures.
        """
        names, owner = np.unique(np.asarray(people), return_inverse=True)
        counts = np.bincount(owner)
        if (counts > 1).sum() < FEWEST_PEOPLE:
            raise InputError(
                f"population: {(counts > 1).sum()} people with two or more pictures; expected at least {FEWEST_PEOPLE}"
            )
        flat = maps.double().cpu().flatten(1).numpy()
        sums = np.zeros((len(names), flat.shape[1]))
        np.add.at(sums, owner, flat)
        own = sums / counts[:, None]
        within = np.square(flat - own[owner]).sum() / (len(flat) - len(names))
        between = max(own.var(axis=0, ddof=1).sum() - within * (1 / counts).mean(), 0.0)
        total = between + within
        return cls(
            own.mean(axis=0).reshape(maps.shape[1:]),
            float(between / total) if total > 0 else 0.0,
            len(names),
            frozenset(pictures),
        )

    def weight(self, pictures: int) -> float:
        """How far the mean map of a person's pictures can be trusted, in [0, 1].

        The correlation of such means with the person's true map, squared (Spearman and Brown, British Journal of
        Psychology 1910): ``k a / (1 + (k - 1) a)`` for ``k`` pictures with agreement ``a``.
        """
        return pictures * self.agreement / (1 + (pictures - 1) * self.agreement)


@dataclass(frozen=True)
class PersonEstimate:
    """How a person's map is estimated.

    Attributes:
        compute: From a person's overall maps ``(k, h, w)``, each summing to 1, and the population to the person's map
            ``(h, w)``; negative values count as zero.
        needs_population: Whether the population is needed. If not, it may be None.
    """

    compute: Callable[[Tensor, Population | None], Values]
    needs_population: bool = False


PERSON_MAPS: Registry[PersonEstimate] = Registry("person map", "leam.person_maps")
"""The estimates of a person's map by name."""


@dataclass(frozen=True, repr=False)
class PersonMap:
    """The map of a person.

    Attributes:
        map: Non-negative, ``(h, w)`` float32; sums to 1, or is all zero.
        estimate: Name of the estimate in :data:`PERSON_MAPS`.
        pictures: Identifiers of the pictures that the map was made of.
    """

    map: Tensor
    estimate: str
    pictures: tuple[str, ...]

    def __repr__(self) -> str:
        height, width = self.map.shape
        return f"PersonMap({self.estimate} of {len(self.pictures)} pictures, {height}x{width})"

    def mask_for(self, picture: str, fraction: float = 0.01) -> Tensor:
        """The critical mask ``(h, w)``, to be applied to another picture.

        Args:
            picture: Identifier of the picture that the mask will be applied to.
            fraction: Part of the pixels, in (0, 1].

        Raises:
            InputError: The map was made of that picture, or the fraction is not in (0, 1].
        """
        self._refuse([picture], "applied to")
        return self.mask(fraction)

    def mask(self, fraction: float = 0.01) -> Tensor:
        """The critical mask ``(h, w)``, to be shown or measured by itself; see :meth:`mask_for`."""
        return critical_mask(self.map, fraction)

    def overlap(self, other: PersonMap, fraction: float = 0.01) -> float:
        """Bhattacharyya coefficient of the critical masks of two person maps, in [0, 1].

        Raises:
            InputError: The maps share a picture.
        """
        self._refuse(other.pictures, "compared with a map of")
        first, second = self.mask(fraction), other.mask(fraction)
        sizes = float(first.sum()) * float(second.sum())
        return float((first & second).sum()) / sizes**0.5 if sizes else 0.0

    def _refuse(self, pictures: Collection[str], use: str) -> None:
        shared = sorted(set(self.pictures) & set(pictures))
        if shared:
            raise InputError(
                f"{shared[0]}: the person map was made of this picture and cannot be {use} it; use another picture"
            )


def person_map(
    maps: Tensor,
    pictures: Sequence[str],
    estimate: str = "mean",
    population: Population | None = None,
) -> PersonMap:
    """Make the map of a person.

    Args:
        maps: Overall maps of the person's pictures, ``(k, h, w)``, each summing to 1 or empty; empty maps are ignored.
        pictures: An identifier of each picture, such as its SHA-256.
        estimate: Name of the estimate in :data:`PERSON_MAPS`.
        population: Maps of other people, for estimates that need them.

    Raises:
        InputError: There is no map, no such estimate, a picture occurs twice or is part of the population, or the
            estimate needs a population.
    """
    if len(set(pictures)) < len(pictures):
        twice = next(name for name in pictures if list(pictures).count(name) > 1)
        raise InputError(f"{twice}: occurs twice among the person's pictures; remove one")
    shared = sorted(population.pictures & set(pictures)) if population else []
    if shared:
        raise InputError(
            f"{shared[0]}: belongs to the person and to the population; remove it from one"
        )
    chosen = PERSON_MAPS[estimate]
    if chosen.needs_population and population is None:
        raise InputError(
            f"person map {estimate}: needs the maps of other people; give a population"
        )
    if population is not None and population.mean.shape != maps.shape[1:]:
        raise InputError(
            f"population: maps of {population.mean.shape} pixels, the person's have {tuple(maps.shape[1:])}; "
            "use one recognizer"
        )
    full = maps.flatten(1).sum(dim=1) > 0
    if not full.any():
        raise InputError("no picture of the person has a map; use other pictures")
    values = chosen.compute(maps[full].cpu(), population).clip(min=0)
    total = values.sum()
    found = torch.from_numpy((values / (total if total > 0 else 1)).astype(np.float32))
    return PersonMap(found, estimate, tuple(pictures))


def mean(maps: Tensor, _population: Population | None) -> Values:
    """The mean of the pictures' maps. Cost: one map per picture."""
    found: Values = maps.double().mean(dim=0).numpy()
    return found


def shrunk(maps: Tensor, population: Population | None) -> Values:
    """The mean map, drawn towards the population's as far as the pictures of a person usually disagree.

    ``P + w (M - P)``, with M the mean of the ``k`` pictures' maps, P the population's mean map and w
    :meth:`Population.weight`: empirical Bayes with one weight for all pixels (Efron and Morris, "Stein's estimation
    rule and its competitors", JASA 1973). Cost: one map per picture of the person and of the population.
    """
    if population is None:
        raise TypeError("this estimate needs a population")
    own = mean(maps, population)
    found: Values = population.mean + population.weight(len(maps)) * (own - population.mean)
    return found


PERSON_MAPS("mean")(PersonEstimate(mean))
PERSON_MAPS("shrunk")(PersonEstimate(shrunk, needs_population=True))

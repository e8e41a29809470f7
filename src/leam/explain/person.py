"""Person maps: what a recognizer relies on in a person's face, from several pictures of that person.

A person map knows the pictures that it was made of, and refuses to be applied to them or compared with maps of them: a
map that contains a picture's own map resembles it whether or not it says anything about the person.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leam.errors import InputError
from leam.explain.masks import critical_mask
from leam.plugins import Registry

Values = NDArray[np.float64]

SMOOTHING: Final = 0.02
"""Standard deviation of the Gaussian under which ``shrunk`` sees maps, in units of the map's longer side."""
FEWEST_PEOPLE: Final = 10
"""Fewest people with several pictures in a population that ``shrunk`` can learn from."""

_MOST_COMPONENTS = 100
# Part of the covariances between components that is dropped: Schaefer and Strimmer, "A shrinkage approach to
# large-scale covariance matrix estimation", 2005, with their target D and a fixed intensity.
_DIAGONAL = 0.3


@dataclass(frozen=True)
class Population:
    """How the maps of other people vary, between people and between the pictures of a person.

    Attributes:
        mean: Mean over people of their mean maps, smoothed by :data:`SMOOTHING`, ``(h, w)``; sums to 1.
        components: Principal components of the smoothed maps, ``(q, h, w)``, orthonormal.
        between: Covariance between people, in components, ``(q, q)``.
        within: Covariance between the pictures of a person, in components, ``(q, q)``.
        people: Number of people.
        pictures: Identifiers of the pictures.
    """

    mean: Values
    components: Values
    between: Values
    within: Values
    people: int
    pictures: frozenset[str]

    @classmethod
    def of(cls, maps: Tensor, people: Sequence[str], pictures: Sequence[str]) -> Population:
        """Learn from the maps of people.

        The covariances are the estimates of a one-way analysis of variance (Searle, Casella and McCulloch, "Variance
        Components", 1992), without negative variances, their off-diagonal part shrunk by a fixed factor.

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
        smooth = smoothed(maps)
        flat = smooth.reshape(len(smooth), -1)
        own = _means(flat, owner)
        mean = own.mean(axis=0)
        components = _principal_components(flat - mean)
        scores = (flat - mean) @ components.T
        centres = _means(scores, owner)
        residuals = scores - centres[owner]
        within = residuals.T @ residuals / (len(scores) - len(names))
        between = np.cov(centres.T) - within * (1 / counts).mean()
        size = smooth.shape[1:]
        return cls(
            mean.reshape(size),
            components.reshape(-1, *size),
            _towards_diagonal(_without_negative(between)),
            _towards_diagonal(within),
            len(names),
            frozenset(pictures),
        )


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


@dataclass(frozen=True)
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
    """The best linear prediction of the person's map, from noisy maps and the population.

    ``P + B (B + W / k)^-1 (M - P)``, with M the person's smoothed mean map, P that of the population, B the covariance
    between people and W that between a person's pictures, both in the principal components of the population: what the
    pictures of a person do not share is reduced to the population's mean (Efron and Morris, "Empirical Bayes on vector
    observations", Biometrika 1972; Henderson's best linear unbiased prediction). Cost: one map per picture of the
    person and of the population.
    """
    known = _needed(population)
    smooth = smoothed(maps).mean(axis=0)
    flat = known.components.reshape(len(known.components), -1)
    scores = flat @ (smooth - known.mean).ravel()
    total = known.between + known.within / len(maps)
    # Not singular for components that do not vary.
    total += np.eye(len(total)) * (1e-9 * np.trace(total) + np.finfo(np.float64).tiny)
    own = known.between @ np.linalg.solve(total, scores)
    found: Values = known.mean + (flat.T @ own).reshape(known.mean.shape)
    return found


PERSON_MAPS("mean")(PersonEstimate(mean))
PERSON_MAPS("shrunk")(PersonEstimate(shrunk, needs_population=True))


def smoothed(maps: Tensor) -> Values:
    """Maps ``(n, h, w)`` under the Gaussian of :data:`SMOOTHING`."""
    sigma = SMOOTHING * max(maps.shape[1:])
    blurred = [cv2.GaussianBlur(one, (0, 0), sigma) for one in maps.double().cpu().numpy()]
    return np.stack(blurred)


def _needed(population: Population | None) -> Population:
    if population is None:
        raise TypeError("this estimate needs a population")
    return population


def _means(values: Values, owner: NDArray[np.integer]) -> Values:
    """The mean of each person's rows ``(n, c)``, ``(people, c)``."""
    sums = np.zeros((int(owner.max()) + 1, values.shape[1]))
    np.add.at(sums, owner, values)
    found: Values = sums / np.bincount(owner)[:, None]
    return found


def _principal_components(rows: Values) -> Values:
    """Principal components of centred rows ``(n, c)``, ``(q, c)``: at most a third as many as rows."""
    # The eigenvectors of the rows' products give the components, which is faster with few rows.
    variances, directions = np.linalg.eigh(rows @ rows.T)
    count = min(_MOST_COMPONENTS, max(1, len(rows) // 3))
    kept = np.argsort(variances)[::-1][:count]
    kept = kept[variances[kept] > variances.max() * 1e-12]
    found: Values = (directions[:, kept] / np.sqrt(variances[kept])).T @ rows
    return found


def _without_negative(covariance: Values) -> Values:
    """The nearest covariance without negative variances: negative eigenvalues become zero."""
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    found: Values = (vectors * values.clip(min=0)) @ vectors.T
    return found


def _towards_diagonal(covariance: Values) -> Values:
    found: Values = (1 - _DIAGONAL) * covariance + _DIAGONAL * np.diag(np.diag(covariance))
    return found

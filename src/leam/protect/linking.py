"""Which pairs of a person's pictures a recognizer links at its threshold, and where that threshold comes from."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from leam.errors import InputError
from leam.metrics.error_rates import (
    Comparisons,
    Indices,
    error_curve,
    fmr_estimate,
    least_fmr,
    threshold_at_fmr,
)
from leam.metrics.statistics import FEWEST, Estimate
from leam.recognizers.card import Similarity
from leam.study.comparisons import genuine_pairs, impostor_pairs, scores_of

Embeddings = NDArray[np.float32]
MOST_PAIRS = 2_000_000
"""Impostor pairs of a population that are drawn at random if there are more."""


@dataclass(frozen=True)
class Links:
    """Pairs of a person's pictures that a recognizer links.

    Attributes:
        linked: Number of linked pairs.
        pairs: Number of pairs.
        part: The linked part with its interval over pictures, which is given for ten or more; ``n`` counts pictures.
        mean: Mean similarity of the pairs; None without any.
        variance: Its variance over pairs; None for fewer than two.
    """

    linked: int
    pairs: int
    part: Estimate
    mean: float | None
    variance: float | None


@dataclass(frozen=True)
class Threshold:
    """The threshold at which a recognizer links.

    Attributes:
        value: Pairs at or above this similarity are linked.
        source: ``card``, ``option``, or ``population``.
        fmr: The false match rate there on the population, with its interval over people; None without a population.
        pairs: Number of impostor pairs behind it.
    """

    value: float
    source: str
    fmr: Estimate | None = None
    pairs: int = 0


def links_between(
    unchanged: Embeddings,
    changed: Embeddings,
    whose: Indices,
    kind: Similarity,
    threshold: float,
    seed: int,
) -> tuple[Links, Links]:
    """The linked pairs of a changed and an unchanged picture, and of two changed pictures.

    A picture is never compared with its own changed version: whoever has that version's original need not link it.

    Args:
        unchanged: Embeddings of all pictures, ``(n, D)``.
        changed: Embeddings of changed pictures, ``(m, D)``.
        whose: The picture that each was made of, ``(m,)``.
        kind: The recognizer's similarity.
        threshold: Pairs at or above it are linked.
        seed: Random seed.
    """
    n, m = len(unchanged), len(changed)
    first, second = (one.ravel() for one in np.meshgrid(np.arange(n), np.arange(m), indexing="ij"))
    other = first != whose[second]
    mixed = np.stack([first[other], second[other]], axis=1)
    both = np.stack(np.triu_indices(m, 1), axis=1)
    every = np.concatenate([unchanged, changed])
    return (
        _links(
            scores_of(every, mixed + np.array([0, n]), kind),
            mixed[:, 0],
            whose[mixed[:, 1]],
            n,
            threshold,
            seed,
        ),
        _links(
            scores_of(changed, both, kind), whose[both[:, 0]], whose[both[:, 1]], n, threshold, seed
        ),
    )


def links_among(embeddings: Embeddings, kind: Similarity, threshold: float, seed: int) -> Links:
    """The linked pairs of unchanged pictures ``(n, D)``."""
    first, second = np.triu_indices(len(embeddings), 1)
    scores = scores_of(embeddings, np.stack([first, second], axis=1), kind)
    return _links(scores, first, second, len(embeddings), threshold, seed)


def _links(
    scores: NDArray[np.float64],
    first: Indices,
    second: Indices,
    pictures: int,
    threshold: float,
    seed: int,
) -> Links:
    """Pairs share pictures as impostor comparisons share people, so the interval is that of a false match rate."""
    above, used = scores >= threshold, len(np.union1d(first, second))
    linked, pairs = int(above.sum()), len(scores)
    found = Estimate(linked / pairs if pairs else None, None, None, used)
    if used >= FEWEST:
        # The estimate is made for rare events.
        often = 2 * linked > pairs
        rare = Comparisons((above ^ often).astype(float), first, second, pictures)
        found = fmr_estimate(rare, 1.0, seed)
        found = found.linear(-1, 1) if often else found
    mean = float(scores.mean()) if pairs else None
    return Links(linked, pairs, found, mean, float(scores.var(ddof=1)) if pairs > 1 else None)


def expected_part(links: Links, variance: float, threshold: float) -> float | None:
    """The part of the pairs of *other* pictures of the person that a forecast expects to be linked, in [0, 1].

    The similarities are taken as normally distributed. Student's predictive distribution of a further one, with the
    number of pictures as the size of the sample, since pairs share pictures, is above the threshold with this
    probability (Hahn and Meeker, Statistical Intervals, 1991). The linked part itself would promise too much at both
    ends: of two pairs, both or none are linked by chance alone.

    Args:
        links: The pairs that were measured.
        variance: The variance of the similarities; that of all changes together is steadier than that of one.
        threshold: Pairs at or above it are linked.

    Returns:
        None if nothing can be expected of fewer than two pictures, or of similarities that are all the same.
    """
    pictures = links.part.n
    if links.mean is None or pictures < 2 or variance <= 0:  # noqa: PLR2004
        return None
    scale = math.sqrt(variance * (1 + 1 / pictures))
    return float(stats.t.sf((threshold - links.mean) / scale, pictures - 1))


def population_scores(
    embeddings: Embeddings, people: list[str], kind: Similarity, seed: int
) -> Comparisons:
    """Comparisons of the pictures of other people ``(n, D)``."""
    names, owner = np.unique(people, return_inverse=True)
    pairs = np.concatenate([genuine_pairs(owner), impostor_pairs(owner, MOST_PAIRS, seed)[0]])
    scores = scores_of(embeddings, pairs, kind)
    return Comparisons(scores, owner[pairs[:, 0]], owner[pairs[:, 1]], len(names))


def threshold_from(comparisons: Comparisons, fmr: float, seed: int) -> Threshold:
    """The threshold of a stated false match rate on a population.

    Raises:
        InputError: The population has too few pairs of pictures of different people for this rate, or no person with
            two pictures.
    """
    impostors = comparisons.impostors
    pairs = len(impostors.scores)
    least = least_fmr(pairs)
    if least is None or fmr < least:
        supported = "none" if least is None else f"at least {least:g}"
        raise InputError(
            f"--fmr {fmr:g}: the population has {pairs} pairs of different people, which support {supported}; "
            "give more pictures or a larger rate"
        )
    value = threshold_at_fmr(error_curve(comparisons), fmr)
    return Threshold(value, "population", fmr_estimate(impostors, value, seed), pairs)

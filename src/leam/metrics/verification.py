"""Deletion and insertion: verification accuracy as a map's pixels go, or come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leam.errors import InputError
from leam.metrics.occlusion import Chips, Embed, hide
from leam.metrics.statistics import Numbers
from leam.recognizers.card import Similarity
from leam.recognizers.recognizer import similarity

STEPS = 10


@dataclass(frozen=True)
class Pairs:
    """What probes are compared with.

    Attributes:
        mates: The other side's embeddings, ``(N, D)``.
        same: Whether the pair is of one person, ``(N,)``.
        threshold: The similarity from which a pair counts as one person's; see
            :func:`best_threshold`.
        kind: The recognizer's similarity.
    """

    mates: Tensor
    same: NDArray[np.bool_]
    threshold: float
    kind: Similarity


@dataclass(frozen=True)
class VerificationCurve:
    """Verification as pixels are deleted from the probes, or inserted into empty ones.

    Attributes:
        fractions: The part of the pixels deleted or inserted, ``(K,)``, from 0 to 1.
        right: Whether each pair is decided rightly at each step, ``(K, N)``.
    """

    fractions: Numbers
    right: NDArray[np.bool_]

    @property
    def accuracy(self) -> Numbers:
        """The part of the pairs decided rightly at each step, ``(K,)``."""
        return np.asarray(self.right.mean(axis=1))

    @property
    def area(self) -> float:
        """The normalised area under the curve: its mean height by trapezoids, in [0, 1]."""
        widths = np.diff(self.fractions)
        heights = (self.accuracy[1:] + self.accuracy[:-1]) / 2
        return float(widths @ heights / widths.sum())


def best_threshold(similarities: Numbers, same: NDArray[np.bool_]) -> float:
    """The similarity that parts pairs of one person from pairs of two with the fewest errors.

    Args:
        similarities: Of pairs, ``(N,)``.
        same: Which of them are of one person, ``(N,)``.

    Returns:
        Midway between the pairs it parts; the lowest of equally good ones. Pairs at or above it
        count as one person's.

    Raises:
        InputError: There is no pair.
    """
    if not len(similarities):
        raise InputError("no pairs to find a threshold for")
    order = np.argsort(similarities, kind="stable")
    values, truth = similarities[order], same[order]
    # Accepting from position k on: errors are the same pairs before it, the different ones after.
    errors = np.append(0, truth.cumsum()) + np.append((~truth)[::-1].cumsum()[::-1], 0)
    bounds = np.concatenate([values[:1] - 1, (values[1:] + values[:-1]) / 2, values[-1:] + 1])
    # Equal similarities cannot be parted.
    possible = np.concatenate([[True], values[1:] > values[:-1], [True]])
    return float(bounds[np.argmin(np.where(possible, errors, len(values) + 1))])


def deletion(
    chips: Chips, maps: Tensor, pairs: Pairs, embed: Embed, fill: str = "black"
) -> VerificationCurve:
    """Verification accuracy as the highest-ranked pixels are deleted, a tenth at a time.

    Lu, Xu and Ebrahimi, "Towards visual saliency explanations of face verification", WACV 2024:
    the threshold stays that of whole faces. A good map makes accuracy fall at once.

    Args:
        chips: The probes, ``(N, h, w, 3)``.
        maps: Their overall maps for their pairs, ``(N, h, w)``; equal pixels go from the top left.
        pairs: What the probes are compared with.
        embed: The recognizer.
        fill: What a deleted pixel is replaced by.

    Raises:
        InputError: There is no such fill.
    """
    return _curve(chips, maps, pairs, embed, fill, "delete")


def insertion(
    chips: Chips, maps: Tensor, pairs: Pairs, embed: Embed, fill: str = "black"
) -> VerificationCurve:
    """Verification accuracy as the highest-ranked pixels are put into an empty chip, by tenths.

    The counterpart of :func:`deletion`, with the same arguments; a good map makes accuracy rise at
    once.
    """
    return _curve(chips, maps, pairs, embed, fill, "insert")


def _curve(
    chips: Chips,
    maps: Tensor,
    pairs: Pairs,
    embed: Embed,
    fill: str,
    way: Literal["delete", "insert"],
) -> VerificationCurve:
    flat = maps.flatten(1)
    # Each pixel's place in its map's order, the highest-ranked first.
    places = torch.argsort(torch.argsort(flat, dim=1, descending=True, stable=True), dim=1)
    ranks = places.view(maps.shape).cpu().numpy()
    fractions = np.linspace(0, 1, STEPS + 1)
    right = []
    for fraction in fractions:
        top = ranks < round(fraction * flat.shape[1])
        masks = top if way == "delete" else ~top
        probes = embed(hide(chips, masks, fill))
        scores = similarity(probes, pairs.mates, pairs.kind).cpu().numpy()
        right.append((scores >= pairs.threshold) == pairs.same)
    return VerificationCurve(fractions, np.array(right))

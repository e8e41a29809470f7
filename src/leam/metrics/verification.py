"""Deletion and insertion: verification accuracy as a map's highest pixels are removed or added."""

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
"""Steps of a curve."""


@dataclass(frozen=True)
class Pairs:
    """Verification pairs: what each probe is compared with.

    Attributes:
        mates: Embeddings of the other side, ``(N, D)``.
        same: True for genuine pairs, ``(N,)``.
        threshold: Pairs at or above this similarity are accepted; see :func:`best_threshold`.
        kind: The recognizer's similarity.
    """

    mates: Tensor
    same: NDArray[np.bool_]
    threshold: float
    kind: Similarity


@dataclass(frozen=True)
class VerificationCurve:
    """Verification decisions as pixels are deleted from the probes or inserted into empty ones.

    Attributes:
        fractions: The part of the pixels deleted or inserted, ``(K,)``, from 0 to 1.
        right: Whether the decision on each pair is correct at each step, ``(K, N)``.
    """

    fractions: Numbers
    right: NDArray[np.bool_]

    @property
    def accuracy(self) -> Numbers:
        """The verification accuracy at each step, ``(K,)``."""
        return np.asarray(self.right.mean(axis=1))

    @property
    def area(self) -> float:
        """The normalised area under the accuracy curve (trapezoidal rule), in [0, 1]."""
        widths = np.diff(self.fractions)
        heights = (self.accuracy[1:] + self.accuracy[:-1]) / 2
        return float(widths @ heights / widths.sum())


def best_threshold(similarities: Numbers, same: NDArray[np.bool_]) -> float:
    """The threshold that separates genuine from impostor pairs with the fewest errors.

    Args:
        similarities: Similarities of pairs, ``(N,)``.
        same: True for genuine pairs, ``(N,)``.

    Returns:
        Midway between two similarities, the lowest of equally good thresholds; pairs at or above it are accepted.

    Raises:
        InputError: There are no pairs.
    """
    if not len(similarities):
        raise InputError("no pairs: cannot find a threshold")
    order = np.argsort(similarities, kind="stable")
    values, truth = similarities[order], same[order]
    # If pairs are accepted from position k on, errors are genuine pairs before it and impostor pairs from it on.
    errors = np.append(0, truth.cumsum()) + np.append((~truth)[::-1].cumsum()[::-1], 0)
    bounds = np.concatenate([values[:1] - 1, (values[1:] + values[:-1]) / 2, values[-1:] + 1])
    # Equal similarities cannot be separated.
    possible = np.concatenate([[True], values[1:] > values[:-1], [True]])
    return float(bounds[np.argmin(np.where(possible, errors, len(values) + 1))])


def deletion(
    chips: Chips, maps: Tensor, pairs: Pairs, embed: Embed, fill: str = "black"
) -> VerificationCurve:
    """Verification accuracy as the highest pixels of the maps are deleted from the probes, in steps of a tenth.

    Lu, Xu and Ebrahimi, "Towards visual saliency explanations of face verification", WACV 2024; the threshold remains
    that of complete faces. With a good map, accuracy falls quickly.

    Args:
        chips: The probes, ``(N, h, w, 3)``.
        maps: Their overall maps for their pairs, ``(N, h, w)``; ties are deleted from the top left.
        pairs: What the probes are compared with.
        embed: The recognizer's :meth:`~leam.Recognizer.embed`.
        fill: The name of the fill.

    Raises:
        InputError: There is no such fill.
    """
    return _curve(chips, maps, pairs, embed, fill, "delete")


def insertion(
    chips: Chips, maps: Tensor, pairs: Pairs, embed: Embed, fill: str = "black"
) -> VerificationCurve:
    """Verification accuracy as the highest pixels of the maps are inserted into empty chips, in steps of a tenth.

    The counterpart of :func:`deletion`, with the same arguments. With a good map, accuracy rises quickly.
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
    # The rank of each pixel in its map, 0 for the highest.
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

"""How well two label maps agree: a parser with the truth, or two parsers with each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from leam.parsers.regions import LABELS

Counts = NDArray[np.int64]
"""Pixels by their two labels, ``(labels, labels)``: rows of one map, columns of the other."""


def confusion(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> Counts:
    """Count the pixels of every pair of labels in two maps ``(h, w)``; counts may be added."""
    size = len(LABELS)
    pairs = one.astype(np.int64).ravel() * size + other.ravel()
    return np.bincount(pairs, minlength=size**2).reshape(size, size)


def merged(counts: Counts, parts: Sequence[int]) -> Counts:
    """Counts by coarser parts.

    Args:
        counts: By labels, ``(labels, labels)``.
        parts: The part that each label belongs to: ``REGION_OF`` or ``GROUP_OF``.

    Returns:
        ``(parts, parts)``.
    """
    members = np.eye(max(parts) + 1, dtype=np.int64)[list(parts)]
    return members.T @ counts @ members


def accuracy(counts: Counts) -> float:
    """The part of the pixels whose two labels are the same."""
    return float(np.trace(counts) / counts.sum())


def f1(counts: Counts) -> NDArray[np.float64]:
    """F1 (Dice) of each part, ``2 |A and B| / (|A| + |B|)``; NaN for one that is in neither."""
    either = counts.sum(axis=0) + counts.sum(axis=1)
    with np.errstate(invalid="ignore"):
        return np.asarray(2 * np.diag(counts) / either, dtype=np.float64)

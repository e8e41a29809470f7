"""How large a difference is, apart from how sure: effect sizes, and rank correlation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from leam.measures.registry import measure
from leam.measures.statistics import Numbers


@measure("d_paired", "statistics", "none")
def cohens_d_paired(differences: Numbers) -> float:
    """Mean paired difference in units of its own standard deviation (Cohen's d_z, 1988).

    Args:
        differences: One a person, ``(P,)``; NaN counts as absent.

    Returns:
        NaN with fewer than two differences, or where all are equal.
    """
    differences = differences[np.isfinite(differences)]
    return _ratio(differences.mean(), differences.std(ddof=1)) if len(differences) > 1 else np.nan


@measure("d_groups", "statistics", "none")
def cohens_d(first: Numbers, second: Numbers) -> float:
    """Difference of two groups' means in units of their pooled standard deviation (Cohen 1988).

    Args:
        first: One value a person of the first group, ``(a,)``; NaN counts as absent.
        second: The same for the second group, ``(b,)``.

    Returns:
        NaN with fewer than two values in a group, or where nothing varies.
    """
    first, second = first[np.isfinite(first)], second[np.isfinite(second)]
    if min(len(first), len(second)) < 2:  # noqa: PLR2004
        return np.nan
    squares = ((first - first.mean()) ** 2).sum() + ((second - second.mean()) ** 2).sum()
    return _ratio(first.mean() - second.mean(), np.sqrt(squares / (len(first) + len(second) - 2)))


@measure("cliffs_delta", "statistics", "none")
def cliffs_delta(first: Numbers, second: Numbers) -> float:
    """How much oftener a value of the first group is larger than smaller (Cliff 1993).

    Args:
        first: ``(a,)``; NaN counts as absent.
        second: ``(b,)``.

    Returns:
        In [-1, 1]; NaN where a group is empty.
    """
    return 2 * auc(first, second) - 1


def auc(higher: Numbers, lower: Numbers) -> float:
    """Area under the ROC curve: the chance that a value of ``higher`` exceeds one of ``lower``.

    Hanley and McNeil, "The meaning and use of the area under a ROC curve", Radiology 1982. Ties
    count half.

    Args:
        higher: ``(a,)``; NaN counts as absent.
        lower: ``(b,)``.

    Returns:
        In [0, 1], 0.5 by chance; NaN where a group is empty.
    """
    higher, lower = higher[np.isfinite(higher)], np.sort(lower[np.isfinite(lower)])
    if not len(higher) or not len(lower):
        return np.nan
    below = np.searchsorted(lower, higher, side="left")
    up_to = np.searchsorted(lower, higher, side="right")
    return float((below + up_to).mean() / (2 * len(lower)))


def spearman(first: NDArray[np.floating], second: NDArray[np.floating]) -> Numbers:
    """Rank correlation along the last axis (Spearman 1904), equal values sharing their mean rank.

    Args:
        first: ``(..., n)``.
        second: The same shape.

    Returns:
        ``(...)`` in [-1, 1]; NaN where one side is constant.
    """
    a, b = (rankdata(values, axis=-1) for values in (first, second))
    a, b = a - a.mean(axis=-1, keepdims=True), b - b.mean(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        correlations: Numbers = (a * b).sum(axis=-1) / np.sqrt(
            (a**2).sum(axis=-1) * (b**2).sum(axis=-1)
        )
    return correlations


def _ratio(difference: float, deviation: float) -> float:
    return float(difference / deviation) if deviation > 0 else np.nan

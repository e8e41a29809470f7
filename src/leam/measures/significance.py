"""Whether a difference is more than chance: permutation tests, and their correction for many."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from leam.measures.registry import measure
from leam.measures.statistics import Numbers

PERMUTATIONS = 10_000
# Permutations worked on at once, so that memory stays flat.
_BLOCK = 200


@measure("p_paired", "statistics", "lower")
def sign_flip_p(differences: Numbers, seed: int, repeats: int = PERMUTATIONS) -> float:
    """Two-sided p-value of a mean paired difference: under chance each pair's sign may be flipped.

    Fisher, "The Design of Experiments", 1935, drawn at random; the observed signs count as one draw
    (Phipson and Smyth 2010), so that p is never below ``1 / (repeats + 1)``.

    Args:
        differences: One a person, ``(P,)``; NaN counts as absent.
        seed: Of the draws.
        repeats: Number of draws.

    Returns:
        In (0, 1]; NaN where there is no difference to test.
    """
    differences = differences[np.isfinite(differences)]
    generator = np.random.default_rng(seed)
    draws = (
        generator.integers(0, 2, size=(size, len(differences))) * 2.0 @ differences
        - differences.sum()
        for size in _blocks(repeats)
    )
    return _p_value(differences.sum(), draws, repeats) if len(differences) else np.nan


@measure("p_groups", "statistics", "lower")
def label_permutation_p(
    first: Numbers, second: Numbers, seed: int, repeats: int = PERMUTATIONS
) -> float:
    """Two-sided p-value of the difference of two groups' means: under chance labels are exchanged.

    Pitman, "Significance tests which may be applied to samples from any populations", 1937, drawn
    at random; counted as in :func:`sign_flip_p`.

    Args:
        first: One value a person of the first group, ``(a,)``; NaN counts as absent.
        second: The same for the second group, ``(b,)``.
        seed: Of the draws.
        repeats: Number of draws.

    Returns:
        In (0, 1]; NaN where a group is empty.
    """
    first, second = first[np.isfinite(first)], second[np.isfinite(second)]
    if not len(first) or not len(second):
        return np.nan
    pooled = np.concatenate([first, second])
    generator = np.random.default_rng(seed)

    def draws() -> Iterator[Numbers]:
        for size in _blocks(repeats):
            shuffled = generator.permuted(np.broadcast_to(pooled, (size, len(pooled))), axis=1)
            yield shuffled[:, : len(first)].mean(axis=1) - shuffled[:, len(first) :].mean(axis=1)

    return _p_value(first.mean() - second.mean(), draws(), repeats)


def benjamini_hochberg(p_values: Numbers) -> Numbers:
    """p-values corrected for their number, so that 0.05 bounds the part of false discoveries.

    Benjamini and Hochberg, "Controlling the false discovery rate", JRSS B 1995, in its step-up
    form.

    Args:
        p_values: Any shape; NaN stays NaN and is not counted.

    Returns:
        The same shape, in [0, 1], never below the given values.
    """
    adjusted = np.full(p_values.shape, np.nan)
    present = np.isfinite(p_values)
    given = p_values[present]
    order = np.argsort(given)[::-1]
    ranks = np.arange(len(given), 0, -1)
    stepped = np.minimum.accumulate(np.append(1.0, given[order] * (len(given) / ranks)))[1:]
    corrected = np.empty_like(given)
    corrected[order] = stepped
    adjusted[present] = corrected
    return adjusted


def _blocks(repeats: int) -> Iterator[int]:
    for start in range(0, repeats, _BLOCK):
        yield min(_BLOCK, repeats - start)


def _p_value(observed: float, draws: Iterator[Numbers], repeats: int) -> float:
    # Sums in another order differ in their last bits, and must still count as equal.
    bound = abs(observed) * (1 - 1e-12)
    extreme = sum(int((np.abs(block) >= bound).sum()) for block in draws)
    return (1 + extreme) / (1 + repeats)

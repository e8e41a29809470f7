"""Comparisons of two faces in words: a cosine is a similarity, and a Euclidean distance is called a distance."""

from __future__ import annotations

from leam.recognizers.card import Similarity


def measured(similarity: float, kind: Similarity) -> str:
    """A comparison's result: ``similarity 0.312``, or ``distance 0.812`` for a similarity of -0.812.

    Args:
        similarity: The cosine, or minus the Euclidean distance.
        kind: Which of the two.
    """
    return f"{noun(kind)} {amount(similarity, kind)}"


def noun(kind: Similarity) -> str:
    """What a recognizer compares faces by: ``similarity`` or ``distance``."""
    return "distance" if kind == "euclidean" else "similarity"


def amount(similarity: float, kind: Similarity) -> str:
    """A similarity or threshold as a number: distances are positive."""
    return f"{abs(similarity) if kind == 'euclidean' else similarity:.3f}"


def verdict(similarity: float, threshold: float | None, kind: Similarity) -> str:
    """The comparison, the threshold and the decision.

    Args:
        similarity: As for :func:`measured`.
        threshold: Pairs at or above this similarity count as genuine; None if the card states none.
        kind: As for :func:`measured`.
    """
    if threshold is None:
        return f"{measured(similarity, kind)}; no decision, since the recognizer's card states no threshold"
    genuine = similarity >= threshold
    side = {
        "cosine": ("reaches", "is below"),
        "euclidean": ("is within", "is above"),
    }[kind][not genuine]
    decision = "same person" if genuine else "different people"
    return (
        f"{measured(similarity, kind)} {side} the threshold {amount(threshold, kind)}: {decision}"
    )

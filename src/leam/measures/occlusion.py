"""What hiding pixels does to a similarity."""

from __future__ import annotations

from torch import Tensor

from leam.measures.registry import measure
from leam.recognizers.card import Similarity
from leam.recognizers.similarity import similarity


@measure("drop", "faithfulness", "higher")
def drop(clean: Tensor, occluded: Tensor, mates: Tensor, kind: Similarity) -> Tensor:
    """How far hiding pixels lowers a similarity: ``s(clean, mate) - s(occluded, mate)``.

    Args:
        clean: Embeddings of the whole faces, ``(B, D)``.
        occluded: Embeddings of the same faces with pixels hidden, ``(B, D)``.
        mates: What they are compared with: another image's embedding, or the person's template,
            ``(B, D)``.
        kind: The recognizer's similarity.

    Returns:
        ``(B,)``, positive where hiding hurts. In cosine units, or in units of distance for a
        Euclidean recognizer.
    """
    return similarity(clean, mates, kind) - similarity(occluded, mates, kind)

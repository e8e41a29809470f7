"""How alike two embeddings are, larger being more alike."""

from __future__ import annotations

import torch
from torch import Tensor

from leam.recognizers.card import Similarity


def similarity(a: Tensor, b: Tensor, kind: Similarity) -> Tensor:
    """Cosine in [-1, 1], or minus the Euclidean distance, of two sets of embeddings.

    Args:
        a: ``(..., D)``.
        b: ``(..., D)``; broadcasts against ``a``.
        kind: Which of the two.

    Returns:
        ``(...)``, larger being more alike.
    """
    if kind == "cosine":
        return torch.cosine_similarity(a, b, dim=-1)
    distance: Tensor = torch.linalg.vector_norm(a - b, dim=-1)
    return -distance

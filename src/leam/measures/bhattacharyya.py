"""How alike two maps are: the Bhattacharyya coefficient, dense or of critical masks."""

from __future__ import annotations

import torch
from torch import Tensor

from leam.measures.registry import measure


@measure("bc", "specificity", "higher")
def bhattacharyya(first: Tensor, second: Tensor) -> Tensor:
    """Overlap of every map of one set with every map of another: ``sum sqrt(p q)``.

    Bhattacharyya, "On a measure of divergence between two statistical populations", 1943. For two
    critical masks of one size, each scaled to sum 1, it is the fraction of pixels they share.
    Over region shares it compares people without regard to pose, which can fake overlap of pixels.

    Args:
        first: Maps ``(n, h, w)``, masks (bool) or region shares ``(n, R)``, scaled here to sum 1.
        second: The same kind, ``(m, ...)``.

    Returns:
        ``(n, m)`` float32 in [0, 1]; 0 where a map is empty.
    """
    return (_roots(first) @ _roots(second).T).clamp(max=1.0)


def _roots(maps: Tensor) -> Tensor:
    flat = maps.flatten(1).float()
    return torch.sqrt(flat / flat.sum(dim=1, keepdim=True).clamp(min=torch.finfo(flat.dtype).tiny))

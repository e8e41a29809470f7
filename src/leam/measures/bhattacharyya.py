"""How alike two maps are: the Bhattacharyya coefficient, dense or of critical masks."""

from __future__ import annotations

import torch
from torch import Tensor

from leam.measures.registry import measure

# Products and sums of whole numbers of 24 bits are exact in double precision, in whatever order a machine takes them:
# a study gives the same bytes on one thread and on many. What is lost is below single precision.
_SCALE = 2.0**24


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
    roots = _roots(first)
    products = roots @ (roots if second is first else _roots(second)).T
    # Rounded to what single precision holds, so that sums over pairs are exact too.
    return ((products / _SCALE).round() / _SCALE).clamp(max=1.0).float()


def _roots(maps: Tensor) -> Tensor:
    """Square roots of maps scaled to sum 1, ``(n, h w)`` float64: whole numbers from 0 to ``_SCALE``."""
    flat = maps.flatten(1).double()
    shares = flat / flat.sum(dim=1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
    return (shares.sqrt() * _SCALE).round()

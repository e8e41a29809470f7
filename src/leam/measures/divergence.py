"""How far apart two maps are, as layers of one model or as models on one face."""

from __future__ import annotations

import torch
from torch import Tensor

from leam.measures.bhattacharyya import bhattacharyya
from leam.measures.focus import entropies
from leam.measures.registry import measure


@measure("hellinger", "layers", "none")
def hellinger(first: Tensor, second: Tensor) -> Tensor:
    """Hellinger distance of every map of one set to every map of another: ``sqrt(1 - BC)``.

    Args:
        first: Maps ``(n, h, w)``, scaled here to sum 1.
        second: Maps ``(m, h, w)`` of the same size.

    Returns:
        ``(n, m)`` float32 in [0, 1]; 1 where a map is empty.
    """
    return (1 - bhattacharyya(first, second)).clamp(min=0.0).sqrt()


@measure("jensen_shannon", "layers", "none")
def jensen_shannon(first: Tensor, second: Tensor) -> Tensor:
    """Jensen-Shannon divergence of every map of one set from every map of another, in bits.

    Lin, "Divergence measures based on the Shannon entropy", 1991: the entropy of the mean of two
    maps minus the mean of their entropies.

    Args:
        first: Maps ``(n, h, w)``, scaled here to sum 1.
        second: Maps ``(m, h, w)`` of the same size.

    Returns:
        ``(n, m)`` float32 in [0, 1]: 0 for equal maps, 1 for maps that share no pixel; NaN where a
        map is empty.
    """
    p, q = (maps.flatten(1).float() for maps in (first, second))
    p, q = (maps / maps.sum(dim=1, keepdim=True) for maps in (p, q))
    own_p, own_q = entropies(p), entropies(q)
    # Row by row, so that memory grows with the maps, not with their pairs.
    rows = [entropies((row + q) / 2) - (own + own_q) / 2 for row, own in zip(p, own_p, strict=True)]
    return torch.stack(rows).clamp(0.0, 1.0) if rows else p.new_zeros(0, len(q))


@measure("profile_divergence", "layers", "none")
def profile_divergences(profiles: Tensor) -> Tensor:
    """Jensen-Shannon divergence, in bits, between every two profiles of one face.

    A profile is how a map's mass is spread over the regions: of the layers of one model, or of several models. It
    says how differently two maps see the named parts, whatever their resolution.

    Args:
        profiles: ``(n, K, R)``, non-negative, scaled here to sum 1.

    Returns:
        ``(n, K, K)`` float32 in [0, 1], symmetric; NaN where a profile is empty.
    """
    shares = profiles.float() / profiles.float().sum(dim=-1, keepdim=True)
    own = entropies(shares)
    rows = [
        entropies((shares[:, k : k + 1] + shares) / 2) - (own[:, k : k + 1] + own) / 2
        for k in range(shares.shape[1])
    ]
    return torch.stack(rows, dim=1).clamp(0.0, 1.0)

"""How alike maps are: the Bhattacharyya coefficient, divergences, rank agreement, and clusters of recognizers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
from scipy.spatial.distance import squareform
from scipy.stats import rankdata
from torch import Tensor

from leam.metrics.statistics import Numbers


def spread(maps: Tensor) -> Tensor:
    """How widely a map is spread: its Shannon entropy over that of a uniform map.

    Args:
        maps: ``(..., h, w)``, non-negative, scaled here to sum 1.

    Returns:
        ``(...)`` float32 in [0, 1]: 0 for a single pixel, 1 for a uniform map; NaN for an empty
        one.
    """
    flat = maps.flatten(-2).float()
    shares = flat / flat.sum(dim=-1, keepdim=True)
    return entropies(shares) / math.log2(flat.shape[-1])


def centre_of_mass(maps: Tensor) -> Tensor:
    """The mean place of a map's mass.

    Args:
        maps: ``(..., h, w)``, non-negative.

    Returns:
        ``(..., 2)`` float32: x from 0 (left edge) to 1 (right edge), and y from 0 (top) to 1
        (bottom); a pixel's mass lies at its centre. NaN for an empty map.
    """
    maps = maps.float()
    height, width = maps.shape[-2:]
    total = maps.sum(dim=(-2, -1))
    x = (torch.arange(width, device=maps.device) + 0.5) / width
    y = (torch.arange(height, device=maps.device) + 0.5) / height
    across, down = (maps.sum(dim=-2) * x).sum(dim=-1), (maps.sum(dim=-1) * y).sum(dim=-1)
    return torch.stack([across / total, down / total], dim=-1)


def entropies(shares: Tensor) -> Tensor:
    """Shannon entropy in bits of distributions ``(..., n)`` that sum to 1, ``(...)``."""
    terms: Tensor = torch.special.xlogy(shares, shares)
    return -terms.sum(dim=-1) / math.log(2)


# Products and sums of whole numbers of 24 bits are exact in double precision, in whatever order a machine takes them:
# a study gives the same bytes on one thread and on many. What is lost is below single precision.
_SCALE = 2.0**24


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


def hellinger(first: Tensor, second: Tensor) -> Tensor:
    """Hellinger distance of every map of one set to every map of another: ``sqrt(1 - BC)``.

    Args:
        first: Maps ``(n, h, w)``, scaled here to sum 1.
        second: Maps ``(m, h, w)`` of the same size.

    Returns:
        ``(n, m)`` float32 in [0, 1]; 1 where a map is empty.
    """
    return (1 - bhattacharyya(first, second)).clamp(min=0.0).sqrt()


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


def map_agreement(maps: Tensor) -> Tensor:
    """Bhattacharyya coefficient between models' overall maps of the same face.

    Args:
        maps: Models' maps (or critical masks) in one geometry, ``(M, B, h, w)``; see
            :func:`leam.measures.geometry.carry_maps`.

    Returns:
        ``(B, M, M)`` float32 in [0, 1]; 0 where a map is empty.
    """
    faces = maps.transpose(0, 1)
    return torch.stack([bhattacharyya(face, face) for face in faces])


def rank_agreement(maps: Tensor) -> Tensor:
    """Rank correlation (Spearman 1904) between models' overall maps of the same face.

    Args:
        maps: Models' maps in one geometry, ``(M, B, h, w)``.

    Returns:
        ``(B, M, M)`` float32 in [-1, 1]; NaN where a map is constant.
    """
    ranks = rankdata(maps.transpose(0, 1).flatten(2).cpu().numpy(), axis=-1)
    ranks -= ranks.mean(axis=-1, keepdims=True)
    lengths = np.sqrt((ranks**2).sum(axis=-1))
    with np.errstate(invalid="ignore", divide="ignore"):
        correlations = ranks @ ranks.transpose(0, 2, 1)
        correlations /= lengths[:, :, None] * lengths[:, None, :]
    return torch.from_numpy(correlations.astype(np.float32))


@dataclass(frozen=True)
class Clusters:
    """Models joined one by one, the most alike first.

    Attributes:
        order: The models' positions as they stand along the tree, ``(M,)``.
        merges: What is joined, and at which distance: SciPy's linkage, ``(M - 1, 4)``.
    """

    order: tuple[int, ...]
    merges: Numbers


def cluster(agreement: Numbers) -> Clusters:
    """Join models by agreement: hierarchical clustering, mean linkage of ``1 - agreement``.

    Sokal and Michener, "A statistical method for evaluating systematic relationships", 1958. Along
    the tree, neighbours are as alike as the tree allows (Bar-Joseph et al. 2001).

    Args:
        agreement: Between every two models, ``(M, M)``, symmetric, at most 1.
    """
    if len(agreement) < 2:  # noqa: PLR2004
        return Clusters(tuple(range(len(agreement))), np.zeros((0, 4)))
    distances = np.clip(1 - (agreement + agreement.T) / 2, 0, None)
    np.fill_diagonal(distances, 0.0)
    condensed = squareform(distances, checks=False)
    merges = optimal_leaf_ordering(linkage(condensed, method="average"), condensed)
    return Clusters(tuple(int(leaf) for leaf in leaves_list(merges)), np.asarray(merges))

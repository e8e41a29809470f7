"""How similar maps are (Bhattacharyya coefficient, divergences, rank correlation), clusters, and spread of maps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from leam.errors import InputError, first_line
from leam.metrics.statistics import Numbers

Maps: TypeAlias = "Tensor | ArrayLike"
"""Maps or masks: torch tensors, or anything that NumPy makes an array of."""

# Roots are rounded to 24 bits: products and sums of such integers are exact in double precision, so that the order of
# additions, and with it the number of threads, does not change a result. The rounding error is below single precision.
_SCALE = 2.0**24


def bhattacharyya(first: Maps, second: Maps) -> float:
    """Bhattacharyya coefficient of two maps: ``sum sqrt(p q)``.

    Bhattacharyya, "On a measure of divergence between two statistical populations", 1943. For two critical masks of the
    same size it is the part of the pixels that they share. Alignment and pose alone make masks and region areas of one
    person more alike than those of two people; see :func:`leam.metrics.specificity.auc_margins`.

    Args:
        first: A map ``(h, w)``, a mask (bool) or region shares ``(R,)``; normalised to sum 1 here.
        second: The same kind, of the same shape.

    Returns:
        In [0, 1]: 1 for equal maps, 0 for maps without a common pixel.

    Raises:
        InputError: The shapes differ or are those of several maps, a value is negative or not finite, or a map is all
            zero, so that it cannot be compared.
    """
    maps = [_numbers(name, one) for name, one in (("first", first), ("second", second))]
    shapes = [tuple(one.shape) for one in maps]
    if shapes[0] != shapes[1] or len(shapes[0]) not in {1, 2}:
        raise InputError(
            f"maps of shapes {shapes[0]} and {shapes[1]}: expected two maps of one shape (h, w); "
            "bhattacharyya_matrix compares sets of maps"
        )
    for name, one in zip(("first", "second"), maps, strict=True):
        if not one.any():
            raise InputError(f"{name} map: all zero; an empty map cannot be compared")
    return float(bhattacharyya_matrix(maps[0][None], maps[1][None]))


def bhattacharyya_matrix(first: Maps, second: Maps) -> Tensor:
    """Bhattacharyya coefficient of every map of one set with every map of another; see :func:`bhattacharyya`.

    Args:
        first: Maps ``(n, h, w)``, masks (bool) or region shares ``(n, R)``; normalised to sum 1 here.
        second: The same kind, ``(m, ...)``.

    Returns:
        ``(n, m)`` float32 in [0, 1]; 0 if a map is empty.

    Raises:
        InputError: The shapes do not fit each other, or a value is negative or not finite.
    """
    same = second is first
    first = _numbers("first", first)
    second = first if same else _numbers("second", second)
    if first.ndim < 2 or first.shape[1:] != second.shape[1:]:  # noqa: PLR2004  a set of maps
        raise InputError(
            f"maps of shapes {tuple(first.shape)} and {tuple(second.shape)}: expected (n, h, w) and (m, h, w); "
            "bhattacharyya compares two maps"
        )
    roots = _roots(first)
    products = roots @ (roots if same else _roots(second)).T
    # Rounded to single precision, so that sums over pairs are exact, too.
    return ((products / _SCALE).round() / _SCALE).clamp(max=1.0).float()


def hellinger(first: Tensor, second: Tensor) -> Tensor:
    """Hellinger distance of every map of one set from every map of another: ``sqrt(1 - bc)``.

    Args:
        first: Maps ``(n, h, w)``; normalised to sum 1 here.
        second: Maps ``(m, h, w)`` of the same size.

    Returns:
        ``(n, m)`` float32 in [0, 1]; 1 if a map is empty.
    """
    return (1 - bhattacharyya_matrix(first, second)).clamp(min=0.0).sqrt()


def jensen_shannon(first: Tensor, second: Tensor) -> Tensor:
    """Jensen-Shannon divergence of every map of one set from every map of another, in bits.

    Lin, "Divergence measures based on the Shannon entropy", 1991: the entropy of the mean of two maps minus the
    mean of their entropies.

    Args:
        first: Maps ``(n, h, w)``; normalised to sum 1 here.
        second: Maps ``(m, h, w)`` of the same size.

    Returns:
        ``(n, m)`` float32 in [0, 1]: 0 for equal maps, 1 for maps that share no pixel; NaN if a map is empty.
    """
    p, q = (maps.flatten(1).float() for maps in (first, second))
    p, q = (maps / maps.sum(dim=1, keepdim=True) for maps in (p, q))
    own_p, own_q = entropies(p), entropies(q)
    # Row by row, so that memory does not grow with the number of pairs.
    rows = [entropies((row + q) / 2) - (own + own_q) / 2 for row, own in zip(p, own_p, strict=True)]
    return torch.stack(rows).clamp(0.0, 1.0) if rows else p.new_zeros(0, len(q))


def profile_divergences(profiles: Tensor) -> Tensor:
    """Jensen-Shannon divergence, in bits, of every two region profiles of a face.

    A profile is the distribution of a map's mass over the regions, for each layer of a recognizer or for each of
    several recognizers. Profiles make maps of different resolutions comparable.

    Args:
        profiles: ``(n, K, R)``, non-negative; normalised to sum 1 here.

    Returns:
        ``(n, K, K)`` float32 in [0, 1], symmetric; NaN if a profile is empty.
    """
    shares = profiles.float() / profiles.float().sum(dim=-1, keepdim=True)
    own = entropies(shares)
    rows = [
        entropies((shares[:, k : k + 1] + shares) / 2) - (own[:, k : k + 1] + own) / 2
        for k in range(shares.shape[1])
    ]
    return torch.stack(rows, dim=1).clamp(0.0, 1.0)


def map_agreement(maps: Tensor) -> Tensor:
    """Bhattacharyya coefficients of several recognizers' overall maps of the same faces.

    Args:
        maps: The recognizers' maps or critical masks in one geometry, ``(M, B, h, w)``; see
            :func:`leam.metrics.geometry.carry_maps`.

    Returns:
        ``(B, M, M)`` float32 in [0, 1]; 0 if a map is empty.
    """
    faces = maps.transpose(0, 1)
    return torch.stack([bhattacharyya_matrix(face, face) for face in faces])


def rank_agreement(maps: Tensor) -> Tensor:
    """Rank correlations (Spearman 1904) of several recognizers' overall maps of the same faces.

    Args:
        maps: The recognizers' maps in one geometry, ``(M, B, h, w)``.

    Returns:
        ``(B, M, M)`` float32 in [-1, 1]; NaN if a map is constant.
    """
    from scipy.stats import rankdata  # noqa: PLC0415  slow to import

    ranks = rankdata(maps.transpose(0, 1).flatten(2).cpu().numpy(), axis=-1)
    ranks -= ranks.mean(axis=-1, keepdims=True)
    lengths = np.sqrt((ranks**2).sum(axis=-1))
    with np.errstate(invalid="ignore", divide="ignore"):
        correlations = ranks @ ranks.transpose(0, 2, 1)
        correlations /= lengths[:, :, None] * lengths[:, None, :]
    return torch.from_numpy(correlations.astype(np.float32))


@dataclass(frozen=True)
class Clusters:
    """A hierarchical clustering of recognizers.

    Attributes:
        order: The recognizers' positions in the order of the tree's leaves, ``(M,)``.
        merges: SciPy's linkage matrix, ``(M - 1, 4)``.
    """

    order: tuple[int, ...]
    merges: Numbers


def cluster(agreement: Numbers) -> Clusters:
    """Cluster recognizers by agreement: average linkage of the distances ``1 - agreement``.

    Sokal and Michener, "A statistical method for evaluating systematic relationships", 1958; leaves in the optimal
    order of Bar-Joseph et al. 2001.

    Args:
        agreement: Of every two recognizers, ``(M, M)``, symmetric, at most 1.
    """
    from scipy.cluster.hierarchy import (  # noqa: PLC0415  slow to import
        leaves_list,
        linkage,
        optimal_leaf_ordering,
    )
    from scipy.spatial.distance import squareform  # noqa: PLC0415

    if len(agreement) < 2:  # noqa: PLR2004
        return Clusters(tuple(range(len(agreement))), np.zeros((0, 4)))
    distances = np.clip(1 - (agreement + agreement.T) / 2, 0, None)
    np.fill_diagonal(distances, 0.0)
    condensed = squareform(distances, checks=False)
    merges = optimal_leaf_ordering(linkage(condensed, method="average"), condensed)
    return Clusters(tuple(int(leaf) for leaf in leaves_list(merges)), np.asarray(merges))


def spread(maps: Tensor) -> Tensor:
    """The spread of a map: its Shannon entropy divided by that of a uniform map.

    Args:
        maps: ``(..., h, w)``, non-negative; normalised to sum 1 here.

    Returns:
        ``(...)`` float32 in [0, 1]: 0 for a single pixel, 1 for a uniform map; NaN for an empty map.
    """
    flat = maps.flatten(-2).float()
    shares = flat / flat.sum(dim=-1, keepdim=True)
    return entropies(shares) / math.log2(flat.shape[-1])


def centre_of_mass(maps: Tensor) -> Tensor:
    """The centre of a map's mass.

    Args:
        maps: ``(..., h, w)``, non-negative.

    Returns:
        ``(..., 2)`` float32: x from 0 (left edge) to 1 (right edge) and y from 0 (top) to 1 (bottom), with each pixel's
        mass at its centre; NaN for an empty map.
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


def _numbers(name: str, maps: Maps) -> Tensor:
    """Maps as a tensor of numbers or masks, without NaN and negative values."""
    try:
        found = maps if isinstance(maps, Tensor) else torch.from_numpy(np.array(maps))
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} map: not an array of numbers ({first_line(error)})") from None
    if found.is_complex():
        raise InputError(f"{name} map: complex numbers; expected non-negative ones")
    if not torch.isfinite(found).all():
        raise InputError(f"{name} map: has values that are not finite")
    if (found < 0).any():
        raise InputError(f"{name} map: has negative values; expected non-negative ones")
    return found


def _roots(maps: Tensor) -> Tensor:
    """Square roots of normalised maps, ``(n, h w)`` float64: integers from 0 to ``_SCALE``."""
    flat = maps.flatten(1).double()
    shares = flat / flat.sum(dim=1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
    return (shares.sqrt() * _SCALE).round()

"""Whether models look at the same places of the same face, and which models are alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
from scipy.spatial.distance import squareform
from scipy.stats import rankdata
from torch import Tensor

from leam.measures.bhattacharyya import bhattacharyya
from leam.measures.registry import measure
from leam.measures.statistics import Numbers


@measure("agreement", "agreement", "none")
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


@measure("rank_agreement", "agreement", "none")
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

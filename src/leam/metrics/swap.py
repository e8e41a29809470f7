"""The region swap: one region of a face is replaced by another person's, and a map should find it.

Follows the inpainting game of Williford, May and Byrne, "Explainable face recognition" (ECCV 2020), and the patches of
Huber et al. (WACV 2024). The region comes from another person in a similar pose, so that the face and its changed copy
differ in this region only, and the difference of their embeddings must come from it.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leam.explain.targets import Target, negated, reference_target
from leam.faces.reading import Picture
from leam.metrics.fills import Mask
from leam.metrics.statistics import auc
from leam.recognizers.card import Similarity


def like_posed(landmarks: NDArray[np.float64], person: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each face, the face of another person with the most similar aligned landmarks.

    Args:
        landmarks: In chip pixels, ``(n, 68, 2)``.
        person: The person of each face, ``(n,)``; at least two people.

    Returns:
        Positions among the faces, ``(n,)``.
    """
    from scipy.spatial.distance import cdist  # noqa: PLC0415  slow to import

    flat = landmarks.reshape(len(landmarks), -1)
    distances = cdist(flat, flat)
    distances[person[:, None] == person] = np.inf
    nearest: NDArray[np.int64] = distances.argmin(axis=1)
    return nearest


def swap_region(chip: Picture, donor: Picture, region: Mask) -> Picture:
    """A copy of a chip ``(h, w, 3)`` whose region ``(h, w)`` comes from the donor's chip ``(h, w, 3)``."""
    return np.where(region[:, :, None], donor, chip)


def difference_target(originals: Tensor, kind: Similarity) -> Target:
    """The target that explains the difference between changed faces and their originals: minus their similarity.

    Args:
        originals: Embeddings of the original faces, one for each changed face, ``(B, D)``.
        kind: The recognizer's similarity.
    """
    return negated(reference_target(originals, kind))


def swap_ranking(maps: Tensor, regions: Tensor) -> Tensor:
    """How well a map separates a region's pixels from the others: the area under its ROC curve.

    Args:
        maps: Overall maps of the changed faces under :func:`difference_target`, ``(B, h, w)``.
        regions: The swapped regions, ``(B, h, w)`` bool.

    Returns:
        ``(B,)`` float32 in [0, 1], 0.5 by chance; NaN if a region is empty or covers the chip.
    """
    values = maps.cpu().double().numpy()
    inside = regions.cpu().numpy()
    areas = [auc(one[where], one[~where]) for one, where in zip(values, inside, strict=True)]
    return torch.tensor(areas)

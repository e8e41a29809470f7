"""The region swap: a face with one region of another's, and whether the map finds it.

A hiding game from any folder of people, after Williford, May and Byrne, "Explainable face
recognition" (ECCV 2020), who paint a region anew, and Huber et al. (WACV 2024), who paste a patch.
Here a region is taken from another person in the same pose, so that the face and its changed copy
differ there only, and what parts their embeddings must lie there.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from torch import Tensor

from leam.explain.targets import Target, reference_target
from leam.faces.reading import Picture
from leam.metrics.fills import Mask
from leam.metrics.statistics import auc
from leam.recognizers.card import Similarity


def like_posed(landmarks: NDArray[np.float64], person: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each face the face of another person whose aligned landmarks lie nearest.

    Args:
        landmarks: In chip pixels, ``(n, 68, 2)``.
        person: Whose each face is, ``(n,)``; two people at least.

    Returns:
        Positions among the faces, ``(n,)``.
    """
    flat = landmarks.reshape(len(landmarks), -1)
    distances = cdist(flat, flat)
    distances[person[:, None] == person] = np.inf
    nearest: NDArray[np.int64] = distances.argmin(axis=1)
    return nearest


def swap_region(chip: Picture, donor: Picture, region: Mask) -> Picture:
    """A copy of a chip ``(h, w, 3)`` with a region ``(h, w)`` of the donor's chip ``(h, w, 3)``."""
    return np.where(region[:, :, None], donor, chip)


def difference_target(originals: Tensor, kind: Similarity) -> Target:
    """What parts a changed face from its original: minus their similarity.

    Args:
        originals: The unchanged faces' embeddings, one for each changed face, ``(B, D)``.
        kind: The recognizer's similarity.
    """
    alike = reference_target(originals, kind)
    return lambda embeddings: -alike(embeddings)


def swap_ranking(maps: Tensor, regions: Tensor) -> Tensor:
    """How well a map ranks the pixels of a region above all others: the area under its ROC curve.

    Args:
        maps: Overall maps of the changed faces under :func:`difference_target`, ``(B, h, w)``.
        regions: The exchanged pixels, ``(B, h, w)`` bool.

    Returns:
        ``(B,)`` float32 in [0, 1], 0.5 by chance; NaN where a region is empty or everything.
    """
    values = maps.cpu().double().numpy()
    inside = regions.cpu().numpy()
    areas = [auc(one[where], one[~where]) for one, where in zip(values, inside, strict=True)]
    return torch.tensor(areas)

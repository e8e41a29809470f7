"""Warp maps and masks from one recognizer's crop of a face to another's."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leam.explain.aggregates import Size, distribution
from leam.faces.alignment import Matrix


def between(source: Matrix, target: Matrix) -> Matrix:
    """The affine map from one chip's pixels to another's of the same picture, ``(2, 3)``.

    Args:
        source: From picture to the first chip's pixels, as :attr:`Chip.matrix`.
        target: From picture to the second chip's pixels.
    """
    back = np.linalg.inv(source[:, :2])
    linear = target[:, :2] @ back
    return np.hstack([linear, (target[:, 2] - linear @ source[:, 2])[:, None]])


def carry_maps(
    maps: Tensor, sources: Sequence[Matrix], targets: Sequence[Matrix], size: Size
) -> Tensor:
    """Maps in the geometry of other chips of the same pictures, with bilinear interpolation.

    Args:
        maps: One map per face, ``(B, h, w)``, non-negative.
        sources: Each face's :attr:`Chip.matrix` in the maps' geometry.
        targets: Each face's :attr:`Chip.matrix` in the new geometry.
        size: Height and width of the new maps.

    Returns:
        ``(B, *size)`` float32, each summing to 1 or empty; what lies outside the new chip is lost.
    """
    carried = [
        cv2.warpAffine(one, between(source, target), (size[1], size[0]), flags=cv2.INTER_LINEAR)
        for one, source, target in zip(maps.cpu().float().numpy(), sources, targets, strict=True)
    ]
    return distribution(torch.from_numpy(np.stack(carried)))


def carry_masks(
    masks: NDArray[np.bool_], sources: Sequence[Matrix], targets: Sequence[Matrix], size: Size
) -> NDArray[np.bool_]:
    """Masks in the geometry of other chips of the same pictures, with nearest-neighbour interpolation.

    The number of pixels changes with the scale. To keep it, carry the map and take its critical mask in the new
    geometry.

    Args:
        masks: One mask per face, ``(B, h, w)``.
        sources: As in :func:`carry_maps`.
        targets: As in :func:`carry_maps`.
        size: Height and width of the new masks.

    Returns:
        ``(B, *size)`` bool.
    """
    carried = [
        cv2.warpAffine(
            mask.astype(np.uint8),
            between(source, target),
            (size[1], size[0]),
            flags=cv2.INTER_NEAREST,
        )
        for mask, source, target in zip(masks, sources, targets, strict=True)
    ]
    return np.stack(carried).astype(bool)

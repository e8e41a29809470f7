"""Critical masks: the pixels with the highest values of a map."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leam.errors import InputError


def pixel_count(pixels: int, fraction: float) -> int:
    """The number of pixels in a fraction in (0, 1] of ``pixels``: at least one, halves rounded to even.

    Raises:
        InputError: The fraction is not in (0, 1].
    """
    if not 0 < fraction <= 1:
        raise InputError(f"top fraction {fraction}: must be above 0 and at most 1")
    return max(1, round(pixels * fraction))


def critical_mask(maps: Tensor, fraction: float = 0.01) -> Tensor:
    """The top fraction of each map's pixels.

    Ties are taken from the top left on, so that a map always gives the same mask with the same number of pixels.

    Args:
        maps: ``(..., h, w)``, non-negative.
        fraction: Part of the pixels, in (0, 1].

    Returns:
        ``(..., h, w)`` bool; all masks have the same number of pixels, except that the mask of an all-zero map is
        empty.

    Raises:
        InputError: The fraction is not in (0, 1].
    """
    flat = maps.flatten(-2)
    count = pixel_count(flat.shape[-1], fraction)
    threshold = flat.topk(count, dim=-1).values[..., -1:]
    above = flat > threshold
    level = flat == threshold
    missing = count - above.sum(dim=-1, keepdim=True)
    mask = above | (level & (level.cumsum(dim=-1) <= missing))
    return (mask & (flat.amax(dim=-1, keepdim=True) > 0)).view(maps.shape)


def compact_mask(
    maps: Tensor, fraction: float = 0.01, *, smoothing: float = 0.02, smallest: int = 9
) -> Tensor:
    """The top fraction of each smoothed map's pixels, without small components.

    Components (8-connected) of fewer than ``smallest`` pixels are dropped and replaced by the next pixels of larger
    ones, so that the number of pixels is that of :func:`critical_mask`. The last component may be cut to reach this
    number.

    Args:
        maps: ``(B, h, w)``, non-negative.
        fraction: Part of the pixels, in (0, 1].
        smoothing: Standard deviation of the Gaussian, in units of the map's longer side; 0 for none.
        smallest: The smallest number of pixels of a component.

    Returns:
        ``(B, h, w)`` bool; the mask of an all-zero map is empty.

    Raises:
        InputError: The fraction is not in (0, 1].
    """
    masks = [
        _without_specks(_smoothed(values, smoothing), fraction, smallest)
        for values in maps.detach().cpu().float().numpy()
    ]
    return torch.from_numpy(np.stack(masks)).to(maps.device)


def _smoothed(values: NDArray[np.float32], smoothing: float) -> NDArray[np.float32]:
    sigma = smoothing * max(values.shape)
    return np.asarray(cv2.GaussianBlur(values, (0, 0), sigma) if sigma > 0 else values)


def _without_specks(
    values: NDArray[np.float32], fraction: float, smallest: int
) -> NDArray[np.bool_]:
    """The top pixels of a map ``(h, w)`` in large components."""
    count = pixel_count(values.size, fraction)
    if values.max() <= 0:
        return np.zeros(values.shape, dtype=bool)
    order = np.argsort(-values.ravel(), kind="stable")

    def large(pixels: int) -> NDArray[np.bool_]:
        top = np.zeros(values.size, dtype=np.uint8)
        top[order[:pixels]] = 1
        _, labels, stats, _ = cv2.connectedComponentsWithStats(top.reshape(values.shape))
        sizes = np.where(np.arange(len(stats)) > 0, stats[:, cv2.CC_STAT_AREA], 0)
        return np.asarray(sizes[labels] >= min(smallest, count))

    # The number of kept pixels grows with the number of candidates, so that the smallest sufficient number can be
    # found by bisection.
    low, high = count, values.size
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if large(middle).sum() >= count else (middle + 1, high)
    kept = order[large(low).ravel()[order]][:count]
    mask = np.zeros(values.size, dtype=bool)
    mask[kept] = True
    return mask.reshape(values.shape)

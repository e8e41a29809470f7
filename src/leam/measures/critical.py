"""The critical mask: the pixels that matter most."""

from __future__ import annotations

from torch import Tensor

from leam.errors import InputError


def pixel_count(pixels: int, fraction: float) -> int:
    """How many of ``pixels`` a fraction in (0, 1] is: at least one, halves rounded to even.

    Raises:
        InputError: The fraction is not in (0, 1].
    """
    if not 0 < fraction <= 1:
        raise InputError(f"top fraction {fraction}: must be above 0 and at most 1")
    return max(1, round(pixels * fraction))


def critical_mask(maps: Tensor, fraction: float = 0.01) -> Tensor:
    """The top fraction of each map's pixels.

    Equal values are taken from the top left on, so that the same map always gives the same mask of
    the same size.

    Args:
        maps: ``(..., h, w)``, non-negative.
        fraction: Part of the pixels, in (0, 1].

    Returns:
        ``(..., h, w)`` bool; every mask has the same number of pixels, but that of an all-zero map
        has none.

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

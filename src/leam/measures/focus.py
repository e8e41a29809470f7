"""Where a layer looks, and how widely: centre of mass and entropy of its map."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from leam.measures.registry import measure


@measure("spread", "layers", "none")
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


@measure("centre_of_mass", "layers", "none")
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

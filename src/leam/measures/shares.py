"""How a map or a critical mask is spread over the regions of the face."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from leam.measures.registry import measure


@measure("region_share", "regions", "none")
def region_shares(weights: Tensor, regions: Tensor, count: int) -> Tensor:
    """The part of a critical mask (or of a map's mass) inside each region.

    Args:
        weights: Critical masks or maps, ``(..., B, h, w)``, non-negative.
        regions: Each pixel's region, ``(B, h, w)`` integers in [0, count).
        count: Number of regions.

    Returns:
        ``(..., B, count)`` float32, summing to 1 over regions; all zero for an empty mask or map.
    """
    members = functional.one_hot(regions.flatten(1).long(), count).float()
    sums = torch.einsum("...bp,bpr->...br", weights.flatten(-2).float(), members)
    return sums / sums.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(sums.dtype).tiny)


@measure("region_area", "regions", "none")
def region_areas(regions: Tensor, count: int) -> Tensor:
    """The part of the picture each region covers, ``(B, count)``, from regions ``(B, h, w)``."""
    return functional.one_hot(regions.flatten(1).long(), count).float().mean(dim=1)


@measure("region_density", "regions", "none")
def region_densities(shares: Tensor, areas: Tensor) -> Tensor:
    """Share ``(..., B, R)`` over area ``(B, R)``: 1 by chance; NaN where a region is absent."""
    return torch.where(areas > 0, shares / areas, torch.nan)

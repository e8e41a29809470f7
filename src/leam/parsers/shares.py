"""How a map or a critical mask is spread over the regions of the face."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from leam.explain.aggregates import Size


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


def region_areas(regions: Tensor, count: int) -> Tensor:
    """The part of the picture each region covers, ``(B, count)``, from regions ``(B, h, w)``."""
    return functional.one_hot(regions.flatten(1).long(), count).float().mean(dim=1)


def region_densities(shares: Tensor, areas: Tensor) -> Tensor:
    """Share ``(..., B, R)`` over area ``(B, R)``: 1 by chance; NaN where a region is absent."""
    return torch.where(areas > 0, shares / areas, torch.nan)


def cell_regions(regions: Tensor, count: int, size: Size) -> Tensor:
    """How much of each region lies under each cell of a coarser grid: what enlarging would give it.

    The transpose of :func:`leam.mapping.aggregate.upsample`: a layer map's mass in a region is the same on its own
    grid, weighted by this, as at the input's size, without being enlarged.

    Args:
        regions: Each pixel's region, ``(B, h, w)`` integers in [0, count).
        count: Number of regions.
        size: Height and width of the grid.

    Returns:
        ``(B, count, *size)`` float32, in pixels times the weight that enlarging gives them.
    """
    members = functional.one_hot(regions.long(), count).permute(0, 3, 1, 2).float()
    down, across = (
        _enlarging(cells, pixels) for cells, pixels in zip(size, regions.shape[1:], strict=True)
    )
    return down.T @ members @ across


def cell_shares(weights: Tensor, cells: Tensor) -> Tensor:
    """The part of layer maps (or of their critical cells) inside each region, from their own grid.

    Args:
        weights: Layer maps or masks of one grid, ``(L, B, h_l, w_l)``, non-negative.
        cells: Of :func:`cell_regions`, ``(B, R, h_l, w_l)``.

    Returns:
        ``(L, B, R)`` float32, summing to 1 over regions; all zero for an empty mask or map.
    """
    sums = torch.einsum("lbp,brp->lbr", weights.flatten(2).float(), cells.flatten(2))
    return sums / sums.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(sums.dtype).tiny)


def _enlarging(cells: int, pixels: int) -> Tensor:
    """The weights of linear enlarging, ``(pixels, cells)``."""
    unit = torch.eye(cells)[None]
    return functional.interpolate(unit, size=pixels, mode="linear", align_corners=False)[0].T

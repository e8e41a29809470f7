"""The distribution of maps and critical masks over the regions of the face."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def region_shares(weights: Tensor, regions: Tensor, count: int) -> Tensor:
    """The part of a critical mask, or of a map's mass, in each region.

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
    """The part of the picture that each region covers, ``(B, count)``, from regions ``(B, h, w)``."""
    return functional.one_hot(regions.flatten(1).long(), count).float().mean(dim=1)


def region_densities(shares: Tensor, areas: Tensor) -> Tensor:
    """Share ``(..., B, R)`` divided by area ``(B, R)``: 1 by chance, NaN if a region is absent."""
    return torch.where(areas > 0, shares / areas, torch.nan)


def cell_regions(regions: Tensor, count: int, size: tuple[int, int]) -> Tensor:
    """The part of each region under each cell of a coarser grid.

    The transpose of bilinear upsampling (:func:`leam.explain.aggregates.upsample`): weighted by the result, a layer map
    has the same mass in each region on its own grid as it would have at the input's size.

    Args:
        regions: Each pixel's region, ``(B, h, w)`` integers in [0, count).
        count: Number of regions.
        size: Height and width of the grid.

    Returns:
        ``(B, count, *size)`` float32: pixels, weighted as upsampling weights them.
    """
    members = functional.one_hot(regions.long(), count).permute(0, 3, 1, 2).float()
    down, across = (
        _upsampling(cells, pixels) for cells, pixels in zip(size, regions.shape[1:], strict=True)
    )
    return down.T @ members @ across


def cell_shares(weights: Tensor, cells: Tensor) -> Tensor:
    """The part of layer maps, or of their critical cells, in each region, computed on the layer's own grid.

    Args:
        weights: Layer maps or masks of one grid, ``(L, B, h_l, w_l)``, non-negative.
        cells: From :func:`cell_regions`, ``(B, R, h_l, w_l)``.

    Returns:
        ``(L, B, R)`` float32, summing to 1 over regions; all zero for an empty mask or map.
    """
    sums = torch.einsum("lbp,brp->lbr", weights.flatten(2).float(), cells.flatten(2))
    return sums / sums.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(sums.dtype).tiny)


def _upsampling(cells: int, pixels: int) -> Tensor:
    """The weights of linear upsampling, ``(pixels, cells)``."""
    unit = torch.eye(cells)[None]
    return functional.interpolate(unit, size=pixels, mode="linear", align_corners=False)[0].T

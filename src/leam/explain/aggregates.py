"""From the maps of a network's layers to one overall map.

Each aggregate takes layer maps ``(B, h_l, w_l)`` that sum to 1 (all zero where a layer has no map for a face) from
early to late, and the input's size, and gives ``(B, h, w)``, non-negative, not yet scaled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import reduce

import torch
from torch import Tensor
from torch.nn import functional

from leam.explain.backends import kernels as compiled_maps
from leam.plugins import Registry

Size = tuple[int, int]
Aggregate = Callable[[Sequence[Tensor], Size], Tensor]

AGGREGATES: Registry[Aggregate] = Registry("aggregate", "leam.aggregates")
"""The aggregates by name."""


def upsample(maps: Tensor, size: Size) -> Tensor:
    """Maps ``(B, h_l, w_l)`` at the input's size ``(B, h, w)``, as densities: bilinear, each cell's mass kept."""
    if maps.shape[1:] == size:
        return maps
    cells = maps.shape[1] * maps.shape[2] / (size[0] * size[1])
    # Faces side by side, as if they were channels: torch's loop runs along those, and is four times as fast.
    beside = (maps * cells)[None].contiguous(memory_format=torch.channels_last)
    return functional.interpolate(beside, size=size, mode="bilinear", align_corners=False)[0]


def distribution(maps: Tensor) -> Tensor:
    """Scale non-negative maps ``(B, h, w)`` to sum 1; a map that is zero or not finite becomes all zero."""
    return distributions([maps])[0][0]


def distributions(maps: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], Tensor]:
    """The :func:`distribution` of each layer's maps ``(B, h_l, w_l)``.

    Returns:
        The layers' maps, and which of them are all zero, ``(L, B)``.
    """
    found = compiled_maps.scaled(maps)
    if found is not None:
        return found
    scaled, empty = [], []
    for layer in maps:
        sums = layer.sum(dim=(1, 2), keepdim=True)
        sound = torch.isfinite(sums) & (sums > torch.finfo(sums.dtype).tiny)
        scaled.append(torch.where(sound, layer / torch.where(sound, sums, 1.0), 0.0))
        empty.append(~sound.flatten())
    return tuple(scaled), torch.stack(empty)


@AGGREGATES("mean")
def mean(maps: Sequence[Tensor], size: Size) -> Tensor:
    """The mean of the layers' maps. Layers of one size are summed before they are enlarged together."""
    return _weighted_mean(maps, [1.0] * len(maps), size)


@AGGREGATES("late")
def late(maps: Sequence[Tensor], size: Size) -> Tensor:
    """The mean, a layer weighted by its place from early (small) to late (large)."""
    return _weighted_mean(maps, [float(place + 1) for place in range(len(maps))], size)


@AGGREGATES("last")
def last(maps: Sequence[Tensor], size: Size) -> Tensor:
    """The last layer's map alone, as in Grad-CAM's usual practice."""
    return upsample(maps[-1], size)


@AGGREGATES("sizes")
def sizes(maps: Sequence[Tensor], size: Size) -> Tensor:
    """The mean over grid sizes of the mean over a size's layers, so that no resolution outvotes another."""
    weights = [0.0] * len(maps)
    for places in _places_by_size(maps).values():
        for place in places:
            weights[place] = 1.0 / len(places)
    return _weighted_mean(maps, weights, size)


@AGGREGATES("product")
def product(maps: Sequence[Tensor], size: Size) -> Tensor:
    """The geometric mean: what every layer agrees on. A layer without a map has no vote."""
    logs = torch.zeros(maps[0].shape[0], *size, device=maps[0].device)
    votes = torch.zeros(maps[0].shape[0], 1, 1, device=maps[0].device)
    pixels = size[0] * size[1]
    for layer in maps:
        alive = (layer.sum(dim=(1, 2), keepdim=True) > 0).float()
        # One hundredth of the uniform density keeps one silent layer from silencing all.
        logs += alive * torch.log(upsample(layer, size) * pixels + 0.01)
        votes += alive
    return torch.exp(logs / votes.clamp(min=1)) * (votes > 0)


@AGGREGATES("max")
def maximum(maps: Sequence[Tensor], size: Size) -> Tensor:
    """The largest value over the layers."""
    return torch.stack([upsample(layer, size) for layer in maps]).amax(dim=0)


def _weighted_mean(maps: Sequence[Tensor], weights: Sequence[float], size: Size) -> Tensor:
    total = sum(weights)
    shares = [weight / total for weight in weights]
    found = compiled_maps.enlarged(maps, shares, size)
    if found is not None:
        return found
    # Enlarging is linear, so the sum of a size's layers is enlarged once.
    enlarged = (
        upsample(_sum(maps[place] * shares[place] for place in places), size)
        for places in _places_by_size(maps).values()
    )
    return _sum(enlarged)


def _sum(maps: Iterable[Tensor]) -> Tensor:
    return reduce(torch.add, maps)


def _places_by_size(maps: Sequence[Tensor]) -> dict[Size, list[int]]:
    """Where the maps of each size are."""
    found: dict[Size, list[int]] = {}
    for place, layer in enumerate(maps):
        found.setdefault((layer.shape[1], layer.shape[2]), []).append(place)
    return found

"""Aggregates: from the maps of a network's layers to one overall map.

Each takes layer maps ``(B, h_l, w_l)`` from early to late layers, where each map sums to 1 or is all zero (empty), and
the input's size, and returns ``(B, h, w)``, non-negative and not yet normalised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import reduce

import torch
from torch import Tensor
from torch.nn import functional

from leam.plugins import Registry

Size = tuple[int, int]
Aggregate = Callable[[Sequence[Tensor], Size], Tensor]

AGGREGATES: Registry[Aggregate] = Registry("aggregate", "leam.aggregates")
"""The aggregates by name."""

# Float32 has seven digits: what is smaller than this part of another layer's map is lost in the sums behind it.
_NEGLIGIBLE = 1e-6


def upsample(maps: Tensor, size: Size) -> Tensor:
    """Maps ``(B, h_l, w_l)`` as densities at the input's size ``(B, h, w)``: bilinear, total mass kept."""
    if maps.shape[1:] == size:
        return maps
    cells = maps.shape[1] * maps.shape[2] / (size[0] * size[1])
    # With the faces in the place of channels, torch's interpolation is four times as fast.
    faces_last = (maps * cells)[None].contiguous(memory_format=torch.channels_last)
    return functional.interpolate(faces_last, size=size, mode="bilinear", align_corners=False)[0]


def distribution(maps: Tensor) -> Tensor:
    """Normalise non-negative maps ``(B, h, w)`` to sum 1; a map that is zero or not finite becomes all zero."""
    return distributions([maps])[0][0]


def distributions(maps: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], Tensor]:
    """Normalise each layer's maps ``(B, h_l, w_l)`` as :func:`distribution` does.

    A map also counts as zero where its sum is below 1e-6 of the largest layer's: it then consists of rounding errors,
    which normalisation would raise to the weight of the other layers.

    Returns:
        The layers' maps, and a flag for those that are all zero, ``(L, B)`` bool.
    """
    sums = torch.stack([layer.sum(dim=(1, 2)) for layer in maps])
    known = torch.isfinite(sums)
    least = _NEGLIGIBLE * torch.where(known, sums, 0.0).amax(dim=0)
    valid = known & (sums > torch.finfo(sums.dtype).tiny) & (sums >= least)
    normalised = list(maps)
    for places in _places_by_size(maps).values():
        layers = torch.stack([maps[place] for place in places])
        chosen = valid[places][:, :, None, None]
        total = sums[places][:, :, None, None]
        layers.div_(torch.where(chosen, total, 1.0)).masked_fill_(~chosen, 0.0)
        for place, layer in zip(places, layers, strict=True):
            normalised[place] = layer
    return tuple(normalised), ~valid


@AGGREGATES("mean")
def mean(maps: Sequence[Tensor], size: Size) -> Tensor:
    """The mean of the layers' maps."""
    return _weighted_mean(maps, [1.0] * len(maps), size)


@AGGREGATES("late")
def late(maps: Sequence[Tensor], size: Size) -> Tensor:
    """The mean of the layers' maps with weights 1, 2, 3, ... from the first layer to the last."""
    return _weighted_mean(maps, [float(place + 1) for place in range(len(maps))], size)


@AGGREGATES("last")
def last(maps: Sequence[Tensor], size: Size) -> Tensor:
    """The map of the last layer alone, the usual choice of Grad-CAM."""
    return upsample(maps[-1], size)


@AGGREGATES("sizes")
def sizes(maps: Sequence[Tensor], size: Size) -> Tensor:
    """The mean of the layers of each grid size, then the mean over grid sizes, so that each resolution counts alike."""
    weights = [0.0] * len(maps)
    for places in _places_by_size(maps).values():
        for place in places:
            weights[place] = 1.0 / len(places)
    return _weighted_mean(maps, weights, size)


@AGGREGATES("smooth")
def smooth(maps: Sequence[Tensor], size: Size) -> Tensor:
    """The aggregate ``sizes`` of layer maps after the binomial filter [1 2 1]/4 along both axes, total mass kept.

    A strided convolution or pooling reads the cells of its input unevenly, so that gradients before it repeat with a
    period of two cells (Odena et al., "Deconvolution and checkerboard artifacts", Distill 2016). The filter's response
    at a period of p cells is ``cos(pi / p) ** 2``: it removes that lattice and the scattered pixels of critical masks,
    and blurs the rest. Outermost cells are repeated at the border. Layers that all have one grid size are not
    filtered: no stride lies between them.
    """
    if len(_places_by_size(maps)) == 1:
        return sizes(maps, size)
    return sizes([binomial(layer) for layer in maps], size)


@AGGREGATES("product")
def product(maps: Sequence[Tensor], size: Size) -> Tensor:
    """The geometric mean over layers, which is high only where all layers agree; empty maps are excluded."""
    logs = torch.zeros(maps[0].shape[0], *size, device=maps[0].device)
    counts = torch.zeros(maps[0].shape[0], 1, 1, device=maps[0].device)
    pixels = size[0] * size[1]
    for layer in maps:
        present = (layer.sum(dim=(1, 2), keepdim=True) > 0).float()
        # One hundredth of the uniform density keeps a pixel that is zero in one layer above zero.
        logs += present * torch.log(upsample(layer, size) * pixels + 0.01)
        counts += present
    return torch.exp(logs / counts.clamp(min=1)) * (counts > 0)


@AGGREGATES("max")
def maximum(maps: Sequence[Tensor], size: Size) -> Tensor:
    """The maximum over layers."""
    return torch.stack([upsample(layer, size) for layer in maps]).amax(dim=0)


def binomial(maps: Tensor) -> Tensor:
    """Maps ``(B, h, w)`` after the filter [1 2 1]/4 along both axes; outermost cells are repeated."""
    padded = functional.pad(maps, (1, 1, 1, 1), mode="replicate")
    rows = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
    return (rows[..., :-2] + 2 * rows[..., 1:-1] + rows[..., 2:]) / 16


def _weighted_mean(maps: Sequence[Tensor], weights: Sequence[float], size: Size) -> Tensor:
    total = sum(weights)
    # Upsampling is linear, so the layers of one size are summed before they are upsampled.
    upsampled = (
        upsample(_sum(maps[place] * (weights[place] / total) for place in places), size)
        for places in _places_by_size(maps).values()
    )
    return _sum(upsampled)


def _sum(maps: Iterable[Tensor]) -> Tensor:
    return reduce(torch.add, maps)


def _places_by_size(maps: Sequence[Tensor]) -> dict[Size, list[int]]:
    """The positions of the layers of each grid size."""
    places: dict[Size, list[int]] = {}
    for place, layer in enumerate(maps):
        places.setdefault((layer.shape[1], layer.shape[2]), []).append(place)
    return places

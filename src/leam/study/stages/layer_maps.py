"""Small maps of every layer and picture, which the page of people shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from leam.explain.methods import LEAM
from leam.results.shards import Shard, axes
from leam.study.explained import EXPLAIN
from leam.study.plan import Plan
from leam.study.scene import MapBatch
from leam.study.stage import STAGES, Stage

LAYER_MAPS: Final = "layer_maps"
"""The stage that stores :class:`LayerMaps`."""
SIDE: Final = 14
"""Rows and columns of a stored map. At 8 bits, they add about 5 % to the shards of a study by eleven recognizers."""


@dataclass(frozen=True)
class LayerMaps(Shard):
    """Small maps of each layer for a slice's faces."""

    maps: Annotated[
        NDArray[np.uint8],
        axes(
            "face",
            "layer",
            SIDE,
            SIDE,
            doc="The layer's map, averaged in 14x14 cells, divided by its largest cell, times 255; 0 if it is empty.",
            reveals="map",
        ),
    ]


@STAGES(LAYER_MAPS)
class LayerMapStage(Stage[LayerMaps]):
    """Stores the maps of each layer at a small size."""

    name = LAYER_MAPS
    title = "small maps of each layer"
    needs = (EXPLAIN,)
    shard = LayerMaps

    def applies(self, plan: Plan) -> bool:
        """Whether the method has layer maps."""
        return plan.settings.method == LEAM

    def of_maps(self, batch: MapBatch) -> LayerMaps:
        """The small maps of a batch of faces."""
        found: dict[int, Tensor] = {}
        for places, layers in batch.layers_by_size():
            found |= dict(zip(places, _small(layers), strict=True))
        none = torch.empty(len(batch.subjects), 0, SIDE, SIDE, dtype=torch.uint8)
        each = [found[place][:, None] for place in range(len(found))]
        return LayerMaps(torch.cat([none, *each], dim=1).numpy())


def _small(layers: Tensor) -> Tensor:
    """Maps ``(L, b, h, w)`` as ``(L, b, SIDE, SIDE)`` uint8."""
    size = (SIDE, SIDE)
    if min(layers.shape[2:]) < SIDE:
        small = functional.interpolate(layers, size=size, mode="bilinear", align_corners=False)
    else:
        small = functional.adaptive_avg_pool2d(layers, size)
    highest = small.amax(dim=(2, 3), keepdim=True)
    scaled = torch.where(highest > 0, small / highest, 0).mul(255).round()
    return scaled.to(torch.uint8)

"""The maps of every face, which the other stages use."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leam.explain.aggregates import upsample
from leam.explain.masks import critical_mask
from leam.study.explained import EXPLAIN, Explained
from leam.study.scene import MapBatch
from leam.study.stage import STAGES, Stage

# Layer maps are kept only as sums over faces, for pictures, with at most this side length.
_PICTURE_SIDE = 56


@STAGES(EXPLAIN)
class Explain(Stage[Explained]):
    """Explains every face and stores its overall map, critical mask and embedding."""

    name = EXPLAIN
    title = "maps, critical masks and embeddings"
    in_audit = True
    shard = Explained

    def of_maps(self, batch: MapBatch) -> Explained:
        """The maps of a batch of faces."""
        maps = batch.maps
        overall = maps.overall.cpu()
        density = (overall * overall[0].numel()).numpy().astype(np.float16)
        critical = critical_mask(overall, batch.settings.top).numpy()
        return Explained(
            layers=np.array([layer.name for layer in maps.layers], dtype=np.str_),
            position=np.array([one.position for one in batch.subjects], dtype=np.int64),
            matrix=batch.matrices,
            embedding=maps.embeddings.cpu().numpy(),
            density=density,
            density_sum=density.sum(axis=0, dtype=np.float64),
            critical=np.packbits(critical.reshape(len(critical), -1), axis=1),
            empty=torch.cat([maps.overall_empty[None], maps.empty]).T.cpu().numpy(),
            layer_sum=_layer_sums(batch),
            face_sum=batch.images.sum(axis=0, dtype=np.int64),
        )


def _layer_sums(batch: MapBatch) -> NDArray[np.float32]:
    """The maps of each layer summed over the faces, at a common small size, ``(L, s, s)``; L may be 0."""
    height, width = batch.maps.overall.shape[1:]
    size = (min(_PICTURE_SIDE, height), min(_PICTURE_SIDE, width))
    sums: dict[int, Tensor] = {}
    for places, layers in batch.layers_by_size():
        enlarged = upsample(layers.sum(dim=1), size)
        sums |= {place: enlarged[i] * enlarged[i].numel() for i, place in enumerate(places)}
    none = torch.empty(0, *size)
    return torch.cat([none, *(sums[place][None] for place in range(len(sums)))]).numpy()

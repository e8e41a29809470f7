"""The stored maps and templates of a slice, which most stages read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from leam.results.shards import Shard, axes

EXPLAIN = "explain"
"""The stage that stores :class:`Explained`."""
TEMPLATES = "templates"
"""The stage that stores :class:`PersonTemplates`."""


@dataclass(frozen=True)
class PersonTemplates(Shard):
    """The templates of a slice's people."""

    template: Annotated[
        NDArray[np.float32],
        axes("person", "dimension", doc="The template of each person.", reveals="embedding"),
    ]


@dataclass(frozen=True)
class Explained(Shard):
    """The maps of a slice's faces."""

    layers: Annotated[NDArray[np.str_], axes("layer", doc="Names of the layers, early to late.")]
    position: Annotated[NDArray[np.int64], axes("face", doc="Position of the picture in the plan.")]
    matrix: Annotated[
        NDArray[np.float64],
        axes("face", 2, 3, doc="Transform from picture to chip pixels.", reveals="appearance"),
    ]
    embedding: Annotated[
        NDArray[np.float32], axes("face", "dimension", doc="The embedding.", reveals="embedding")
    ]
    density: Annotated[
        NDArray[np.float16],
        axes(
            "face",
            "row",
            "column",
            doc="The overall map times its number of pixels.",
            reveals="map",
        ),
    ]
    density_sum: Annotated[
        NDArray[np.float64],
        axes("row", "column", doc="Sum over faces of ``density``.", summed=True, reveals="map"),
    ]
    critical: Annotated[
        NDArray[np.uint8],
        axes("face", "byte", doc="The critical mask as packed bits, row by row.", reveals="map"),
    ]
    empty: Annotated[
        NDArray[np.bool_],
        axes("face", "map", doc="Whether the overall map, then each layer's map, is empty."),
    ]
    layer_sum: Annotated[
        NDArray[np.float32],
        axes(
            "layer",
            "side",
            "width",
            doc="Sum over faces of each layer's map.",
            summed=True,
            reveals="map",
        ),
    ]
    face_sum: Annotated[
        NDArray[np.int64],
        axes(
            "row",
            "column",
            3,
            doc="Sum over faces of the aligned faces, RGB.",
            summed=True,
            reveals="appearance",
        ),
    ]

    @property
    def masks(self) -> NDArray[np.bool_]:
        """The critical masks, ``(n, h, w)``; needs ``critical`` and ``density``."""
        return unpacked(self.critical, self.density.shape[1:])


def unpacked(bits: NDArray[np.uint8], size: tuple[int, ...]) -> NDArray[np.bool_]:
    """Masks ``(n, *size)`` from packed bits ``(n, bytes)``, row by row."""
    flat = np.unpackbits(bits, axis=1, count=size[0] * size[1])
    return flat.reshape(-1, *size).astype(bool)

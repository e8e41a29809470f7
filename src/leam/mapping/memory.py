"""How many faces fit into the memory at hand."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from leam.mapping.layers import Layer

# Measured (benchmarks/cost.py): portions whose layers take more than this are slower on a processor, since their
# activations leave its caches and their memory is given back to the system and asked for again.
_FAST_BYTES = 128 << 20
_FLOAT_BYTES = 4


def layer_bytes(layers: Sequence[Layer]) -> int:
    """The bytes of all layers' activations of one face, float32."""
    return sum(_FLOAT_BYTES * layer.channels * math.prod(layer.size) for layer in layers)


def portion(layers: Sequence[Layer], count: int, device: torch.device) -> int:
    """How many faces of a batch are best run at once: all of them on a GPU, equal portions on a processor."""
    if device.type != "cpu":
        return max(count, 1)
    most = max(1, _FAST_BYTES // max(layer_bytes(layers), 1))
    return math.ceil(count / math.ceil(count / most)) if count else 1

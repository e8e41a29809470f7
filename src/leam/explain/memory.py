"""Memory: how many faces to process at once, and the allocator settings of worker processes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import psutil
import torch

from leam.explain.layers import Layer
from leam.recognizers.recognizer import Recognizer

# Measured with benchmarks/cost.py: portions of 32 faces are as fast as any, portions of 16 are nearly as fast and take
# half of the memory. Smaller ones are slow, since torch then computes 1x1 convolutions by another routine.
_BEST, _LEAST = 32, 16
_GPU = 64
# The bytes that the layers' activations of a portion may take, and those that they may take to reach 16 faces.
_SOME_BYTES, _MOST_BYTES = 256 << 20, 512 << 20
_FLOAT_BYTES = 4
# Bytes that the graph keeps for a face, relative to its layers' activations: these, their normalised form, and the
# gradients in progress.
_GRAPH = 3
# The share of free memory to plan with; the rest is for other processes and for what the estimate leaves out.
_SHARE = 0.5


def worker_environment() -> dict[str, str]:
    """Environment variables for processes that explain many faces.

    They make glibc's allocator keep freed memory for the next request. By default it returns large blocks to the
    operating system, which clears every page before it hands them out again: maps then took up to 1.4 times as long.
    Such a process grows by about a tenth and does not shrink. Other C libraries ignore the variables.
    """
    return {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1)}


def layer_bytes(layers: Sequence[Layer]) -> int:
    """The size in bytes of all layers' activations for one face, float32."""
    return sum(_FLOAT_BYTES * layer.channels * math.prod(layer.size) for layer in layers)


def portion(layers: Sequence[Layer], count: int, device: torch.device) -> int:
    """How many faces of a batch to run at once: up to 64 on a GPU, equal portions on a CPU.

    Portions on a CPU have 32 to 63 faces, or all faces of a smaller batch; fewer, if possible 16 to 31, where their
    activations take much memory.
    """
    if device.type != "cpu" or not count:
        return max(min(count, _GPU), 1)
    face = max(layer_bytes(layers), 1)
    size = max(min(_BEST, _SOME_BYTES // face), min(_LEAST, _MOST_BYTES // face), 1)
    return math.ceil(count / max(1, count // size))


def batch_size(
    recognizer: Recognizer, layers: Sequence[Layer], *, memory: int | None = None, most: int = 256
) -> int:
    """How many faces to explain in one call, given the memory.

    The estimate fills half of the memory: the maps of all faces at the input's size, twice (they are made from others),
    and the graph of the faces that run at once.

    Args:
        recognizer: The recognizer.
        layers: Its layers, as an :class:`leam.explain.explainer.Explainer` has them.
        memory: Bytes to plan with; by default the free memory of the recognizer's device.
        most: The largest number to return.

    Returns:
        At least 1.
    """
    free = free_memory(recognizer.device) if memory is None else memory
    height, width = recognizer.card.input_size
    maps = 2 * _FLOAT_BYTES * height * width * (len(layers) + 1)
    graph = _GRAPH * layer_bytes(layers)
    room = int(_SHARE * free)
    if recognizer.device.type == "cpu":
        return max(1, min(most, (room - graph * portion(layers, most, recognizer.device)) // maps))
    return max(1, min(most, room // (maps + graph)))


def free_memory(device: torch.device) -> int:
    """Bytes of memory that are available on a device."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)

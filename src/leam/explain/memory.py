"""Memory: how many faces to process at once, and the allocator settings of worker processes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import psutil
import torch

from leam.explain.layers import Layer
from leam.recognizers.recognizer import Recognizer

# Measured with benchmarks/cost.py: larger portions leave the CPU's caches. For fewer than 16 images torch computes 1x1
# convolutions by a routine that took up to twice as long on one thread, and several threads share fewer than 32 images
# unevenly.
_ON_ONE_THREAD, _ON_SEVERAL = 16, 32
# The most bytes that the layers' activations of a portion may take.
_MOST_BYTES = 512 << 20
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
    """How many faces of a batch to run at once: all of them on a GPU, equal portions on a CPU.

    Where memory allows, portions have 16 to 31 faces (32 to 63 on several threads), or all faces of a smaller batch.
    """
    if device.type != "cpu" or not count:
        return max(count, 1)
    preferred = _ON_SEVERAL if torch.get_num_threads() > 1 else _ON_ONE_THREAD
    size = max(1, min(preferred, _MOST_BYTES // max(layer_bytes(layers), 1)))
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

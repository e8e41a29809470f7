"""How many faces fit into the memory at hand."""

from __future__ import annotations

import ctypes
import math
import os
from collections.abc import Sequence
from pathlib import Path

import torch

from leam.explain.layers import Layer
from leam.recognizers.recognizer import Recognizer

# Measured (benchmarks/cost.py): portions whose layers take more than this are slower on a processor, since their
# activations leave its caches and their memory is given back to the system and asked for again.
_FAST_BYTES = 256 << 20
# The C library asks the system for larger blocks each time, which then clears every page of them anew.
_BLOCK_BYTES = 32 << 20
# In one thread torch computes 1x1 convolutions of fewer than 16 images by another routine, which took up to twice as
# long; several threads share out fewer than 32 badly. A portion may take more than the fast memory for their sake, but
# not more than twice of it.
_LEAST_ALONE, _LEAST_SHARED = 16, 32
_FLOAT_BYTES = 4
# Names of malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
# What the graph keeps of a face, over its layers' activations: those, their normalised form, and gradients at work.
_GRAPH = 3
# Memory for others, and for what the estimate leaves out.
_SHARE = 0.5


def layer_bytes(layers: Sequence[Layer]) -> int:
    """The bytes of all layers' activations of one face, float32."""
    return sum(map(_bytes, layers))


def _bytes(layer: Layer) -> int:
    return _FLOAT_BYTES * layer.channels * math.prod(layer.size)


def portion(layers: Sequence[Layer], count: int, device: torch.device) -> int:
    """How many faces of a batch are best run at once: all of them on a GPU, equal portions on a processor.

    Where portions of 16 fit (on several threads, of 32), none but the last is smaller.
    """
    if device.type != "cpu" or not count:
        return max(count, 1)
    largest, face = max(map(_bytes, layers), default=1), max(layer_bytes(layers), 1)
    wanted = (_LEAST_SHARED, _LEAST_ALONE) if torch.get_num_threads() > 1 else (_LEAST_ALONE,)
    least = next((number for number in wanted if number * face <= 2 * _FAST_BYTES), 1)
    most = max(least, min(_FAST_BYTES // face, (_BLOCK_BYTES - 1) // largest))
    return max(min(least, count), math.ceil(count / math.ceil(count / most)))


def batch_size(
    recognizer: Recognizer, layers: Sequence[Layer], *, memory: int | None = None, most: int = 256
) -> int:
    """How many faces to explain in one call, from the memory at hand.

    Half of the memory is planned with: the maps of every face at the input's size, twice (they are made from others),
    and the graph of as many faces as run at once.

    Args:
        recognizer: What is explained.
        layers: Its layers, as an :class:`Explainer` has them.
        memory: Bytes to plan with; what is free on the recognizer's device by default.
        most: Never more than this.

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


def keep_freed_memory() -> None:
    """Have this process keep what it frees for what it needs next, where its C library is GNU's.

    Else large blocks go back to the system after each layer, which clears every page of them anew for the next one:
    maps then took up to 1.4 times as long. The process grows somewhat larger (a tenth was measured), and shrinks no
    more: right for a process of our own, and a user's choice in theirs.
    """
    try:
        library = ctypes.CDLL("libc.so.6")
    except OSError:
        return
    if hasattr(library, "mallopt"):
        library.mallopt(_MMAP_MAX, 0)
        library.mallopt(_TRIM_THRESHOLD, 2**31 - 1)


def free_memory(device: torch.device) -> int:
    """Bytes that can be had on a device without others giving up theirs."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    table = Path("/proc/meminfo")
    if table.is_file():
        lines = dict(line.split(":", 1) for line in table.read_text(encoding="ascii").splitlines())
        return int(lines["MemAvailable"].split()[0]) << 10
    # Elsewhere: a quarter of all memory, where the system tells, else a gigabyte.
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4
    return 1 << 30

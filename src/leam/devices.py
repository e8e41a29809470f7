"""The devices that networks run on, and the precision that they compute with."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, get_args

import torch

from leam.errors import InputError

CPU = torch.device("cpu")
AUTO = "auto"
"""Stands for the best available device: a GPU if there is one, otherwise the processor."""

Precision = Literal["float32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


def available() -> list[str]:
    """Names of the devices of this machine, the best one first."""
    cuda = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return [*cuda, *mps, "cpu"]


def resolve(device: str | torch.device = AUTO) -> torch.device:
    """The device that a name stands for.

    Args:
        device: ``auto``, ``cpu``, ``cuda`` (the first GPU), ``cuda:N`` or ``mps``. A ``torch.device`` is returned as it
            is.

    Raises:
        InputError: This machine has no such device; the message names those that it has.
    """
    return devices_of(device)[0]


def devices_of(device: str | torch.device = AUTO) -> list[torch.device]:
    """The devices that several processes can share: all GPUs for ``auto`` and ``cuda``, otherwise the one named.

    Raises:
        InputError: As for :func:`resolve`.
    """
    if isinstance(device, torch.device):
        return [device]
    names = available()
    kind = names[0].partition(":")[0] if device == AUTO else device
    found = [name for name in names if kind in {name, name.partition(":")[0]}]
    if not found:
        raise InputError(f"device {device}: not available; this machine has {', '.join(names)}")
    return [torch.device(name) for name in found]


def description(device: torch.device) -> str:
    """A device with its model, such as ``cuda:0 (NVIDIA H100 80GB HBM3)``; ``cpu`` alone, of any model."""
    if device.type == "cuda":
        return f"cuda:{device.index or 0} ({torch.cuda.get_device_name(device)})"
    return f"mps ({platform.machine()})" if device.type == "mps" else str(device)


def check_precision(precision: str) -> Precision:
    """The precision of this name.

    Raises:
        InputError: There is no such precision.
    """
    for known in PRECISIONS:
        if precision == known:
            return known
    raise InputError(f"precision {precision}: not known; available: {', '.join(PRECISIONS)}")


@contextmanager
def full_float32() -> Iterator[None]:
    """Multiply float32 numbers with all of their digits inside the block.

    By default, torch rounds the factors of a GPU's convolutions to 10 bits (TF32). Maps then differ from those of a
    processor in the third digit.
    """
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before

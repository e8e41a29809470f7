"""Tell the tensors of a forward pass apart without keeping them: a trace that kept all would take all memory."""

from __future__ import annotations

import ctypes
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

import torch
from torch import Tensor, nn

_MANY_MODULES = 2000
# mallopt's number of the size from which on a block has pages of its own, that size, and glibc's largest one.
_MMAP_THRESHOLD, _OWN_PAGES, _LARGEST = -3, 64 << 10, 32 << 20


class Identities:
    """Numbers tensors. Unlike an ``id``, a number is not given again when its tensor is gone."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref[Tensor], int]] = {}
        self._numbers = count()

    def of(self, tensor: Tensor) -> int:
        """The number of a tensor."""
        known = self._known.get(id(tensor))
        if known is None or known[0]() is not tensor:
            known = self._known[id(tensor)] = (weakref.ref(tensor), next(self._numbers))
        return known[1]


def shell(tensor: Tensor) -> Tensor:
    """A tensor of the same shape, type and ``requires_grad`` on the meta device, without values."""
    found = torch.empty_strided(
        tensor.shape, tensor.stride(), dtype=tensor.dtype, device=torch.device("meta")
    )
    return found.requires_grad_() if tensor.requires_grad else found


@contextmanager
def connections_only() -> Iterator[None]:
    """Keep no values for the backward pass: gradients are then wrong, but exist where right ones would."""

    def pack(tensor: Tensor) -> tuple[torch.Size, torch.dtype, torch.device]:
        return tensor.shape, tensor.dtype, tensor.device

    def unpack(kept: tuple[torch.Size, torch.dtype, torch.device]) -> Tensor:
        shape, dtype, device = kept
        return torch.ones(shape, dtype=dtype, device=device)

    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        yield


def tensors_in(value: object) -> list[Tensor]:
    """The tensors in nested lists, tuples and dictionaries."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, list | tuple):
        return [tensor for each in value for tensor in tensors_in(each)]
    return []


@contextmanager
def own_pages(module: nn.Module) -> Iterator[None]:
    """Let glibc give back the memory of a tensor as soon as it is freed, if a network has very many modules.

    Between the tensors of a traced pass lie small objects that stay. With 10,000 modules they split the freed memory
    so that 290 MB became 1 to 2 GB. Other C libraries are left alone.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None or sum(1 for _ in module.modules()) < _MANY_MODULES:
        yield
        return
    mallopt(_MMAP_THRESHOLD, _OWN_PAGES)
    try:
        yield
    finally:
        mallopt(_MMAP_THRESHOLD, _LARGEST)

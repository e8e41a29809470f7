"""Tell the tensors of a forward pass apart without keeping them: a trace that kept all would take all memory."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count

import torch
from torch import Tensor


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


@dataclass(frozen=True)
class Shell:
    """What stays of a tensor whose values are gone."""

    shape: torch.Size
    stride: tuple[int, ...]
    dtype: torch.dtype
    requires_grad: bool

    @classmethod
    def of(cls, tensor: Tensor) -> Shell:
        """The shell of a tensor."""
        return cls(tensor.shape, tensor.stride(), tensor.dtype, tensor.requires_grad)

    @property
    def tensor(self) -> Tensor:
        """A tensor like the one that is gone, on the meta device."""
        found = torch.empty_strided(
            self.shape, self.stride, dtype=self.dtype, device=torch.device("meta")
        )
        return found.requires_grad_() if self.requires_grad else found


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

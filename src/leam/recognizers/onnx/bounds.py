"""Limits for graphs that ask for too much memory: a file of a few kilobytes may describe terabytes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

LARGEST = 1 << 28
"""Largest number of elements of one value, and of all values of one face together: far more than a face network has."""


class Bounded(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Refuses, before it runs, an operation whose result would have too many elements.

    Raises:
        ValueError: The result would be too large.
    """

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        given = kwargs or {}
        for value in tree_leaves(_predicted(func, args, given)):
            if isinstance(value, Tensor) and value.numel() > LARGEST:
                raise ValueError(f"a value of shape {list(value.shape)} is too large")
        return func(*args, **given)


def _predicted(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
    """The result on tensors without memory; None where the shape depends on values, and cannot be known."""
    args, kwargs = tree_map_only(Tensor, _without_memory, (args, kwargs))
    if "device" in kwargs or not any(isinstance(leaf, Tensor) for leaf in tree_leaves(args)):
        kwargs = {**kwargs, "device": torch.device("meta")}
    try:
        return func(*args, **kwargs)
    except (NotImplementedError, RuntimeError, TypeError):
        return None


def _without_memory(tensor: Tensor) -> Tensor:
    return torch.empty_strided(
        tensor.shape, tensor.stride(), dtype=tensor.dtype, device=torch.device("meta")
    )

"""A device that is not the processor, computed on the processor: what assumes the processor fails on it.

torch calls it ``meta``. A tensor on it is a wrapper around a tensor with the values; torch sees no memory behind it, so
that ``numpy()`` and data pointers fail, as on a GPU. As on a GPU, an operation fails if its tensors lie on several
devices, unless it copies between them or the other tensor is a number (of no dimensions) or an index on the processor.
As on Apple's GPUs, there are no doubles.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

DEVICE = torch.device("meta")
_aten = torch.ops.aten
# Operations that read one device and write another. Inference mode does not take ``to`` apart.
_COPIES = {"aten::_to_copy", "aten::to", "aten::copy_", "aten::copy"}
# Operations whose indices may be on the processor.
_INDEXED = {
    _aten.index.Tensor,
    _aten.index_put.default,
    _aten.index_put_.default,
    _aten._index_put_impl_.default,
    _aten._unsafe_index.Tensor,
    _aten._unsafe_index_put.default,
}


class OtherDeviceError(AssertionError):
    """An operation that would fail on an accelerator."""


class Placed(Tensor):
    """A tensor on the accelerator."""

    value: Tensor

    @staticmethod
    def __new__(cls, value: Tensor) -> Placed:  # noqa: PYI034  Self is newer than Python 3.10
        placed: Placed = Tensor._make_wrapper_subclass(
            cls,
            value.size(),
            strides=value.stride(),
            storage_offset=value.storage_offset(),
            dtype=value.dtype,
            layout=value.layout,
            device=DEVICE,
            requires_grad=False,
        )
        placed.value = value
        return placed

    def __repr__(self) -> str:  # type: ignore[override]
        return f"Placed({self.value!r})"

    def __deepcopy__(self, memo: dict[int, object]) -> Tensor:
        if id(self) not in memo:
            copied = Placed(self.value.clone())
            memo[id(self)] = (
                nn.Parameter(copied, self.requires_grad)
                if isinstance(self, nn.Parameter)
                else copied.requires_grad_(self.requires_grad)
            )
        return memo[id(self)]  # type: ignore[return-value]

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        return _run(func, args, dict(kwargs or {}))

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]


class _Dispatch(TorchDispatchMode):
    """Makes ``device="meta"`` mean the accelerator for operations without a tensor on it."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        return _run(func, args, dict(kwargs or {}))


class _Function(TorchFunctionMode):
    """Lets ``torch.tensor`` and the like, which fill memory themselves, fill it on the processor first."""

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func in {torch.tensor, torch.as_tensor, torch.asarray} and "device" in kwargs:
            device = kwargs.pop("device")
            made = func(*args, **kwargs)
            return made if device is None else made.to(device)
        if func is Tensor.new_tensor and isinstance(args[0], Placed):
            kwargs.setdefault("dtype", args[0].dtype)
            kwargs.pop("device", None)
            return torch.tensor(*args[1:], **kwargs).to(DEVICE)
        if func is Tensor.tolist and isinstance(args[0], Placed):
            return args[0].value.tolist()
        if func == Tensor.data.__set__ and isinstance(args[0], Placed):
            args[0].value = args[1].value
        if func in {Tensor.__getitem__, Tensor.__setitem__} and isinstance(args[0], Placed):
            args = (args[0], _indices(args[1]), *args[2:])
        return func(*args, **kwargs)


def _indices(index: Any) -> Any:
    """An index with tensors instead of the lists and arrays in it."""
    if isinstance(index, tuple):
        return tuple(map(_indices, index))
    return torch.as_tensor(index) if isinstance(index, list | np.ndarray) else index


@contextmanager
def accelerator() -> Iterator[torch.device]:
    """A device ``meta`` that computes, inside the block."""
    before = torch.__future__.get_swap_module_params_on_conversion()
    overwrite = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    torch.__future__.set_swap_module_params_on_conversion(False)
    try:
        with _Function(), _Dispatch():
            yield DEVICE
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(overwrite)
        torch.__future__.set_swap_module_params_on_conversion(before)


def _run(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Run an operation on the values, after a check of where they are."""
    tensors = [one for one in tree_flatten((args, kwargs))[0] if isinstance(one, Tensor)]
    placed = [one for one in tensors if isinstance(one, Placed)]
    name = func._schema.name
    if name not in _COPIES:
        _check(func, args, tensors, placed)
    args, kwargs, asked = _on_the_processor(func, args, kwargs)
    on_device = bool(placed) if asked is None else asked == DEVICE
    if name in {"aten::copy_", "aten::copy"}:
        on_device = isinstance(args[0], Placed)
    values, named = tree_map(_value, (args, kwargs))
    found = func(*values, **named)
    if name in {"aten::to", "aten::_to_copy"} and on_device != bool(placed):
        # Another device has memory of its own.
        found = found.clone()
    given = {id(one.value): one for one in placed}

    def wrap(one: Any) -> Any:
        if not isinstance(one, Tensor) or not on_device:
            return one
        if one.dtype in {torch.float64, torch.complex128}:
            raise OtherDeviceError(f"{func}: the accelerator has no {one.dtype}")
        if id(one) in given:
            return given[id(one)]
        # Wrappers that are made in inference mode could not be views of others, as their values are.
        with torch.inference_mode(mode=False):
            return Placed(one)

    return tree_map(wrap, found)


def _on_the_processor(
    func: Any, args: Sequence[Any], kwargs: dict[str, Any]
) -> tuple[list[Any], dict[str, Any], torch.device | None]:
    """The arguments with the processor as the device, and the device that was asked for, if any."""
    args, asked = list(args), None
    for place, argument in enumerate(func._schema.arguments):
        given = args[place] if place < len(args) else kwargs.get(argument.name)
        if (
            isinstance(given, Tensor)
            and argument.name == "other"
            and func._schema.name == "aten::to"
        ):
            asked = given.device
        if isinstance(given, torch.device):
            asked = given
            if place < len(args):
                args[place] = torch.device("cpu")
            else:
                kwargs[argument.name] = torch.device("cpu")
    kwargs.pop("pin_memory", None)
    return args, kwargs, asked


def _check(func: Any, args: Sequence[Any], tensors: list[Tensor], placed: list[Placed]) -> None:
    """Refuse tensors on several devices, and torch's own tensors without values."""
    for one in tensors:
        if one.device == DEVICE and not isinstance(one, Placed):
            raise OtherDeviceError(f"{func}: a tensor without values")
    others = [one for one in tensors if not isinstance(one, Placed) and one.ndim > 0]
    if not placed or not others:
        return
    if func in _INDEXED and isinstance(args[0], Placed):
        indices = tree_flatten(args[1])[0]
        if all(any(one is index for index in indices) for one in others):
            return
    shapes = [
        (tuple(one.shape), "accelerator" if isinstance(one, Placed) else "cpu") for one in tensors
    ]
    raise OtherDeviceError(f"{func}: tensors on several devices, {shapes}")


def _value(one: Any) -> Any:
    return one.value if isinstance(one, Placed) else one

"""Operators that arrange, pick, repeat, pad, convert or create elements. Shapes are int64 tensors on the CPU."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import onnx
import torch
from torch import Tensor
from torch.nn import functional

from leam.recognizers.onnx.operators.declaration import implements, numbers, together
from leam.recognizers.onnx.operators.windows import torch_padding

_DTYPES: dict[int, torch.dtype] = {
    onnx.TensorProto.FLOAT: torch.float32,
    # All floating-point numbers are float32.
    onnx.TensorProto.FLOAT16: torch.float32,
    onnx.TensorProto.BFLOAT16: torch.float32,
    onnx.TensorProto.DOUBLE: torch.float32,
    onnx.TensorProto.BOOL: torch.bool,
    onnx.TensorProto.INT8: torch.int8,
    onnx.TensorProto.INT16: torch.int16,
    onnx.TensorProto.INT32: torch.int32,
    onnx.TensorProto.INT64: torch.int64,
    onnx.TensorProto.UINT8: torch.uint8,
    onnx.TensorProto.UINT16: torch.uint16,
    onnx.TensorProto.UINT32: torch.uint32,
    onnx.TensorProto.UINT64: torch.uint64,
}


def dtype_of(onnx_type: int) -> torch.dtype:
    """The torch type of an ONNX element type.

    Raises:
        NotImplementedError: The type is not supported.
    """
    if onnx_type not in _DTYPES:
        known = onnx_type in onnx.TensorProto.DataType.values()
        name = onnx.TensorProto.DataType.Name(onnx_type) if known else onnx_type
        raise NotImplementedError(f"with elements of type {name}")
    return _DTYPES[onnx_type]


@implements("Cast")
def _cast(x: Tensor, *, to: int, saturate: bool = True, round_mode: str = "up") -> Tensor:  # noqa: ARG001  of float8
    return x.to(dtype_of(to))


@implements("CastLike")
def _cast_like(x: Tensor, like: Tensor, *, saturate: bool = True, round_mode: str = "up") -> Tensor:  # noqa: ARG001
    if like.dtype == torch.float64:
        raise NotImplementedError("with elements of less than 8 bits, or of float8")
    return x.to(like.dtype)


@implements("Transpose")
def _transpose(x: Tensor, *, perm: list[int] | None = None) -> Tensor:
    return x.permute(perm or tuple(reversed(range(x.ndim))))


@implements("Concat")
def _concat(*inputs: Tensor, axis: int) -> Tensor:
    # A constant that was written for a batch of one, such as a class token, is repeated for every face.
    along = axis % inputs[0].ndim
    common = [max(part.shape[i] for part in inputs) for i in range(inputs[0].ndim)]
    parts = [
        part.expand([part.shape[i] if i == along else n for i, n in enumerate(common)])
        for part in inputs
    ]
    return torch.cat(together(*parts), dim=along)


@implements("Split")
def _split_by_attribute(
    x: Tensor, *, axis: int = 0, split: list[int] | None = None, outputs: tuple[bool, ...]
) -> tuple[Tensor, ...]:
    return torch.split(x, split or math.ceil(x.shape[axis] / len(outputs)), dim=axis)


@implements("Split", since=13)
def _split(
    x: Tensor,
    sizes: Tensor | None = None,
    *,
    axis: int = 0,
    num_outputs: int | None = None,
    outputs: tuple[bool, ...],
) -> tuple[Tensor, ...]:
    each = math.ceil(x.shape[axis] / (num_outputs or len(outputs)))
    return torch.split(x, each if sizes is None else numbers(sizes), dim=axis)


@implements("Slice")
def _slice_by_attribute(
    x: Tensor, *, starts: list[int], ends: list[int], axes: list[int] | None = None
) -> Tensor:
    return _sliced(x, starts, ends, axes, None)


@implements("Slice", since=10)
def _slice(
    x: Tensor,
    starts: Tensor,
    ends: Tensor,
    axes: Tensor | None = None,
    steps: Tensor | None = None,
) -> Tensor:
    along = None if axes is None else numbers(axes)
    return _sliced(
        x, numbers(starts), numbers(ends), along, None if steps is None else numbers(steps)
    )


def _sliced(
    x: Tensor,
    starts: list[int],
    ends: list[int],
    axes: list[int] | None,
    steps: list[int] | None,
) -> Tensor:
    along, by = axes or list(range(len(starts))), steps or [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, along, by, strict=True):
        # Counting backwards, an end before the first element includes it.
        whole = step < 0 and end < -x.shape[axis]
        taken = range(*slice(start, None if whole else end, step).indices(x.shape[axis]))
        if step == 1:
            x = x.narrow(axis, taken.start, len(taken))
        else:
            places = torch.arange(taken.start, taken.stop, taken.step, device=x.device)
            x = x.index_select(axis, places)
    return x


@implements("Gather")
def _gather(x: Tensor, indices: Tensor, *, axis: int = 0) -> Tensor:
    axis %= x.ndim
    indices = torch.where(indices < 0, indices + x.shape[axis], indices).to(x.device)
    taken = x.index_select(axis, indices.flatten())
    return taken.reshape([*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]])


@implements("GatherElements")
def _gather_elements(x: Tensor, indices: Tensor, *, axis: int = 0) -> Tensor:
    indices = torch.where(indices < 0, indices + x.shape[axis], indices)
    return x.gather(axis, indices.to(x.device, torch.int64))


@implements("GatherND")
def _gather_nd(x: Tensor, indices: Tensor, *, batch_dims: Literal[0] = 0) -> Tensor:  # noqa: ARG001
    return x[tuple(indices.to(x.device, torch.int64).unbind(-1))]


@implements("ScatterND")
def _scatter_nd(
    x: Tensor, indices: Tensor, updates: Tensor, *, reduction: Literal["none", "add"] = "none"
) -> Tensor:
    x, indices, updates = together(x, indices, updates)
    places = tuple(indices.to(torch.int64).unbind(-1))
    return x.index_put(places, updates.to(x.dtype), accumulate=reduction == "add")


@implements("OneHot")
def _one_hot(indices: Tensor, depth: Tensor, values: Tensor, *, axis: int = -1) -> Tensor:
    off, on = values.unbind()
    count = int(depth)
    every = torch.arange(count, device=indices.device)
    wrapped = torch.where(indices < 0, indices + count, indices)[..., None]
    return torch.where(wrapped == every, on, off).movedim(-1, axis)


@implements("Reshape")
def _reshape(x: Tensor, shape: Tensor, *, allowzero: bool = False) -> Tensor:
    return x.reshape(written_shape(x, shape, zero_is_zero=allowzero))


def written_shape(x: Tensor, shape: Tensor, *, zero_is_zero: bool) -> list[int]:
    """The sizes that a reshape asks for; a size of 0 stands for the input's, unless ``zero_is_zero``."""
    sizes: list[int] = numbers(shape)
    return sizes if zero_is_zero else [size or x.shape[place] for place, size in enumerate(sizes)]


@implements("Flatten")
def _flatten(x: Tensor, *, axis: int = 1) -> Tensor:
    rows = math.prod(x.shape[: axis + x.ndim if axis < 0 else axis])
    return x.reshape(rows, x.numel() // rows if rows else -1)


@implements("Squeeze")
def _squeeze_by_attribute(x: Tensor, *, axes: list[int] | None = None) -> Tensor:
    if axes is None:
        # Without axes, all axes of size 1 are removed, except the batch axis.
        axes = [axis for axis in range(min(1, x.ndim - 1), x.ndim) if x.shape[axis] == 1]
    if any(x.shape[axis] != 1 for axis in axes):
        raise ValueError(f"axes {axes} of a value of shape {list(x.shape)}")
    return x.squeeze([axis % x.ndim for axis in axes]) if axes else x


@implements("Squeeze", since=13)
def _squeeze(x: Tensor, axes: Tensor | None = None) -> Tensor:
    return _squeeze_by_attribute(x, axes=None if axes is None else numbers(axes))


@implements("Unsqueeze")
def _unsqueeze_by_attribute(x: Tensor, *, axes: list[int]) -> Tensor:
    rank = x.ndim + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = x.unsqueeze(axis)
    return x


@implements("Unsqueeze", since=13)
def _unsqueeze(x: Tensor, axes: Tensor) -> Tensor:
    return _unsqueeze_by_attribute(x, axes=numbers(axes))


@implements("DepthToSpace")
def _depth_to_space(x: Tensor, *, blocksize: int, mode: Literal["DCR", "CRD"] = "DCR") -> Tensor:
    n, c, h, w = x.shape
    block, depth = blocksize, c // blocksize**2
    if mode == "CRD":
        return functional.pixel_shuffle(x, block)
    blocks = x.reshape(n, block, block, depth, h, w).permute(0, 3, 4, 1, 5, 2)
    return blocks.reshape(n, depth, h * block, w * block)


@implements("SpaceToDepth")
def _space_to_depth(x: Tensor, *, blocksize: int, mode: Literal["DCR", "CRD"] = "DCR") -> Tensor:
    if mode == "CRD":
        return functional.pixel_unshuffle(x, blocksize)
    n, c, h, w = x.shape
    block = blocksize
    blocks = x.reshape(n, c, h // block, block, w // block, block).permute(0, 3, 5, 1, 2, 4)
    return blocks.reshape(n, c * block**2, h // block, w // block)


@implements("Trilu")
def _trilu(x: Tensor, k: Tensor | None = None, *, upper: bool = True) -> Tensor:
    function: Callable[[Tensor, int], Tensor] = torch.triu if upper else torch.tril
    return function(x, 0 if k is None else int(k))


@implements("Expand")
def _expand(x: Tensor, shape: Tensor) -> Tensor:
    broadcast: torch.Size = torch.broadcast_shapes(x.shape, numbers(shape))  # type: ignore[no-untyped-call]
    return x.expand(broadcast)


@implements("Tile")
def _tile(x: Tensor, repeats: Tensor) -> Tensor:
    return x.repeat(numbers(repeats))


@implements("Pad")
def _pad_by_attribute(
    x: Tensor,
    *,
    pads: list[int],
    mode: Literal["constant", "reflect", "edge"] = "constant",
    value: float = 0.0,
) -> Tensor:
    return _padded(x, pads, range(x.ndim), mode, value)


@implements("Pad", since=11)
def _pad(
    x: Tensor,
    pads: Tensor,
    value: Tensor | None = None,
    axes: Tensor | None = None,
    *,
    mode: Literal["constant", "reflect", "edge", "wrap"] = "constant",
) -> Tensor:
    along = range(x.ndim) if axes is None else numbers(axes)
    return _padded(x, numbers(pads), along, mode, 0 if value is None else value.item())


def _padded(x: Tensor, pads: list[int], axes: Sequence[int], mode: str, value: float) -> Tensor:
    pairs = dict(zip(axes, zip(pads[: len(axes)], pads[len(axes) :], strict=True), strict=True))
    if mode == "constant":
        sides = {axis % x.ndim: pair for axis, pair in pairs.items()}
        return functional.pad(
            x, torch_padding([sides.get(axis, (0, 0)) for axis in range(x.ndim)]), value=value
        )
    for axis, (before, after) in pairs.items():
        if before or after:
            # A negative padding crops first: what is cut off is not repeated.
            start, end = max(0, -before), x.shape[axis] - max(0, -after)
            x, size = x.narrow(axis, start, end - start), end - start
            at = torch.arange(-max(0, before), size + max(0, after), device=x.device)
            if mode == "edge":
                at = at.clamp(0, size - 1)
            elif mode == "wrap":
                at = at % size
            else:  # a wave that turns at the first and the last element
                at = (at + size - 1).remainder(2 * max(1, size - 1)) - (size - 1)
                at = at.abs()
            x = x.index_select(axis, at)
    return x


@implements("Shape")
def _shape(x: Tensor, *, start: int = 0, end: int | None = None) -> Tensor:
    return torch.tensor(x.shape[start:end], dtype=torch.int64)


@implements("Size")
def _size(x: Tensor) -> Tensor:
    return torch.tensor(x.numel())


@implements("Range")
def _range(start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
    return torch.arange(start.item(), limit.item(), delta.item(), dtype=start.dtype)


@implements("ConstantOfShape")
def _constant_of_shape(shape: Tensor, *, value: Tensor | None = None) -> Tensor:
    size: list[int] = numbers(shape)
    return torch.zeros(size) if value is None else value.reshape(()).expand(size).clone()


@implements("Constant")
def _constant(
    *,
    value: Tensor | None = None,
    value_float: float | None = None,
    value_floats: list[float] | None = None,
    value_int: int | None = None,
    value_ints: list[int] | None = None,
) -> Tensor:
    if value is not None:
        return value
    floats = value_float if value_floats is None else value_floats
    if floats is not None:
        return torch.tensor(floats, dtype=torch.float32)
    return torch.tensor(value_int if value_ints is None else value_ints, dtype=torch.int64)

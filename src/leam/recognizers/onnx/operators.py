"""ONNX operators as differentiable functions of tensors.

The semantics are those of the ONNX operator reference (https://onnx.ai/onnx/operators), from opset 7 on. A function
takes the node's attributes and then its inputs in order, None for an omitted one. Shapes are int64 tensors on the CPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any

import onnx
import torch
from torch import Tensor
from torch.nn import functional

Attributes = Mapping[str, Any]
"""A node's attributes, and our own ``operator``, ``opset`` and ``outputs`` (the number of outputs)."""
Operator = Callable[..., Any]
"""From attributes and input tensors to an output tensor or a tuple of output tensors."""

OPERATORS: dict[str, Operator] = {}
"""The operators by their ONNX name."""

# Largest number of elements of a value: far more than a face network has, but a malicious graph may ask for more.
_LARGEST = 1 << 28
# Before this opset, the default axis of softmax was 1, and all later axes were flattened.
_SOFTMAX_BY_AXIS = 13

_FLOATS = {
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.FLOAT16,
    onnx.TensorProto.BFLOAT16,
    onnx.TensorProto.DOUBLE,
}


def _implements(*names: str) -> Callable[[Operator], Operator]:
    def register(function: Operator) -> Operator:
        OPERATORS.update(dict.fromkeys(names, function))
        return function

    return register


def _unary(function: Callable[[Tensor], Tensor]) -> Operator:
    return lambda _, x: function(x)


def _mean_over(x: Tensor, axes: list[int], keep: bool) -> Tensor:  # noqa: FBT001
    """The mean, with a gradient that is an expanded view instead of a full tensor."""
    # In half precision the sum could overflow.
    if x.dtype != torch.float32:
        return x.mean(axes, keepdim=keep)
    return x.sum(axes, keepdim=keep) / math.prod(x.shape[axis] for axis in axes)


def _spatial_mean(x: Tensor) -> Tensor:
    """``(B, C, ...)`` to ``(B, C, 1, ...)``."""
    return _mean_over(x, list(range(2, x.ndim)), True)  # noqa: FBT003


def _variadic(function: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    return lambda _, *inputs: reduce(function, together(*inputs))


OPERATORS |= {
    "Abs": _unary(torch.abs),
    "Ceil": _unary(torch.ceil),
    "Cos": _unary(torch.cos),
    "Erf": _unary(torch.erf),
    "Exp": _unary(torch.exp),
    "Floor": _unary(torch.floor),
    "HardSwish": _unary(functional.hardswish),
    "Identity": _unary(lambda x: x),
    "Log": _unary(torch.log),
    "Mish": _unary(functional.mish),
    "Neg": _unary(torch.neg),
    "Not": _unary(torch.logical_not),
    "Reciprocal": _unary(torch.reciprocal),
    "Relu": _unary(torch.relu),
    "Round": _unary(torch.round),
    "Sigmoid": _unary(torch.sigmoid),
    "Sign": _unary(torch.sign),
    "Sin": _unary(torch.sin),
    "Softplus": _unary(functional.softplus),
    "Softsign": _unary(functional.softsign),
    "Sqrt": _unary(torch.sqrt),
    "Tanh": _unary(torch.tanh),
    "Add": _variadic(torch.add),
    "And": _variadic(torch.logical_and),
    "Equal": _variadic(torch.eq),
    "Greater": _variadic(torch.gt),
    "GreaterOrEqual": _variadic(torch.ge),
    "Less": _variadic(torch.lt),
    "LessOrEqual": _variadic(torch.le),
    "Max": _variadic(torch.maximum),
    "Min": _variadic(torch.minimum),
    "Mul": _variadic(torch.mul),
    "Or": _variadic(torch.logical_or),
    "Sub": _variadic(torch.sub),
    "Sum": _variadic(torch.add),
    # Dropout is the identity at inference.
    "Dropout": lambda _, x, *__: x,
    "Elu": lambda a, x: functional.elu(x, a.get("alpha", 1.0)),
    "Gelu": lambda a, x: functional.gelu(x, approximate=a.get("approximate", "none")),
    "GlobalAveragePool": _unary(_spatial_mean),
    "GlobalMaxPool": _unary(lambda x: x.amax(dim=tuple(range(2, x.ndim)), keepdim=True)),
    "HardSigmoid": lambda a, x: (a.get("alpha", 0.2) * x + a.get("beta", 0.5)).clamp(0, 1),
    "LeakyRelu": lambda a, x: functional.leaky_relu(x, a.get("alpha", 0.01)),
    "LpNormalization": lambda a, x: functional.normalize(x, a.get("p", 2), a.get("axis", -1)),
    "Transpose": lambda a, x: x.permute(a.get("perm", tuple(reversed(range(x.ndim))))),
}


def together(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors on one device: values computed from shapes are on the CPU."""
    device = next((tensor.device for tensor in tensors if tensor.device.type != "cpu"), None)
    return tensors if device is None else tuple(tensor.to(device) for tensor in tensors)


def padding(
    attributes: Attributes, sizes: Sequence[int], kernel: Sequence[int]
) -> list[tuple[int, int]]:
    """Padding before and after each spatial axis, for a convolution or pooling over ``sizes``."""
    strides = attributes.get("strides", [1] * len(kernel))
    dilations = attributes.get("dilations", [1] * len(kernel))
    mode = attributes.get("auto_pad", "NOTSET")
    if mode == "NOTSET":
        pads = attributes.get("pads", [0] * (2 * len(kernel)))
        return list(zip(pads[: len(kernel)], pads[len(kernel) :], strict=True))
    if mode == "VALID":
        return [(0, 0)] * len(kernel)
    found = []
    for size, k, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True):
        total = max(0, (math.ceil(size / stride) - 1) * stride + dilation * (k - 1) + 1 - size)
        small, large = total // 2, total - total // 2
        found.append((small, large) if mode == "SAME_UPPER" else (large, small))
    return found


def torch_padding(pads: Sequence[tuple[int, int]]) -> list[int]:
    """Padding pairs in the order of ``functional.pad``: flat, the last axis first."""
    return [side for pair in reversed(pads) for side in pair]


def _axes(attributes: Attributes, axes: Tensor | None) -> list[int] | None:
    """The axes, an attribute in old opsets and an input in new ones; None if not given."""
    found = attributes.get("axes") if axes is None else axes.tolist()
    return None if found is None else list(found)


def _allocatable(shape: Sequence[int]) -> list[int]:
    if math.prod(shape) > _LARGEST:
        raise ValueError(f"a value of shape {list(shape)} is too large")
    return list(shape)


@_implements("Div")
def _div(_: Attributes, a: Tensor, b: Tensor) -> Tensor:
    a, b = together(a, b)
    if a.is_floating_point() or b.is_floating_point():
        return a / b
    return torch.div(a, b, rounding_mode="trunc")


@_implements("Pow")
def _pow(_: Attributes, base: Tensor, exponent: Tensor) -> Tensor:
    if exponent.ndim == 0 and exponent.device.type == "cpu":
        return torch.pow(base, exponent.item()).to(base.dtype)
    base, exponent = together(base, exponent)
    return torch.pow(base, exponent).to(base.dtype)


@_implements("Mod")
def _mod(attributes: Attributes, a: Tensor, b: Tensor) -> Tensor:
    a, b = together(a, b)
    return torch.fmod(a, b) if attributes.get("fmod", 0) else torch.remainder(a, b)


@_implements("Mean")
def _mean(_: Attributes, *inputs: Tensor) -> Tensor:
    return reduce(torch.add, together(*inputs)) / len(inputs)


@_implements("Where")
def _where(_: Attributes, condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    condition, a, b = together(condition, a, b)
    return torch.where(condition, a, b)


@_implements("PRelu")
def _prelu(_: Attributes, x: Tensor, slope: Tensor) -> Tensor:
    return torch.relu(x) - slope * torch.relu(-x)


@_implements("Clip")
def _clip(
    attributes: Attributes, x: Tensor, low: Tensor | None = None, high: Tensor | None = None
) -> Tensor:
    low = attributes.get("min") if low is None else low.to(x.device)
    high = attributes.get("max") if high is None else high.to(x.device)
    return x if low is None and high is None else torch.clamp(x, low, high)


@_implements("Cast", "CastLike")
def _cast(attributes: Attributes, x: Tensor, like: Tensor | None = None) -> Tensor:
    if like is not None:
        return x.to(like.dtype)
    if attributes["to"] in _FLOATS:
        return x.to(torch.float32)
    if attributes["to"] == onnx.TensorProto.BOOL:
        return x.to(torch.bool)
    return x.to(torch.int64)


@_implements("DequantizeLinear")
def _dequantize(
    attributes: Attributes, x: Tensor, scale: Tensor, zero: Tensor | None = None
) -> Tensor:
    if scale.ndim == 1 and scale.numel() > 1:
        shape = [1] * x.ndim
        shape[attributes.get("axis", 1)] = -1
        scale, zero = scale.view(shape), None if zero is None else zero.view(shape)
    shifted = x if zero is None else x - zero
    return shifted.to(torch.float32) * scale


@_implements("MatMul")
def _matmul(_: Attributes, a: Tensor, b: Tensor) -> Tensor:
    a, b = together(a, b)
    return torch.matmul(a, b)


@_implements("FusedMatMul")
def _fused_matmul(attributes: Attributes, a: Tensor, b: Tensor) -> Tensor:
    """The product of two matrices, each perhaps transposed, times a constant (of onnxruntime's optimiser)."""
    a, b = together(a, b)
    a = a.mT if attributes.get("transA", 0) else a
    b = b.mT if attributes.get("transB", 0) else b
    product: Tensor = torch.matmul(a, b) * attributes.get("alpha", 1.0)
    return product


@_implements("Einsum")
def _einsum(attributes: Attributes, *inputs: Tensor) -> Tensor:
    product: Tensor = torch.einsum(attributes["equation"], *together(*inputs))
    return product


@_implements("AveragePool")
def _average_pool(attributes: Attributes, x: Tensor) -> Tensor:
    kernel = attributes["kernel_shape"]
    strides = attributes.get("strides", [1] * len(kernel))
    pads = padding(attributes, x.shape[2:], kernel)
    if list(kernel) == list(x.shape[2:]) and not any(map(any, pads)):
        return _spatial_mean(x)
    ceil = bool(attributes.get("ceil_mode", 0))
    counted = bool(attributes.get("count_include_pad", 0))
    pool = (functional.avg_pool1d, functional.avg_pool2d, functional.avg_pool3d)[len(kernel) - 1]
    if all(before == after for before, after in pads):
        return pool(x, kernel, strides, [before for before, _ in pads], ceil, counted)
    padded = functional.pad(x, torch_padding(pads))
    pooled = pool(padded, kernel, strides, 0, ceil)
    if counted:
        return pooled
    inside = functional.pad(torch.ones_like(x[:1, :1]), torch_padding(pads))
    return pooled / pool(inside, kernel, strides, 0, ceil)


@_implements("MaxPool")
def _max_pool(attributes: Attributes, x: Tensor) -> Tensor:
    kernel = attributes["kernel_shape"]
    pads = padding(attributes, x.shape[2:], kernel)
    pool = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)[len(kernel) - 1]
    padded = functional.pad(x, torch_padding(pads), value=-math.inf) if any(map(any, pads)) else x
    return pool(
        padded,
        kernel,
        attributes.get("strides", [1] * len(kernel)),
        dilation=attributes.get("dilations", 1),
        ceil_mode=bool(attributes.get("ceil_mode", 0)),
    )


def _reduction(function: Callable[[Tensor, list[int], bool], Tensor]) -> Operator:
    def reduced(attributes: Attributes, x: Tensor, axes: Tensor | None = None) -> Tensor:
        chosen = _axes(attributes, axes)
        if not chosen and attributes.get("noop_with_empty_axes", 0):
            return x
        return function(x, chosen or list(range(x.ndim)), bool(attributes.get("keepdims", 1)))

    return reduced


def _product(x: Tensor, axes: list[int], keep: bool) -> Tensor:  # noqa: FBT001
    for axis in sorted((axis % x.ndim for axis in axes), reverse=True):
        x = x.prod(axis, keepdim=keep)
    return x


OPERATORS |= {
    "ReduceL1": _reduction(lambda x, axes, keep: x.abs().sum(axes, keepdim=keep)),
    "ReduceL2": _reduction(
        lambda x, axes, keep: torch.linalg.vector_norm(x, dim=axes, keepdim=keep)
    ),
    "ReduceMax": _reduction(lambda x, axes, keep: x.amax(axes, keepdim=keep)),
    "ReduceMean": _reduction(_mean_over),
    "ReduceMin": _reduction(lambda x, axes, keep: x.amin(axes, keepdim=keep)),
    "ReduceProd": _reduction(_product),
    "ReduceSum": _reduction(lambda x, axes, keep: x.sum(axes, keepdim=keep)),
    "ReduceSumSquare": _reduction(lambda x, axes, keep: x.square().sum(axes, keepdim=keep)),
}


@_implements("Softmax", "LogSoftmax")
def _softmax(attributes: Attributes, x: Tensor) -> Tensor:
    function = torch.softmax if attributes["operator"] == "Softmax" else torch.log_softmax
    if attributes["opset"] >= _SOFTMAX_BY_AXIS:
        return function(x, attributes.get("axis", -1))
    axis = attributes.get("axis", 1) % x.ndim
    return function(x.flatten(axis), axis).reshape(x.shape)


@_implements("InstanceNormalization")
def _instance_norm(attributes: Attributes, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    return functional.instance_norm(x, weight=scale, bias=bias, eps=attributes.get("epsilon", 1e-5))


@_implements("CumSum")
def _cumsum(attributes: Attributes, x: Tensor, axis: Tensor) -> Tensor:
    dim = int(axis)
    backward, exclusive = attributes.get("reverse", 0), attributes.get("exclusive", 0)
    ordered = x.flip(dim) if backward else x
    total = ordered.cumsum(dim)
    if exclusive:
        total = total - ordered
    return total.flip(dim) if backward else total


@_implements("Concat")
def _concat(attributes: Attributes, *inputs: Tensor) -> Tensor:
    # A constant that was written for a batch of one, such as a class token, is repeated for every face.
    axis = attributes["axis"] % inputs[0].ndim
    common = [max(part.shape[i] for part in inputs) for i in range(inputs[0].ndim)]
    parts = [
        part.expand([part.shape[i] if i == axis else n for i, n in enumerate(common)])
        for part in inputs
    ]
    return torch.cat(together(*parts), dim=axis)


@_implements("Split")
def _split(attributes: Attributes, x: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, ...]:
    axis = attributes.get("axis", 0)
    parts = attributes.get("split") if sizes is None else sizes.tolist()
    if parts is None:
        parts = math.ceil(x.shape[axis] / attributes.get("num_outputs", attributes["outputs"]))
    return torch.split(x, parts, dim=axis)


@_implements("Slice")
def _slice(
    attributes: Attributes,
    x: Tensor,
    starts: Tensor | None = None,
    ends: Tensor | None = None,
    axes: Tensor | None = None,
    steps: Tensor | None = None,
) -> Tensor:
    first = attributes["starts"] if starts is None else starts.tolist()
    last = attributes["ends"] if ends is None else ends.tolist()
    along = _axes(attributes, axes) or list(range(len(first)))
    by = [1] * len(first) if steps is None else steps.tolist()
    for start, end, axis, step in zip(first, last, along, by, strict=True):
        taken = range(*slice(start, end, step).indices(x.shape[axis]))
        if step == 1:
            x = x.narrow(axis, taken.start, len(taken))
        else:
            x = x.index_select(axis, torch.tensor(taken, dtype=torch.int64, device=x.device))
    return x


@_implements("Gather")
def _gather(attributes: Attributes, x: Tensor, indices: Tensor) -> Tensor:
    axis = attributes.get("axis", 0) % x.ndim
    indices = torch.where(indices < 0, indices + x.shape[axis], indices).to(x.device)
    taken = x.index_select(axis, indices.flatten())
    return taken.reshape([*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]])


@_implements("Flatten")
def _flatten(attributes: Attributes, x: Tensor) -> Tensor:
    axis = attributes.get("axis", 1)
    return x.reshape(math.prod(x.shape[: axis + x.ndim if axis < 0 else axis]), -1)


@_implements("Squeeze")
def _squeeze(attributes: Attributes, x: Tensor, axes: Tensor | None = None) -> Tensor:
    chosen = _axes(attributes, axes)
    if chosen is None:
        # Without axes, all axes of size 1 are removed, except the batch axis.
        chosen = [axis for axis in range(min(1, x.ndim - 1), x.ndim) if x.shape[axis] == 1]
    return x.squeeze([axis % x.ndim for axis in chosen]) if chosen else x


@_implements("Unsqueeze")
def _unsqueeze(attributes: Attributes, x: Tensor, axes: Tensor | None = None) -> Tensor:
    chosen = _axes(attributes, axes) or []
    rank = x.ndim + len(chosen)
    for axis in sorted(axis % rank for axis in chosen):
        x = x.unsqueeze(axis)
    return x


@_implements("Expand")
def _expand(_: Attributes, x: Tensor, shape: Tensor) -> Tensor:
    broadcast: torch.Size = torch.broadcast_shapes(x.shape, shape.tolist())  # type: ignore[no-untyped-call]
    return x.expand(_allocatable(broadcast))


@_implements("Tile")
def _tile(_: Attributes, x: Tensor, repeats: Tensor) -> Tensor:
    times = repeats.tolist()
    _allocatable([size * n for size, n in zip(x.shape, times, strict=True)])
    return x.repeat(times)


@_implements("Pad")
def _pad(
    attributes: Attributes,
    x: Tensor,
    pads: Tensor | None = None,
    value: Tensor | None = None,
    axes: Tensor | None = None,
) -> Tensor:
    sides = attributes["pads"] if pads is None else pads.tolist()
    along = _axes(attributes, axes) or list(range(x.ndim))
    pairs = [(0, 0)] * x.ndim
    for place, axis in enumerate(along):
        pairs[axis] = (sides[place], sides[place + len(along)])
    _allocatable([size + sum(pair) for size, pair in zip(x.shape, pairs, strict=True)])
    mode = {"constant": "constant", "reflect": "reflect", "edge": "replicate"}[
        attributes.get("mode", "constant")
    ]
    if mode == "constant":
        fill = attributes.get("value", 0.0) if value is None else value.item()
        return functional.pad(x, torch_padding(pairs), value=fill)
    # In these modes, torch pads the two last axes of images only.
    return functional.pad(x, torch_padding(pairs[2:]), mode=mode)


@_implements("Resize", "Upsample")
def _resize(
    attributes: Attributes,
    x: Tensor,
    second: Tensor | None = None,
    scales: Tensor | None = None,
    sizes: Tensor | None = None,
) -> Tensor:
    if scales is None and sizes is None:
        scales = second
    if sizes is not None:
        size = sizes.tolist()[2:]
    elif scales is not None:
        size = [int(n * scale) for n, scale in zip(x.shape[2:], scales.tolist()[2:], strict=True)]
    else:
        size = [
            int(n * scale) for n, scale in zip(x.shape[2:], attributes["scales"][2:], strict=True)
        ]
    _allocatable([*x.shape[:2], *size])
    mode = attributes.get("mode", "nearest")
    place = attributes.get("coordinate_transformation_mode", "half_pixel")
    if mode == "nearest" and (place == "asymmetric" or attributes["operator"] == "Upsample"):
        return functional.interpolate(x, size, mode="nearest")
    if mode in {"linear", "cubic"} and place in {
        "half_pixel",
        "pytorch_half_pixel",
        "align_corners",
    }:
        kind = "bicubic" if mode == "cubic" else "bilinear"
        return functional.interpolate(x, size, mode=kind, align_corners=place == "align_corners")
    raise NotImplementedError(f"mode {mode} with {place} coordinates")


@_implements("Shape")
def _shape(attributes: Attributes, x: Tensor) -> Tensor:
    return torch.tensor(
        x.shape[attributes.get("start", 0) : attributes.get("end")], dtype=torch.int64
    )


@_implements("Size")
def _size(_: Attributes, x: Tensor) -> Tensor:
    return torch.tensor(x.numel())


@_implements("Range")
def _range(_: Attributes, start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
    first, last, step = start.item(), limit.item(), delta.item()
    _allocatable([math.ceil(max(0.0, (last - first) / step))])
    return torch.arange(first, last, step, dtype=start.dtype)


@_implements("ConstantOfShape")
def _constant_of_shape(attributes: Attributes, shape: Tensor) -> Tensor:
    value = attributes.get("value")
    size = _allocatable(shape.tolist())
    return torch.zeros(size) if value is None else value.reshape(()).expand(size).clone()


@_implements("Constant")
def _constant(attributes: Attributes) -> Tensor:
    for kind in ("value", "value_float", "value_floats", "value_int", "value_ints"):
        if kind in attributes:
            value = attributes[kind]
            return value if isinstance(value, Tensor) else torch.tensor(value)
    raise NotImplementedError("a constant that contains text")

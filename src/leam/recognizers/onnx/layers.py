"""ONNX nodes that become torch layers with their own parameters.

A builder gets the node's attributes, checked and complete, an example of its input, and its constant inputs (None for
an omitted one). It returns None if torch's layer does not fit; the node is then computed by its function in
:mod:`leam.recognizers.onnx.operators`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from leam.recognizers.onnx.module import Operation
from leam.recognizers.onnx.operators.declaration import MICROSOFT, numbers
from leam.recognizers.onnx.operators.quantisation import quantize_by_range, unpacked
from leam.recognizers.onnx.operators.shapes import written_shape
from leam.recognizers.onnx.operators.windows import kernel_of, torch_padding, window
from leam.weights.checkpoints import without_traces

Attributes = Mapping[str, Any]
Builder = Callable[..., nn.Module | None]


class PaddedConv2d(nn.Conv2d):
    """A convolution with a different padding on each side: left, right, top, bottom, in pixels."""

    sides: Sequence[int] = ()

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, h, w)`` to ``(B, C', h', w')``."""
        return super().forward(functional.pad(x, list(self.sides)))


class Clamp(nn.Module):
    """Limits values to ``[low, high]``."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.low, self.high = low, high

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape."""
        return x.clamp(self.low, self.high)


class Shift(nn.Module):
    """Adds a value to each channel: a bias that is a separate node in the file."""

    bias: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("bias", torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, h, w)`` to the same shape."""
        return x + self.bias[:, None, None]


@dataclass(frozen=True)
class Run:
    """One run of a node: its first input, the shape of its first output for one face, and its second input."""

    source: Tensor
    result: torch.Size
    second: Tensor | None = None


@dataclass(frozen=True)
class BatchAxis:
    """The axis of a value that grows with the batch: it has the order ``(outer, faces, inner)``.

    Attributes:
        axis: The axis.
        outer: Number of groups of faces; more than 1 if the batch was merged with an axis before it, as in the rows of
            tokens ``(N, B, C)``.
        inner: Number of neighbouring places of one face.
    """

    axis: int
    outer: int
    inner: int

    def split(self, x: Tensor) -> Tensor:
        """``(..., outer * B * inner, ...)`` to ``(..., outer, B, inner, ...)``."""
        return x.reshape(
            *x.shape[: self.axis], self.outer, -1, self.inner, *x.shape[self.axis + 1 :]
        )


def _batch_axis(one: Tensor, two: Tensor) -> BatchAxis | None:
    """The axis that grows with the batch, from the values for one face and for two of which it is the first."""
    pairs = enumerate(zip(one.shape, two.shape, strict=True))
    axis = next((axis for axis, (m, n) in pairs if m != n), None)
    if axis is None or two.shape[axis] != 2 * one.shape[axis]:
        return None
    each, scale = one.shape[axis], float(one.abs().max()) or 1.0
    orders = [BatchAxis(axis, n, each // n) for n in range(1, each + 1) if each % n == 0]

    def error(order: BatchAxis) -> float:
        first = order.split(two).select(axis + 1, 0).reshape(one.shape)
        return round(float((first - one).abs().max()) / scale, 3)

    return min(orders, key=error)


class PerBatch(Operation):
    """An operation that was written for one face; :meth:`free` makes it valid for any batch."""

    def free(self, one: Run, two: Run) -> None:
        """Compare the runs of one and of two faces, and make the operation grow with the batch."""


class Reshape(PerBatch):
    """A reshape that may have been written for a single face.

    Attributes:
        batch: The input's batch axis, its size for one face, and the axis of the shape that grows with the batch; None
            if the shape is valid for any batch.
    """

    batch: tuple[int, int, int] | None = None

    def forward(self, x: Tensor, shape: Tensor) -> Tensor:  # type: ignore[override]
        """Reshape ``x`` to a shape, int64 on the CPU; -1 is inferred."""
        sizes = written_shape(x, shape, zero_is_zero=self.attributes["allowzero"])
        if self.batch is not None:
            axis, each, place = self.batch
            sizes[place] *= x.shape[axis] // each
        return x.reshape(sizes)

    def free(self, one: Run, two: Run) -> None:
        """Make a shape that was written for one face grow with the batch.

        Reshaping keeps the order of elements, so the batch axis of the output is the one with the same number of
        elements before it as the faces of the input. Features remain alone on the last axis.
        """
        shape, grown = one.second, _batch_axis(one.source, two.source)
        if grown is None or shape is None or not torch.equal(shape, two.second):  # type: ignore[arg-type]
            return
        before = math.prod(one.source.shape[: grown.axis]) * grown.outer
        out = one.result
        place = next((i for i in range(len(out)) if math.prod(out[:i]) == before), None)
        if place and place == len(out) - 1:
            place -= 1
        if place is not None and int(shape[place]) > 0:
            self.batch = (grown.axis, one.source.shape[grown.axis], place)


class Expand(PerBatch):
    """A broadcast that may have been written for a single face.

    Attributes:
        kept: The axes of the result, from the end, that keep the size that the input has for any batch.
    """

    kept: frozenset[int] = frozenset()

    def forward(self, x: Tensor, shape: Tensor) -> Tensor:  # type: ignore[override]
        """Broadcast ``x`` to a shape, int64 on the CPU."""
        sizes = numbers(shape)
        for place in self.kept:
            sizes[place] = 1
        return x.expand(torch.broadcast_shapes(x.shape, sizes))  # type: ignore[no-untyped-call]

    def free(self, one: Run, two: Run) -> None:
        """Leave the sizes to the input that it had for one face and does not have for two."""
        if one.second is None or not torch.equal(one.second, two.second):  # type: ignore[arg-type]
            return
        each, both = one.source.shape, two.source.shape
        places = range(-min(len(each), len(one.second)), 0)
        self.kept = frozenset(
            place for place in places if each[place] == int(one.second[place]) != both[place]
        )


class DynamicQuantization(PerBatch):
    """Quantisation by the range of the values: that of each face alone, as in a batch of one.

    Attributes:
        batch: The axis that grows with the batch; None if the values do not.
    """

    batch: BatchAxis | None = None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[override]
        """From any shape to the quantised values, their scale and their zero point, which broadcast against them."""
        if self.batch is None:
            return quantize_by_range(x, x.detach().amin(), x.detach().amax())
        axis, outer, inner = self.batch.axis, self.batch.outer, self.batch.inner
        faces = self.batch.split(x.detach()).movedim(axis + 1, 0).flatten(1)
        shape = [1] * x.ndim
        shape[axis] = -1
        low, high = (
            bound[None, :, None].expand(outer, -1, inner).reshape(shape)
            for bound in (faces.amin(1), faces.amax(1))
        )
        return quantize_by_range(x, low, high)

    def free(self, one: Run, two: Run) -> None:
        """Find the axis that grows with the batch."""
        self.batch = _batch_axis(one.source, two.source)


def _conv(
    attributes: Attributes, x: Tensor, weight: Tensor, bias: Tensor | None = None
) -> nn.Module | None:
    if weight.ndim != 4:  # noqa: PLR2004  images only
        return None
    kernel = kernel_of(weight, attributes["kernel_shape"])
    at = window(x.shape[2:], kernel, *(attributes[name] for name in _WINDOW))
    groups = attributes["group"]
    layer = (nn.Conv2d if at.even else PaddedConv2d)(
        weight.shape[1] * groups,
        weight.shape[0],
        _pair(kernel),
        stride=_pair(at.strides),
        padding=_pair([before for before, _ in at.pads]) if at.even else 0,
        dilation=_pair(at.dilations),
        groups=groups,
        bias=bias is not None,
    )
    if isinstance(layer, PaddedConv2d):
        layer.sides = torch_padding(at.pads)
    return _filled(layer, weight=weight, bias=bias)


def _conv_transpose(
    attributes: Attributes, x: Tensor, weight: Tensor, bias: Tensor | None = None
) -> nn.Module | None:
    if weight.ndim != 4:  # noqa: PLR2004  images only
        return None
    kernel = kernel_of(weight, attributes["kernel_shape"])
    at = window(x.shape[2:], kernel, *(attributes[name] for name in _WINDOW))
    own = any(attributes[name] for name in ("output_shape", "output_padding"))
    if own or attributes["auto_pad"].startswith("SAME") or not at.even:
        return None
    groups = attributes["group"]
    layer = nn.ConvTranspose2d(
        weight.shape[0],
        weight.shape[1] * groups,
        _pair(kernel),
        stride=_pair(at.strides),
        padding=_pair([before for before, _ in at.pads]),
        dilation=_pair(at.dilations),
        groups=groups,
        bias=bias is not None,
    )
    return _filled(layer, weight=weight, bias=bias)


_WINDOW = ("strides", "dilations", "pads", "auto_pad")


def _pair(values: Sequence[int]) -> tuple[int, int]:
    height, width = values
    return height, width


def _gemm(
    attributes: Attributes, x: Tensor, weight: Tensor, bias: Tensor | None = None
) -> nn.Module | None:
    if attributes["transA"] or not (bias is None or bias.numel() in {1, *bias.shape[-1:]}):
        return None
    matrix = (weight if attributes["transB"] else weight.T) * attributes["alpha"]
    if bias is not None:
        bias = (bias * attributes["beta"]).reshape(-1).expand(matrix.shape[0])
    return _linear(matrix, bias, x)


def _matmul(_: Attributes, x: Tensor, weight: Tensor) -> nn.Module | None:
    return _linear(weight.T, None, x) if weight.ndim == 2 else None  # noqa: PLR2004


def _matmul_n_bits(
    attributes: Attributes,
    x: Tensor,
    packed: Tensor,
    scales: Tensor,
    zeros: Tensor | None = None,
    groups: Tensor | None = None,
    bias: Tensor | None = None,
) -> nn.Module | None:
    if groups is not None:
        return None
    shape, bits = (attributes["N"], attributes["K"]), attributes["bits"]
    weight = unpacked(packed, scales, zeros, shape, bits, attributes["block_size"])
    return _linear(weight, bias, x)


def _linear(matrix: Tensor, bias: Tensor | None, x: Tensor) -> nn.Module | None:
    if x.ndim == 0 or not x.is_floating_point():
        return None
    layer = nn.Linear(matrix.shape[1], matrix.shape[0], bias=bias is not None)
    return _filled(layer, weight=matrix, bias=bias)


def _batch_norm(
    attributes: Attributes, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor
) -> nn.Module | None:
    kinds = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
    training = attributes.get("training_mode") or len(attributes.get("outputs", ())) > 1
    if x.ndim not in kinds or scale.ndim != 1 or not attributes.get("spatial", True) or training:
        return None
    layer = kinds[x.ndim](len(scale), eps=attributes["epsilon"])
    return _filled(layer, weight=scale, bias=bias, running_mean=mean, running_var=variance)


def _layer_norm(
    attributes: Attributes, x: Tensor, scale: Tensor, bias: Tensor | None = None
) -> nn.Module | None:
    shape = x.shape[attributes["axis"] % x.ndim :]
    if scale.shape != shape or (bias is not None and bias.shape != shape):
        return None
    layer = nn.LayerNorm(shape, eps=attributes["epsilon"], bias=bias is not None)
    return _filled(layer, weight=scale, bias=bias)


def _prelu(_: Attributes, x: Tensor, slope: Tensor) -> nn.Module | None:
    channels = x.shape[1] if x.ndim > 1 else 0
    by_channel = slope.shape == (channels, *[1] * (x.ndim - 2))
    # Some exporters write one slope per channel without the axes that it needs to broadcast.
    misshapen = slope.shape == (channels,) and x.shape[-1] not in {1, channels}
    if not (slope.numel() == 1 or by_channel or misshapen):
        return None
    return _filled(nn.PReLU(slope.numel()), weight=slope.flatten())


def _relu(_: Attributes, __: Tensor) -> nn.Module:
    return nn.ReLU()


def _clip(
    attributes: Attributes, x: Tensor, low: Tensor | None = None, high: Tensor | None = None
) -> nn.Module | None:
    if not x.is_floating_point():
        return None
    lowest = attributes.get("min", -math.inf) if low is None else low.item()  # old opsets
    highest = attributes.get("max", math.inf) if high is None else high.item()
    return nn.Hardtanh(lowest, highest) if lowest < highest < math.inf else Clamp(lowest, highest)


def _add(_: Attributes, x: Tensor, value: Tensor) -> nn.Module | None:
    if x.ndim != 4 or value.shape not in {(1, x.shape[1], 1, 1), (x.shape[1], 1, 1)}:  # noqa: PLR2004
        return None
    return _filled(Shift(x.shape[1]), bias=value.flatten())


def _filled(layer: nn.Module, **values: Tensor | None) -> nn.Module:
    """Set a layer's parameters and buffers; the shapes must match."""
    given = {name: value for name, value in values.items() if value is not None}
    layer.load_state_dict(layer.state_dict() | without_traces(given))
    return layer


LAYERS: dict[str, Builder] = {
    "Add": _add,
    "BatchNormalization": _batch_norm,
    "Clip": _clip,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "LayerNormalization": _layer_norm,
    "MatMul": _matmul,
    MICROSOFT + "MatMulNBits": _matmul_n_bits,
    "PRelu": _prelu,
    "Relu": _relu,
}
"""Builders by ONNX operator."""

PER_BATCH: dict[str, type[PerBatch]] = {
    "DynamicQuantizeLinear": DynamicQuantization,
    "Expand": Expand,
    "Reshape": Reshape,
}
"""Operations that may have been written for one face."""

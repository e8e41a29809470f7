"""ONNX nodes that become torch layers with their own parameters.

A builder gets the node's attributes, an example of its input, and its constant inputs (None for an omitted one). It
returns None if torch's layer does not fit; the node is then computed by the function in
:mod:`leam.recognizers.onnx.operators`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from leam.recognizers.onnx.operators import Attributes, padding, torch_padding
from leam.weights.checkpoints import without_traces

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


class Reshape(nn.Module):
    """A reshape that may have been written for a single face.

    Attributes:
        zero_is_zero: Whether a size of 0 means 0; otherwise it means the input's size on that axis.
        batch: The input's batch axis, its size for one face, and the axis of the shape that grows with the batch; None
            if the shape is valid for any batch.
    """

    def __init__(self, *, zero_is_zero: bool = False) -> None:
        super().__init__()
        self.zero_is_zero = zero_is_zero
        self.batch: tuple[int, int, int] | None = None

    def forward(self, x: Tensor, shape: Tensor) -> Tensor:
        """Reshape ``x`` to a shape, int64 on the CPU; -1 is inferred."""
        sizes: list[int] = shape.tolist()
        if not self.zero_is_zero:
            sizes = [size or x.shape[place] for place, size in enumerate(sizes)]
        if self.batch is not None:
            axis, each, place = self.batch
            sizes[place] *= x.shape[axis] // each
        return x.reshape(sizes)

    def free(self, one: torch.Size, two: torch.Size, shape: Tensor, out: torch.Size) -> None:
        """Make a shape that was written for one face grow with the batch.

        Reshaping keeps the order of elements, so the batch axis of the output is the one with the same number of
        elements before it as the batch axis of the input.

        Args:
            one: Shape of the input for one face.
            two: Shape of the input for two faces.
            shape: The shape in the file.
            out: Shape of the output for one face.
        """
        grown = [axis for axis, (m, n) in enumerate(zip(one, two, strict=True)) if m != n]
        if not grown:
            return
        before = math.prod(one[: grown[0]])
        place = next((i for i in range(len(out)) if math.prod(out[:i]) == before), None)
        if place is not None and int(shape[place]) > 0:
            self.batch = (grown[0], one[grown[0]], place)


def _conv(
    attributes: Attributes, x: Tensor, weight: Tensor, bias: Tensor | None = None
) -> nn.Module | None:
    if weight.ndim != 4:  # noqa: PLR2004  images only
        return None
    kernel = _pair(weight.shape[2:])
    pads = padding(attributes, x.shape[2:], kernel)
    even = all(before == after for before, after in pads)
    groups = attributes.get("group", 1)
    layer = (nn.Conv2d if even else PaddedConv2d)(
        weight.shape[1] * groups,
        weight.shape[0],
        kernel,
        stride=_pair(attributes.get("strides", (1, 1))),
        padding=_pair([before for before, _ in pads]) if even else 0,
        dilation=_pair(attributes.get("dilations", (1, 1))),
        groups=groups,
        bias=bias is not None,
    )
    if isinstance(layer, PaddedConv2d):
        layer.sides = torch_padding(pads)
    return _filled(layer, weight=weight, bias=bias)


def _pair(values: Sequence[int]) -> tuple[int, int]:
    height, width = values
    return height, width


def _gemm(
    attributes: Attributes, x: Tensor, weight: Tensor, bias: Tensor | None = None
) -> nn.Module | None:
    if attributes.get("transA", 0):
        return None
    matrix = (weight if attributes.get("transB", 0) else weight.T) * attributes.get("alpha", 1.0)
    if bias is not None:
        bias = (bias * attributes.get("beta", 1.0)).reshape(-1).expand(matrix.shape[0])
    return _linear(matrix, bias, x)


def _matmul(_: Attributes, x: Tensor, weight: Tensor) -> nn.Module | None:
    return _linear(weight.T, None, x) if weight.ndim == 2 else None  # noqa: PLR2004


def _linear(matrix: Tensor, bias: Tensor | None, x: Tensor) -> nn.Module | None:
    if x.ndim == 0 or not x.is_floating_point():
        return None
    layer = nn.Linear(matrix.shape[1], matrix.shape[0], bias=bias is not None)
    return _filled(layer, weight=matrix, bias=bias)


def _batch_norm(
    attributes: Attributes, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor
) -> nn.Module | None:
    kinds = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
    if x.ndim not in kinds:
        return None
    layer = kinds[x.ndim](len(scale), eps=attributes.get("epsilon", 1e-5))
    return _filled(layer, weight=scale, bias=bias, running_mean=mean, running_var=variance)


def _layer_norm(
    attributes: Attributes, x: Tensor, scale: Tensor, bias: Tensor | None = None
) -> nn.Module | None:
    shape = x.shape[attributes.get("axis", -1) % x.ndim :]
    if scale.shape != shape:
        return None
    layer = nn.LayerNorm(shape, eps=attributes.get("epsilon", 1e-5), bias=bias is not None)
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
    attributes: Attributes, __: Tensor, low: Tensor | None = None, high: Tensor | None = None
) -> nn.Module:
    lowest = attributes.get("min", -math.inf) if low is None else low.item()
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
    "Gemm": _gemm,
    "LayerNormalization": _layer_norm,
    "MatMul": _matmul,
    "PRelu": _prelu,
    "Relu": _relu,
}
"""Builders by ONNX operator."""

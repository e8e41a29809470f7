"""Quantisation as floating-point numbers: quantised values are whole float32 numbers.

Rounding has the gradient of the identity within the range of the quantised type, and none beyond it (the
straight-through estimator, https://arxiv.org/abs/1308.3432).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from leam.recognizers.onnx.operators.declaration import MICROSOFT, implements
from leam.recognizers.onnx.operators.shapes import dtype_of

_RANGES = {
    torch.int8: (-128, 127),
    torch.uint8: (0, 255),
    torch.int16: (-(1 << 15), (1 << 15) - 1),
    torch.uint16: (0, (1 << 16) - 1),
}


@implements("QuantizeLinear", MICROSOFT + "QuantizeLinear")
def _quantize(
    x: Tensor,
    scale: Tensor,
    zero: Tensor | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
    saturate: bool = True,  # noqa: ARG001  of float8
    precision: int = 0,  # noqa: ARG001
) -> Tensor:
    kind = zero.dtype if zero is not None else torch.uint8
    if zero is None and output_dtype:
        kind = dtype_of(output_dtype)
    if kind not in _RANGES:
        raise NotImplementedError("to a type other than int8, uint8, int16 and uint16")
    low, high = _RANGES[kind]
    scale, offset = _along(x, scale, axis, block_size), _along(x, zero, axis, block_size)
    return _rounded(x.to(torch.float32) / scale, low - offset, high - offset) + offset


@implements("DequantizeLinear", MICROSOFT + "DequantizeLinear")
def _dequantize(
    x: Tensor,
    scale: Tensor,
    zero: Tensor | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,  # noqa: ARG001  all floating-point numbers are float32
) -> Tensor:
    shifted = x.to(torch.float32) - _along(x, zero, axis, block_size)
    return shifted * _along(x, scale, axis, block_size)


@implements("DynamicQuantizeLinear")
def _quantize_dynamically(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return quantize_by_range(x, x.detach().amin(), x.detach().amax())


def quantize_by_range(x: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """To uint8, with the scale and the zero point that put a range and zero into 0-255."""
    low, high = low.clamp(max=0), high.clamp(min=0)
    scale = (high - low) / 255
    scale = torch.where(scale == 0, 1.0, scale)
    zero = (-low / scale).round().clamp(0, 255)
    return _rounded(x / scale, -zero, 255 - zero) + zero, scale, zero


def _rounded(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    inside = torch.minimum(torch.maximum(x, low), high)
    rounded: Tensor = _Round.apply(inside)  # type: ignore[no-untyped-call]
    return rounded


class _Round(torch.autograd.Function):
    """Rounds, with the gradient of the identity."""

    @staticmethod
    def forward(_: object, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(_: object, gradient: Tensor) -> Tensor:
        return gradient


def _along(x: Tensor, values: Tensor | None, axis: int, block_size: int) -> Tensor:
    """Scales or offsets that broadcast against ``x``: one in all, or one for each place or block of an axis."""
    if values is None:
        return torch.zeros((), device=x.device)
    values = values.to(x.device, torch.float32)
    if block_size:
        return values.repeat_interleave(block_size, axis).narrow(axis, 0, x.shape[axis])
    if values.ndim == 1 and values.numel() > 1:
        shape = [1] * x.ndim
        shape[axis] = -1
        return values.view(shape)
    return values.reshape(()) if values.numel() == 1 else values


@implements(MICROSOFT + "MatMulNBits")
def _matmul_n_bits(
    x: Tensor,
    packed: Tensor,
    scales: Tensor,
    zeros: Tensor | None = None,
    groups: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    K: int,  # noqa: N803  ONNX's names
    N: int,  # noqa: N803
    block_size: int,
    bits: Literal[2, 4, 8] = 4,
    accuracy_level: int = 0,  # noqa: ARG001  of the product
    weight_prepacked: Literal[0] = 0,  # noqa: ARG001
) -> Tensor:
    if groups is not None:
        raise NotImplementedError("with input g_idx")
    weight = unpacked(packed, scales, zeros, (N, K), bits, block_size).to(x.device)
    return functional.linear(x, weight, bias)


def unpacked(
    packed: Tensor,
    scales: Tensor,
    zeros: Tensor | None,
    shape: tuple[int, int],
    bits: int,
    block_size: int,
) -> Tensor:
    """The matrix ``(N, K)`` of which each byte holds several numbers, the lowest bits first.

    Args:
        packed: uint8, with a scale for each block of a row.
        scales: One for each block.
        zeros: The zero points, packed like the numbers, or as floating-point numbers; by default the middle of the
            range.
        shape: ``(N, K)``.
        bits: Number of bits of a number.
        block_size: Number of numbers in a block.
    """
    rows, columns = shape
    blocks = -(-columns // block_size)
    numbers = _numbers(packed, bits).reshape(rows, blocks, block_size)
    offset = torch.full((rows, blocks), float(1 << (bits - 1)))
    if zeros is not None:
        of_rows = zeros if zeros.is_floating_point() else _numbers(zeros.reshape(rows, -1), bits)
        offset = of_rows.reshape(rows, -1)[:, :blocks]
    values = (numbers - offset[..., None]) * scales.reshape(rows, blocks, 1)
    return values.reshape(rows, -1)[:, :columns]


def _numbers(packed: Tensor, bits: int) -> Tensor:
    """``(..., n)`` uint8 to ``(..., n * 8 / bits)`` float32."""
    shifts = torch.arange(0, 8, bits, dtype=torch.uint8)
    numbers = (packed[..., None] >> shifts) & ((1 << bits) - 1)
    return numbers.flatten(-2).to(torch.float32)

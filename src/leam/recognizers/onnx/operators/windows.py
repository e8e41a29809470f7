"""Convolutions and pooling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from leam.recognizers.onnx.operators.declaration import implements, together
from leam.recognizers.onnx.operators.reductions import mean_over

AutoPad = Literal["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]


@dataclass(frozen=True)
class Window:
    """A window that moves over the spatial axes.

    Attributes:
        kernel: Size on each axis.
        strides: Step on each axis.
        dilations: Distance of the window's elements on each axis.
        pads: Padding before and after each axis.
    """

    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    pads: list[tuple[int, int]]

    @property
    def even(self) -> bool:
        """Whether the padding is the same on both sides of each axis."""
        return all(before == after for before, after in self.pads)

    @property
    def spans(self) -> list[int]:
        """The number of elements that the window covers on each axis."""
        return [(k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True)]


def window(
    sizes: Sequence[int],
    kernel: Sequence[int],
    strides: list[int] | None,
    dilations: list[int] | None,
    pads: list[int] | None,
    auto_pad: AutoPad,
) -> Window:
    """The window of a convolution or of pooling over spatial axes of these sizes."""
    rank = len(kernel)
    found = Window(list(kernel), strides or [1] * rank, dilations or [1] * rank, [])
    for size, span, stride in zip(sizes, found.spans, found.strides, strict=True):
        total = max(0, (math.ceil(size / stride) - 1) * stride + span - size)
        small, large = total // 2, total - total // 2
        pair = {"SAME_UPPER": (small, large), "SAME_LOWER": (large, small)}.get(auto_pad, (0, 0))
        found.pads.append(pair)
    if auto_pad == "NOTSET" and pads:
        found.pads[:] = zip(pads[:rank], pads[rank:], strict=True)
    return found


def torch_padding(pads: Sequence[tuple[int, int]]) -> list[int]:
    """Padding pairs in the order of ``functional.pad``: flat, the last axis first."""
    return [side for pair in reversed(pads) for side in pair]


_CONV = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
_TRANSPOSED = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}
_AVERAGE = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}
_MAX = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}


@implements("Conv")
def _conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    kernel_shape: list[int] | None = None,
    strides: list[int] | None = None,
    dilations: list[int] | None = None,
    pads: list[int] | None = None,
    auto_pad: AutoPad = "NOTSET",
    group: int = 1,
) -> Tensor:
    kernel = kernel_of(weight, kernel_shape)
    at = window(x.shape[2:], kernel, strides, dilations, pads, auto_pad)
    padded = functional.pad(x, torch_padding(at.pads)) if any(map(any, at.pads)) else x
    convolved: Tensor = _CONV[len(kernel)](padded, weight, bias, at.strides, 0, at.dilations, group)
    return convolved


def kernel_of(weight: Tensor, kernel_shape: list[int] | None) -> list[int]:
    """The size of a convolution's kernel.

    Raises:
        ValueError: The node and its weights disagree.
    """
    kernel = list(weight.shape[2:])
    if kernel_shape not in (None, kernel):
        raise ValueError(f"kernel_shape = {kernel_shape}, and weights of {kernel}")
    return kernel


@implements("ConvTranspose")
def _conv_transpose(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    kernel_shape: list[int] | None = None,
    strides: list[int] | None = None,
    dilations: list[int] | None = None,
    pads: list[int] | None = None,
    auto_pad: AutoPad = "NOTSET",
    group: int = 1,
    output_padding: list[int] | None = None,
    output_shape: list[int] | None = None,
) -> Tensor:
    kernel = kernel_of(weight, kernel_shape)
    at = window(x.shape[2:], kernel, strides, dilations, pads, auto_pad)
    extra = output_padding or [0] * len(kernel)
    full = _TRANSPOSED[len(kernel)](x, weight, None, at.strides, 0, 0, group, at.dilations)
    full = functional.pad(full, torch_padding([(0, more) for more in extra]))
    if auto_pad.startswith("SAME") and output_shape is None:
        output_shape = [n * stride for n, stride in zip(x.shape[2:], at.strides, strict=True)]
    sides = at.pads
    if output_shape is not None:
        beyond = [n - size for n, size in zip(full.shape[2:], output_shape, strict=True)]
        if auto_pad.startswith("SAME") and min(beyond) < 0:
            # The standard asks for more than the input reaches, and onnxruntime gives less.
            raise NotImplementedError(
                f"attribute auto_pad = {auto_pad!r} with a kernel below the stride"
            )
        # The larger half is cut off first, and what the input does not reach is added at the end.
        first = [max(0, n) // 2 for n in beyond]
        if auto_pad != "SAME_UPPER":
            first = [max(0, n) - half for n, half in zip(beyond, first, strict=True)]
        sides = [(half, n - half) for n, half in zip(beyond, first, strict=True)]
    full = functional.pad(full, torch_padding([(-before, -after) for before, after in sides]))
    return full if bias is None else full + bias.view(-1, *[1] * len(kernel))


def spatial_mean(x: Tensor) -> Tensor:
    """``(B, C, ...)`` to ``(B, C, 1, ...)``."""
    return mean_over(x, list(range(2, x.ndim)), True)  # noqa: FBT003


@implements("GlobalAveragePool")
def _global_average_pool(x: Tensor) -> Tensor:
    return spatial_mean(x)


@implements("GlobalMaxPool")
def _global_max_pool(x: Tensor) -> Tensor:
    return x.amax(dim=tuple(range(2, x.ndim)), keepdim=True)


@implements("GlobalLpPool")
def _global_lp_pool(x: Tensor, *, p: int = 2) -> Tensor:
    pooled: Tensor = torch.linalg.vector_norm(x, p, dim=tuple(range(2, x.ndim)), keepdim=True)
    return pooled


@implements("AveragePool")
def _average_pool(
    x: Tensor,
    *,
    kernel_shape: list[int],
    strides: list[int] | None = None,
    dilations: list[int] | None = None,
    pads: list[int] | None = None,
    auto_pad: AutoPad = "NOTSET",
    ceil_mode: bool = False,
    count_include_pad: bool = False,
) -> Tensor:
    at = _pooling_window(x, kernel_shape, strides, dilations, pads, auto_pad)
    padded = any(map(any, at.pads))
    if at.kernel == list(x.shape[2:]) and not padded:
        return spatial_mean(x)
    over = _overhang(at, x.shape[2:], ceil_mode=ceil_mode)
    if at.even and not any(over) and set(at.dilations) == {1}:
        before = [pair[0] for pair in at.pads]
        if all(2 * pad <= k for pad, k in zip(before, at.kernel, strict=True)):
            pool = _AVERAGE[len(at.kernel)]
            return pool(x, at.kernel, at.strides, before, False, count_include_pad)  # noqa: FBT003
    sides = torch_padding(at.pads)
    counted = functional.pad(torch.ones_like(x[:1, :1]), sides, value=float(count_include_pad))
    beyond = torch_padding([(0, more) for more in over])
    total = _summed(functional.pad(functional.pad(x, sides), beyond), at)
    return total / _summed(functional.pad(counted, beyond), at)


@implements("LpPool")
def _lp_pool(
    x: Tensor,
    *,
    kernel_shape: list[int],
    p: int = 2,
    strides: list[int] | None = None,
    dilations: list[int] | None = None,
    pads: list[int] | None = None,
    auto_pad: AutoPad = "NOTSET",
    ceil_mode: bool = False,
) -> Tensor:
    at = _pooling_window(x, kernel_shape, strides, dilations, pads, auto_pad)
    over = _overhang(at, x.shape[2:], ceil_mode=ceil_mode)
    sides = [(b, a + more) for (b, a), more in zip(at.pads, over, strict=True)]
    return _summed(functional.pad(x.abs().pow(p), torch_padding(sides)), at).pow(1 / p)


def _pooling_window(
    x: Tensor,
    kernel: list[int],
    strides: list[int] | None,
    dilations: list[int] | None,
    pads: list[int] | None,
    auto_pad: AutoPad,
) -> Window:
    at = window(x.shape[2:], kernel, strides, dilations, pads, auto_pad)
    if auto_pad.startswith("SAME") and set(at.dilations) != {1}:
        # ONNX's reference pads for the dilated window, onnxruntime for the kernel.
        raise NotImplementedError(f"attribute auto_pad = {auto_pad!r} with dilations")
    return at


def _summed(x: Tensor, at: Window) -> Tensor:
    """Sums over the windows of a padded input."""
    ones = torch.ones(1, 1, *at.kernel, dtype=x.dtype, device=x.device)
    conv = _CONV[len(at.kernel)]
    summed: Tensor = conv(x.reshape(-1, 1, *x.shape[2:]), ones, None, at.strides, 0, at.dilations)
    return summed.reshape(*x.shape[:2], *summed.shape[2:])


def _overhang(at: Window, sizes: Sequence[int], *, ceil_mode: bool) -> list[int]:
    """How far the last windows reach beyond the padding; nowhere unless their number is rounded up."""
    if not ceil_mode:
        return [0] * len(at.kernel)
    beyond = []
    for size, span, stride, (before, after) in zip(
        sizes, at.spans, at.strides, at.pads, strict=True
    ):
        padded = size + before + after
        count = math.ceil((padded - span) / stride) + 1
        # A window that would start after the input and the padding before it is left out.
        if (count - 1) * stride >= size + before:
            count -= 1
        beyond.append(max(0, (count - 1) * stride + span - padded))
    return beyond


@implements("MaxPool")
def _max_pool(
    x: Tensor,
    *,
    kernel_shape: list[int],
    strides: list[int] | None = None,
    dilations: list[int] | None = None,
    pads: list[int] | None = None,
    auto_pad: AutoPad = "NOTSET",
    ceil_mode: bool = False,
    storage_order: Literal[0, 1] = 0,
    outputs: tuple[bool, ...],
) -> tuple[Tensor, ...]:
    at = _pooling_window(x, kernel_shape, strides, dilations, pads, auto_pad)
    over = _overhang(at, x.shape[2:], ceil_mode=ceil_mode)
    sides = [(b, a + more) for (b, a), more in zip(at.pads, over, strict=True)]
    values = x if x.is_floating_point() else x.to(torch.float32)
    if any(map(any, sides)):
        values = functional.pad(values, torch_padding(sides), value=-math.inf)
    pool = _MAX[len(at.kernel)]
    if outputs[1:] != (True,):
        return (pool(values, at.kernel, at.strides, 0, at.dilations).to(x.dtype),)
    pooled, places = pool(values, at.kernel, at.strides, 0, at.dilations, return_indices=True)
    return pooled.to(x.dtype), _places_in(x, places, values.shape, at, storage_order)


def _places_in(
    x: Tensor, places: Tensor, padded: torch.Size, at: Window, storage_order: int
) -> Tensor:
    """Places of maxima in the flat input, from those in each padded channel."""
    axes = list(zip(padded[2:], x.shape[2:], at.pads, strict=True))
    coordinates = []
    for size, _, (before, _) in reversed(axes):
        coordinates.append(places % size - before)
        places = places // size
    order = zip(coordinates, [size for _, size, _ in reversed(axes)], strict=True)
    flat, step = torch.zeros_like(places), 1
    for coordinate, size in reversed(list(order)) if storage_order else order:
        flat, step = flat + coordinate * step, step * size
    channels = torch.arange(x.shape[0] * x.shape[1], device=x.device) * step
    return flat + channels.view(*x.shape[:2], *[1] * len(axes))


@implements("MatMul")
def _matmul(a: Tensor, b: Tensor) -> Tensor:
    a, b = together(a, b)
    return torch.matmul(a, b)


@implements("com.microsoft.FusedMatMul")
def _fused_matmul(
    a: Tensor,
    b: Tensor,
    *,
    alpha: float = 1.0,
    transA: bool = False,  # noqa: N803  ONNX's names
    transB: bool = False,  # noqa: N803
    transBatchA: bool = False,  # noqa: N803
    transBatchB: bool = False,  # noqa: N803
) -> Tensor:
    a, b = together(a, b)
    left, right = _turned(a, transA, transBatchA), _turned(b, transB, transBatchB)
    product: Tensor = torch.matmul(left, right) * alpha
    return product


def _turned(x: Tensor, matrix: bool, batch: bool) -> Tensor:  # noqa: FBT001
    """With its first axis as rows, and with rows as columns, if wanted; a vector stays as it is."""
    x = x.movedim(0, -2) if batch and x.ndim > 1 else x
    return x.mT if matrix and x.ndim > 1 else x


@implements("Gemm")
def _gemm(
    a: Tensor,
    b: Tensor,
    c: Tensor | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: bool = False,  # noqa: N803
    transB: bool = False,  # noqa: N803
) -> Tensor:
    a, b = together(a, b)
    product: Tensor = torch.matmul(a.mT if transA else a, b.mT if transB else b) * alpha
    return product if c is None else product + c.to(a.device) * beta


@implements("Einsum")
def _einsum(*inputs: Tensor, equation: str) -> Tensor:
    product: Tensor = torch.einsum(equation, *together(*inputs))
    return product

"""Resize and Upsample: for each axis, a matrix of the weights that each output gives to the inputs.

The semantics are those of the ONNX operator reference (https://onnx.ai/onnx/operators/onnx__Resize.html); before opset
11, where the reference leaves them open, those of onnxruntime.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from leam.recognizers.onnx.operators.declaration import implements, numbers

Mode = Literal["nearest", "linear", "cubic"]
Place = Literal[
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_crop_and_resize",
    "tf_half_pixel_for_nn",
]
Rounding = Literal["round_prefer_floor", "round_prefer_ceil", "floor", "ceil", "simple"]


@dataclass(frozen=True)
class _Axis:
    """One axis that is resized: its sizes, the factor between them, and the part that is resized.

    Attributes:
        axis: The axis.
        old: Size before.
        new: Size after.
        scale: The factor, as the file gives it; it need not be the quotient of the sizes.
        roi: Where the resized part starts and ends, as fractions of the axis.
    """

    axis: int
    old: int
    new: int
    scale: float
    roi: tuple[float, float] = (0.0, 1.0)

    def places(self, place: Place) -> Tensor:
        """The coordinate of each output on the input's axis, ``(new,)`` float32, as onnxruntime computes it."""
        at = torch.arange(self.new, dtype=torch.float32)
        last, centre = self.old - 1, (at + 0.5) / self.scale - 0.5
        start, end = self.roi if place == "tf_crop_and_resize" else (0.0, 1.0)
        if place in {"align_corners", "tf_crop_and_resize"}:
            if self.new > 1:
                # In onnxruntime's order: rounding moves places that are nearly whole numbers.
                return start * last + at * (end - start) * last / (self.new - 1)
            return torch.tensor([0.0 if place == "align_corners" else 0.5 * (start + end) * last])
        if place == "pytorch_half_pixel" and self.new == 1:
            return torch.zeros(1)
        return {
            "half_pixel_symmetric": centre + self.old / 2 - self.new / self.scale / 2,
            "asymmetric": at / self.scale,
            "tf_half_pixel_for_nn": (at + 0.5) / self.scale,
        }.get(place, centre)


@implements("Upsample")
def _upsample_7(
    x: Tensor, *, scales: list[float], mode: Literal["nearest", "linear"] = "nearest"
) -> Tensor:
    return _upsample_9(x, torch.tensor(scales), mode=mode)


@implements("Upsample", since=9)
@implements("Resize", since=10)
def _upsample_9(
    x: Tensor, scales: Tensor, *, mode: Literal["nearest", "linear"] = "nearest"
) -> Tensor:
    return _resize(
        x, None, scales, mode=mode, coordinate_transformation_mode="asymmetric", nearest_mode="simple"
    )  # fmt: skip


@implements("Resize", since=11)
def _resize(
    x: Tensor,
    roi: Tensor | None = None,
    scales: Tensor | None = None,
    sizes: Tensor | None = None,
    *,
    mode: Mode = "nearest",
    coordinate_transformation_mode: Place = "half_pixel",
    nearest_mode: Rounding = "round_prefer_floor",
    cubic_coeff_a: float = -0.75,
    exclude_outside: bool = False,
    extrapolation_value: float = 0.0,
    antialias: bool = False,
    axes: list[int] | None = None,
    keep_aspect_ratio_policy: Literal["stretch", "not_larger", "not_smaller"] = "stretch",
) -> Tensor:
    chosen = [axis % x.ndim for axis in axes] if axes else list(range(x.ndim))
    place = coordinate_transformation_mode
    outside = None
    for one in _axes(
        x.shape, chosen, scales, sizes, keep_aspect_ratio_policy, place, _parts(roi, place)
    ):
        if one.new == one.old and one.scale == 1:
            if one.roi != (0.0, 1.0):
                # ONNX's reference cuts the part out, onnxruntime leaves the axis as it is.
                raise NotImplementedError(f"with a roi on axis {one.axis}, which keeps its size")
            continue
        at = one.places(place)
        if mode == "nearest":
            x = x.index_select(one.axis, _nearest(at, one, nearest_mode).to(x.device))
        else:
            shrink = min(one.scale, 1.0) if antialias else 1.0
            a = cubic_coeff_a if mode == "cubic" else None
            matrix = _weights(at, one.old, shrink, a, exclude_outside=exclude_outside).to(x.device)
            x = (x.movedim(one.axis, -1) @ matrix.T).movedim(-1, one.axis)
        if place == "tf_crop_and_resize":
            shape = [1] * x.ndim
            shape[one.axis] = -1
            beyond = ((at < 0) | (at > one.old - 1)).view(shape).to(x.device)
            outside = beyond if outside is None else outside | beyond
    return x if outside is None else torch.where(outside, extrapolation_value, x)


def _parts(roi: Tensor | None, place: Place) -> list[float] | None:
    return numbers(roi) if roi is not None and place == "tf_crop_and_resize" else None


def _axes(
    shape: Sequence[int],
    axes: list[int],
    scales: Tensor | None,
    sizes: Tensor | None,
    policy: str,
    place: Place,
    roi: list[float] | None,
) -> list[_Axis]:
    """The axes that are resized, their new sizes and their scales."""
    old = [shape[axis] for axis in axes]
    if sizes is not None and sizes.numel():
        new: list[int] = numbers(sizes)
        if axes[0] == 0 and new[0] == 1:
            new[0] = old[0]  # written for a batch of one
        factors = [n / size for n, size in zip(new, old, strict=True)]
        if policy != "stretch":
            factor = min(factors) if policy == "not_larger" else max(factors)
            factors = [factor] * len(old)
            new = [math.floor(factor * size + 0.5) for size in old]
    elif scales is not None and scales.numel():
        factors = numbers(scales)
        # In single precision, as onnxruntime does.
        exact = torch.tensor(old) * scales.to("cpu", torch.float32)
        new = numbers(exact.floor().int())
        if place == "align_corners" and new != numbers(exact):
            # ONNX's reference takes the last corner at the exact size, onnxruntime at the whole one.
            raise NotImplementedError("align_corners with scales that give a fraction of a pixel")
    else:
        raise ValueError("neither scales nor sizes are given")
    count = len(axes)
    parts = list(zip(roi[:count], roi[count:], strict=True)) if roi else [(0.0, 1.0)] * count
    return [_Axis(*each) for each in zip(axes, old, new, factors, parts, strict=True)]


def _nearest(at: Tensor, one: _Axis, rounding: Rounding) -> Tensor:
    """The input that each output is a copy of."""
    if rounding == "simple":  # onnxruntime's, before the attribute existed
        rounding = "ceil" if one.scale < 1 else "floor"
    rounded = {
        "round_prefer_floor": (at - 0.5).ceil(),
        "round_prefer_ceil": (at + 0.5).floor(),
        "floor": at.floor(),
        "ceil": at.ceil(),
    }[rounding]
    return rounded.to(torch.int64).clamp(0, one.old - 1)


def _weights(
    at: Tensor, size: int, shrink: float, a: float | None, *, exclude_outside: bool
) -> Tensor:
    """The weight that each output at ``at`` gives to each input, ``(new, size)``.

    Args:
        at: Coordinates of the outputs.
        size: Number of inputs.
        shrink: Below 1, the kernel is wider by that factor, so that no input is left out (antialiasing).
        a: The cubic kernel's coefficient; None for the linear kernel.
        exclude_outside: Whether inputs beyond the borders have no weight; otherwise they equal those at the borders.
    """
    reach = math.ceil((1 if a is None else 2) / shrink)
    # Whole windows around the outputs, also around those beyond the borders.
    first = at.floor().to(torch.int64)[:, None] + torch.arange(1 - reach, reach + 1)
    distance = (first - at[:, None]).abs() * shrink
    values = _linear(distance) if a is None else _cubic(distance, a)
    if exclude_outside:
        values = values * ((first >= 0) & (first < size))
    values = values / values.sum(1, keepdim=True)
    return torch.zeros(len(at), size).scatter_add(1, first.clamp(0, size - 1), values)


def _linear(distance: Tensor) -> Tensor:
    return (1 - distance).clamp(min=0)


def _cubic(distance: Tensor, a: float) -> Tensor:
    """Keys' kernel, https://doi.org/10.1109/TASSP.1981.1163711."""
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((distance - 5) * distance + 8) * distance * a - 4 * a
    return torch.where(distance <= 1, near, torch.where(distance < 2, far, 0))  # noqa: PLR2004

"""Passes over memory in compiled loops, where numba is installed (extra ``fast``); torch takes several for each.

A processor spends most of the maps' own time on carrying values from memory and back, so one loop that reads each value
once is two to three times as fast as the four to six steps that torch offers. A function returns None where its loop
does not fit: without numba, off the processor, for other numbers than float32, or where a place's channels do not lie
side by side. Its caller then takes torch's steps, which give the same to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from leam.mapping import loops
from leam.mapping.loops import ANY_ORDER, Loop, inlined, loop, matrix, share, sizes, vector

Affine = tuple[Tensor, Tensor]
"""A gain and a shift, for all channels ``(1,)`` or for each ``(C,)``."""

# Measured: of fewer numbers torch's steps are as fast.
_LEAST = 1 << 13
_ZERO, _ONE = np.float32(0), np.float32(1)


# What the loops below are given has a value for each place and channel, for each place, or for each channel.
@inlined
def _grid(data: Any, place: int) -> Any:  # noqa: ANN401
    return matrix(data, place, sizes(data, 2)[0], sizes(data, 2)[1])


@inlined
def _by_place(data: Any, place: int) -> Any:  # noqa: ANN401
    return vector(data, place, sizes(data, 2)[0])


@inlined
def _by_channel(data: Any, place: int) -> Any:  # noqa: ANN401
    return vector(data, place, sizes(data, 2)[1])


# A product and a sum are rounded once, as in torch's normalisation, or a value may land beyond an activation's kink.
@loop(fastmath={"contract"})
def _slopes(data: Any) -> None:  # noqa: ANN401
    x, out = _grid(data, 0), _grid(data, 1)
    gain, shift, below = _by_channel(data, 2), _by_channel(data, 3), _by_channel(data, 4)
    first, end = share(data)
    for i in range(first, end):
        for j in range(x.shape[1]):
            value = x[i, j] * gain[j] + shift[j]
            out[i, j] = value * below[j] if value <= _ZERO else value


@loop(fastmath=ANY_ORDER)
def _slopes_backward(data: Any) -> None:  # noqa: ANN401
    gradient, x, sums = _grid(data, 0), _grid(data, 1), _by_place(data, 2)
    gain, shift, below = _by_channel(data, 3), _by_channel(data, 4), _by_channel(data, 5)
    first, end = share(data)
    for i in range(first, end):
        total = _ZERO
        for j in range(x.shape[1]):
            negative = x[i, j] * gain[j] + shift[j] <= _ZERO
            value = gradient[i, j] * (below[j] if negative else _ONE) * gain[j]
            gradient[i, j] = value
            total += max(value, _ZERO) * x[i, j]
        sums[i] = max(total, _ZERO)


@loop(fastmath={"contract"})
def _limits(data: Any) -> None:  # noqa: ANN401
    x, out = _grid(data, 0), _grid(data, 1)
    gain, shift = _by_channel(data, 2), _by_channel(data, 3)
    low, high = _by_channel(data, 4)[0], _by_channel(data, 5)[0]
    first, end = share(data)
    for i in range(first, end):
        for j in range(x.shape[1]):
            out[i, j] = min(max(x[i, j] * gain[j] + shift[j], low), high)


@loop(fastmath=ANY_ORDER)
def _limits_backward(data: Any) -> None:  # noqa: ANN401
    gradient, x, sums = _grid(data, 0), _grid(data, 1), _by_place(data, 2)
    gain, shift = _by_channel(data, 3), _by_channel(data, 4)
    above, below = _by_channel(data, 5)[0], _by_channel(data, 6)[0]
    first, end = share(data)
    for i in range(first, end):
        total = _ZERO
        for j in range(x.shape[1]):
            given = x[i, j] * gain[j] + shift[j]
            stopped = given <= above or given >= below
            value = _ZERO if stopped else gradient[i, j] * gain[j]
            gradient[i, j] = value
            total += max(value, _ZERO) * x[i, j]
        sums[i] = max(total, _ZERO)


@loop(fastmath=ANY_ORDER)
def _positive(data: Any) -> None:  # noqa: ANN401
    activations, gradients, out = _grid(data, 0), _grid(data, 1), _by_place(data, 2)
    first, end = share(data)
    for i in range(first, end):
        total = _ZERO
        for j in range(activations.shape[1]):
            total += max(gradients[i, j], _ZERO) * activations[i, j]
        out[i] = max(total, _ZERO)


def slopes(x: Tensor, slopes: Tensor, affine: Affine) -> Tensor | None:
    """A gain, a shift and a PReLU.

    Args:
        x: ``(B, C, h, w)``.
        slopes: ``(C,)`` or ``(1,)``.
        affine: The gain and the shift.
    """
    if not fits(x):
        return None
    out = torch.empty_like(x)
    _run(_slopes, [x, out], [*affine, slopes])
    return out


def slopes_backward(
    gradient: Tensor, x: Tensor, slopes: Tensor, affine: Affine, *, owned: bool = False
) -> tuple[Tensor, Tensor]:
    """The gradient at ``x`` of :func:`slopes`, where that did not return None, and what :func:`positive` makes of both.

    Args:
        gradient: Of the output, ``(B, C, h, w)``.
        x: The input, of the same shape.
        slopes: ``(C,)`` or ``(1,)``.
        affine: The gain and the shift.
        owned: Whether the gradient is the caller's alone, so that it may be written over.

    Returns:
        ``(B, C, h, w)``, and ``(B, h, w)`` of the values that pass through the processor anyway.
    """
    return _backward(_slopes_backward, gradient, x, [*affine, slopes], owned=owned)


def limits(x: Tensor, low: float, high: float, affine: Affine) -> Tensor | None:
    """A gain, a shift and limits.

    Args:
        x: ``(B, C, h, w)``.
        low: The lower limit.
        high: The upper one.
        affine: The gain and the shift.
    """
    if not fits(x):
        return None
    out = torch.empty_like(x)
    _run(_limits, [x, out], [*affine, torch.tensor([low]), torch.tensor([high])])
    return out


def limits_backward(
    gradient: Tensor, x: Tensor, above: float, below: float, affine: Affine, *, owned: bool = False
) -> tuple[Tensor, Tensor]:
    """The gradient at ``x`` of :func:`limits`, where that did not return None, and what :func:`positive` makes of both.

    Args:
        gradient: Of the output, ``(B, C, h, w)``.
        x: The input, of the same shape.
        above: Where gradients begin to pass, after gain and shift.
        below: Where they no longer do.
        affine: The gain and the shift.
        owned: As for :func:`slopes_backward`.

    Returns:
        As :func:`slopes_backward`.
    """
    limits = [torch.tensor([above]), torch.tensor([below])]
    return _backward(_limits_backward, gradient, x, [*affine, *limits], owned=owned)


def positive(activations: Tensor, gradients: Tensor) -> Tensor | None:
    """The positive part of ``sum(relu(gradients) * activations)`` over channels: ``(B, C, h, w)`` to ``(B, h, w)``."""
    if activations.shape != gradients.shape or not fits(activations, gradients):
        return None
    count, _, height, width = activations.shape
    out = torch.empty(count, height, width)
    _run(_positive, [activations, gradients, out])
    return out


def fits(*tensors: Tensor) -> bool:
    """Whether a loop can take tensors ``(B, C, h, w)``."""
    return loops.ready(len(tensors[0])) and all(
        t.ndim == 4  # noqa: PLR2004  images only
        and t.dtype == torch.float32
        and t.device.type == "cpu"
        and t.numel() >= _LEAST
        and t.is_contiguous(memory_format=torch.channels_last)
        for t in tensors
    )


def _backward(
    loop: Loop, gradient: Tensor, x: Tensor, constants: Sequence[Tensor], *, owned: bool
) -> tuple[Tensor, Tensor]:
    # A place's channels side by side, as they are in what was fit.
    beside = gradient.contiguous(memory_format=torch.channels_last)
    if beside is gradient and not owned:
        beside = gradient.clone()
    sums = x.new_empty(x.shape[0], *x.shape[2:])
    _run(loop, [beside, x, sums], constants)
    return beside, sums


def _run(loop: Loop, tensors: Sequence[Tensor], constants: Sequence[Tensor] = ()) -> None:
    """Run a loop over the places of tensors, with constants for all channels ``(1,)`` or for each ``(C,)``."""
    count, channels, height, width = tensors[0].shape
    wide = [_for_each(constant, channels) for constant in constants]
    loop([count * height * width, channels], [*tensors, *wide])


def _for_each(constant: Tensor, channels: int) -> Tensor:
    """A constant as one for each channel, in memory as a loop reads it."""
    if len(constant) == channels and constant.dtype == torch.float32 and constant.is_contiguous():
        return constant  # the usual case, without three calls that change nothing
    return constant.to(torch.float32).expand(channels).contiguous()

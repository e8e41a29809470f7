"""Passes over memory in compiled loops, where numba is installed (extra ``fast``); torch takes several for each.

A processor spends most of the maps' own time on carrying values from memory and back, so one loop that reads each value
once is two to three times as fast as the four to six steps that torch offers. A function returns None where its loop
does not fit: without numba, off the processor, for other numbers than float32, on several threads, or where a place's
channels do not lie side by side. Its caller then takes torch's steps, which give the same to rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# One that was made for another NumPy refuses to be imported.
try:
    import numba
except ImportError:
    INSTALLED = False
else:
    INSTALLED = True

Affine = tuple[Tensor, Tensor]
"""A gain and a shift, for all channels ``(1,)`` or for each ``(C,)``."""

_Rows = NDArray[np.float32]
# Measured: of fewer numbers, or on more threads, torch's steps are as fast. Loops share nothing out among threads of
# their own, since torch's, which wait by spinning, would take the cores from them.
_LEAST, _THREADS = 1 << 15, 1
_ZERO, _ONE = np.float32(0), np.float32(1)
_ANY_ORDER = {"reassoc", "contract", "nsz"}


def _loop(**options: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:  # noqa: ANN401
    """Have a function compiled when it is first called."""

    def compile_later(function: Callable[..., None]) -> Callable[..., None]:
        if not INSTALLED:
            return function
        compiled: Callable[..., None] = numba.njit(**options)(function)
        return compiled

    return compile_later


# A product and a sum are rounded once, as in torch's normalisation, or a value may land beyond an activation's kink.
@_loop(fastmath={"contract"})
def _slopes(x: _Rows, out: _Rows, gain: _Rows, shift: _Rows, below: _Rows) -> None:
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            value = x[i, j] * gain[j] + shift[j]
            out[i, j] = value * below[j] if value <= _ZERO else value


# Sums may be taken in any order, so that several channels are added at once.
@_loop(fastmath=_ANY_ORDER)
def _slopes_backward(
    gradient: _Rows,
    x: _Rows,
    out: _Rows,
    sums: _Rows,
    gain: _Rows,
    shift: _Rows,
    below: _Rows,
) -> None:
    for i in range(x.shape[0]):
        total = _ZERO
        for j in range(x.shape[1]):
            negative = x[i, j] * gain[j] + shift[j] <= _ZERO
            value = gradient[i, j] * (below[j] if negative else _ONE) * gain[j]
            out[i, j] = value
            total += max(value, _ZERO) * x[i, j]
        sums[i, 0] = max(total, _ZERO)


@_loop(fastmath={"contract"})
def _limits(
    x: _Rows, out: _Rows, gain: _Rows, shift: _Rows, low: np.float32, high: np.float32
) -> None:
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[i, j] = min(max(x[i, j] * gain[j] + shift[j], low), high)


@_loop(fastmath=_ANY_ORDER)
def _limits_backward(
    gradient: _Rows,
    x: _Rows,
    out: _Rows,
    sums: _Rows,
    gain: _Rows,
    shift: _Rows,
    above: np.float32,
    below: np.float32,
) -> None:
    for i in range(x.shape[0]):
        total = _ZERO
        for j in range(x.shape[1]):
            given = x[i, j] * gain[j] + shift[j]
            stopped = given <= above or given >= below
            value = _ZERO if stopped else gradient[i, j] * gain[j]
            out[i, j] = value
            total += max(value, _ZERO) * x[i, j]
        sums[i, 0] = max(total, _ZERO)


@_loop(fastmath=_ANY_ORDER)
def _positive(activations: _Rows, gradients: _Rows, out: _Rows) -> None:
    for i in range(activations.shape[0]):
        total = _ZERO
        for j in range(activations.shape[1]):
            total += max(gradients[i, j], _ZERO) * activations[i, j]
        out[i, 0] = max(total, _ZERO)


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
    _run(_slopes, x, out, constants=_constants(x, *affine, slopes))
    return out


def slopes_backward(
    gradient: Tensor, x: Tensor, slopes: Tensor, affine: Affine
) -> tuple[Tensor, Tensor]:
    """The gradient at ``x`` of :func:`slopes`, where that did not return None, and what :func:`positive` makes of both.

    Args:
        gradient: Of the output, ``(B, C, h, w)``.
        x: The input, of the same shape.
        slopes: ``(C,)`` or ``(1,)``.
        affine: The gain and the shift.

    Returns:
        ``(B, C, h, w)``, and ``(B, h, w)`` of the values that pass through the processor anyway.
    """
    return _backward(_slopes_backward, gradient, x, _constants(x, *affine, slopes))


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
    constants = (*_constants(x, *affine), np.float32(low), np.float32(high))
    _run(_limits, x, out, constants=constants)
    return out


def limits_backward(
    gradient: Tensor, x: Tensor, above: float, below: float, affine: Affine
) -> tuple[Tensor, Tensor]:
    """The gradient at ``x`` of :func:`limits`, where that did not return None, and what :func:`positive` makes of both.

    Args:
        gradient: Of the output, ``(B, C, h, w)``.
        x: The input, of the same shape.
        above: Where gradients begin to pass, after gain and shift.
        below: Where they no longer do.
        affine: The gain and the shift.

    Returns:
        As :func:`slopes_backward`.
    """
    constants = (*_constants(x, *affine), np.float32(above), np.float32(below))
    return _backward(_limits_backward, gradient, x, constants)


def positive(activations: Tensor, gradients: Tensor) -> Tensor | None:
    """The positive part of ``sum(relu(gradients) * activations)`` over channels: ``(B, C, h, w)`` to ``(B, h, w)``."""
    if not fits(activations, gradients):
        return None
    count, _, height, width = activations.shape
    out = torch.empty(count, height, width)
    _run(_positive, activations, gradients, out[:, None])
    return out


def fits(*tensors: Tensor) -> bool:
    """Whether a loop can take tensors ``(B, C, h, w)``."""
    return (
        INSTALLED
        and torch.get_num_threads() <= _THREADS
        and all(
            t.ndim == 4  # noqa: PLR2004  images only
            and t.dtype == torch.float32
            and t.device.type == "cpu"
            and t.numel() >= _LEAST
            and t.is_contiguous(memory_format=torch.channels_last)
            for t in tensors
        )
    )


def _rows(tensor: Tensor) -> _Rows:
    """The places of ``(B, C, h, w)``, one a row: ``(B h w, C)``, the same memory."""
    count, channels, height, width = tensor.shape
    return tensor.detach().as_strided((count * height * width, channels), (channels, 1)).numpy()


def _backward(
    loop: Callable[..., None], gradient: Tensor, x: Tensor, constants: tuple[Any, ...]
) -> tuple[Tensor, Tensor]:
    out, sums = torch.empty_like(x), x.new_empty(x.shape[0], *x.shape[2:])
    _run(loop, _like(gradient), x, out, sums[:, None], constants=constants)
    return out, sums


def _like(gradient: Tensor) -> Tensor:
    """A gradient with a place's channels side by side, as they are in what was fit."""
    return gradient.contiguous(memory_format=torch.channels_last)


def _constants(x: Tensor, *values: Tensor) -> tuple[_Rows, ...]:
    """Values for all channels or for each, as one for each."""
    channels = x.shape[1]
    return tuple(
        value.numpy() if len(value) == channels else np.full(channels, value.item(), np.float32)
        for value in values
    )


def _run(loop: Callable[..., None], *tensors: Tensor, constants: tuple[Any, ...] = ()) -> None:
    """Run a loop over the places of all tensors."""
    loop(*map(_rows, tensors), *constants)

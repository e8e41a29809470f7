"""Compiled kernels for activations, their gradients and layer maps."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

# One that was made for another NumPy refuses to be imported.
try:
    import numba
except ImportError:
    INSTALLED = False
else:
    # What a user turned off is as good as absent.
    INSTALLED = not numba.config.DISABLE_JIT  # type: ignore[attr-defined]


ANY_ORDER = {"reassoc", "contract", "nsz"}
"""Of numba's ``fastmath``: sums may be taken in any order, so that several values are added at once."""

# Compiling takes two seconds, once in a process; of one picture, loops save milliseconds.
LEAST_FACES = 4


class Loop:
    """A loop over places, compiled when it is first run.

    Args:
        body: Given the addresses of sizes and operands, which the functions below read; takes one thread's share.
        options: Of numba's ``cfunc``.
    """

    def __init__(self, body: Callable[[Any], None], options: Mapping[str, Any]) -> None:
        self.body = body
        self.options = options

    def __call__(self, sizes: Sequence[int], operands: Sequence[Tensor]) -> None:
        """Run it.

        Args:
            sizes: What the body wants to know; threads share out the first.
            operands: What the body reads and writes: float32, in memory without gaps.
        """
        numbers = (ctypes.c_int64 * len(sizes))(*sizes)
        addresses = [ctypes.addressof(numbers), *(operand.data_ptr() for operand in operands)]
        data = (ctypes.c_void_p * len(addresses))(*addresses)
        threads, library = torch.get_num_threads(), openmp()
        if threads == 1 or library is None:
            self._compiled.ctypes(data)
        else:
            library.GOMP_parallel(self._address, data, threads, 0)

    @cached_property
    def _compiled(self) -> Any:  # noqa: ANN401  numba has no types
        addresses = numba.types.CPointer(numba.types.voidptr)  # type: ignore[no-untyped-call]
        signature = numba.types.void(addresses)
        return numba.cfunc(signature, error_model="numpy", **self.options)(self.body)

    @cached_property
    def _address(self) -> ctypes.c_void_p:
        return ctypes.c_void_p(self._compiled.address)


def loop(**options: Any) -> Callable[[Callable[[Any], None]], Loop]:  # noqa: ANN401
    """Make a function the body of a :class:`Loop`."""
    return lambda body: Loop(body, options)


@cache
def openmp() -> ctypes.CDLL | None:
    """The OpenMP library that torch itself calls; None where it cannot run a function of ours."""
    try:
        # A symbol of a library is sought in it and in those that it was linked to.
        library = ctypes.CDLL(str(next(Path(torch.__file__).parent.glob("lib/libtorch_cpu.*"))))
        library.GOMP_parallel.argtypes = [
            ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint,
        ]  # fmt: skip
        library.GOMP_parallel.restype = None
        for function in (library.omp_get_thread_num, library.omp_get_num_threads):
            function.argtypes, function.restype = [], ctypes.c_int
    except (StopIteration, OSError, AttributeError):
        return None
    return library


def ready(faces: int) -> bool:
    """Whether loops are to run for so many faces at once.

    They are where numba is installed, and there is one thread, or torch's can be had; but for few faces they are not
    worth being compiled.
    """
    threads = torch.get_num_threads() == 1 or openmp() is not None
    return INSTALLED and faces >= LEAST_FACES and threads


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a function one that a loop's body can call, and nobody else."""
    if not INSTALLED:
        return function
    options: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    decorated: Callable[..., Any] = numba.njit(**options)(function)
    return decorated


_library = openmp()
_thread: Callable[[], int]
_threads: Callable[[], int]
if _library is not None:
    _thread, _threads = _library.omp_get_thread_num, _library.omp_get_num_threads
else:
    _thread, _threads = inlined(lambda: 0), inlined(lambda: 1)


@inlined
def sizes(data: Any, count: int) -> Any:  # noqa: ANN401
    """The first ``count`` sizes that a loop was given."""
    return numba.carray(data[0], count, np.int64)  # type: ignore[attr-defined]


@inlined
def share(data: Any) -> tuple[int, int]:  # noqa: ANN401
    """The first of this thread's share of the first size, and the one after its last."""
    count = sizes(data, 1)[0]
    return count * _thread() // _threads(), count * (_thread() + 1) // _threads()


@inlined
def vector(data: Any, place: int, count: int) -> Any:  # noqa: ANN401
    """The operand at a place, as ``count`` values."""
    return numba.carray(data[place + 1], count, np.float32)  # type: ignore[attr-defined]


@inlined
def matrix(data: Any, place: int, rows: int, columns: int) -> Any:  # noqa: ANN401
    """The operand at a place, as ``(rows, columns)`` values."""
    return numba.carray(data[place + 1], (rows, columns), np.float32)  # type: ignore[attr-defined]


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
    return ready(len(tensors[0])) and all(
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


_HALF = np.float32(0.5)
_TINY, _INFINITE = np.finfo(np.float32).tiny, np.float32(np.inf)


# Sizes: faces, layers, then each layer's cells. Operands: the sums of maps by layer and face, zero for one that cannot
# be scaled; then the maps of each layer, and what they become.
@loop(fastmath=ANY_ORDER)
def _scaled(data: Any) -> None:  # noqa: ANN401
    faces, layers = sizes(data, 2)[0], sizes(data, 2)[1]
    sums = matrix(data, 0, layers, faces)
    first, end = share(data)
    for layer in range(layers):
        cells = sizes(data, 3 + layer)[2 + layer]
        given = matrix(data, 1 + layer, faces, cells)
        out = matrix(data, 1 + layers + layer, faces, cells)
        for face in range(first, end):
            total = _ZERO
            for k in range(cells):
                total += given[face, k]
            sound = _TINY < total < _INFINITE
            sums[layer, face] = total if sound else _ZERO
            for k in range(cells):
                out[face, k] = given[face, k] / total if sound else _ZERO


@inlined
def _between(place: int, count: int, wide: int) -> tuple[int, int, Any]:
    """Which two of ``count`` cells a place among ``wide`` lies between, and how near it is to the second."""
    at = np.float32(count) / np.float32(wide) * (np.float32(place) + _HALF) - _HALF
    at = max(at, _ZERO)
    before = int(at)
    return before, before + 1 if before + 1 < count else before, at - np.float32(before)


@inlined
def _add_enlarged(small: Any, h: int, w: int, wide: Any, out: Any, rows: tuple[int, int]) -> None:  # noqa: ANN401
    """Add a map ``(h w,)``, enlarged, to rows of the output: first along each row, then along the columns."""
    width, height = out.shape[1], rows[1] - rows[0]
    for x in range(width):
        left, right, near = _between(x, w, width)
        for y in range(h):
            wide[y, x] = small[y * w + left] * (_ONE - near) + small[y * w + right] * near
    for y in range(height):
        above, below, near = _between(y, h, height)
        row = rows[0] + y
        for x in range(width):
            out[row, x] += wide[above, x] * (_ONE - near) + wide[below, x] * near


# Sizes: faces, the input's height and width, layers, the most cells and rows of a layer, then each layer's height and
# width. Operands: what is to be found, the weights, then the maps of each layer, those of one size in a row.
@loop(fastmath=ANY_ORDER)
def _enlarged(data: Any) -> None:  # noqa: ANN401
    n = sizes(data, 6)
    faces, height, width, layers = n[0], n[1], n[2], n[3]
    together, wide = np.empty(n[4], np.float32), np.empty((n[5], width), np.float32)
    n = sizes(data, 6 + 2 * layers)
    out, weights = matrix(data, 0, faces * height, width), vector(data, 1, layers)
    first, end = share(data)
    for face in range(first, end):
        for row in range(face * height, (face + 1) * height):
            for x in range(width):
                out[row, x] = _ZERO
        begins = True
        for layer in range(layers):
            at = 6 + 2 * layer
            h, w = n[at], n[at + 1]
            given, weight = matrix(data, 2 + layer, faces, h * w), weights[layer]
            if begins:
                for k in range(h * w):
                    together[k] = _ZERO
            for k in range(h * w):
                together[k] += weight * given[face, k]
            begins = layer + 1 == layers or n[at + 2] != h or n[at + 3] != w
            if begins:
                _add_enlarged(together, h, w, wide, out, (face * height, (face + 1) * height))


def scaled(maps: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], Tensor] | None:
    """Each layer's maps ``(B, h_l, w_l)`` scaled to sum 1, and which could not be and are zero now, ``(L, B)``."""
    if not _fit(maps):
        return None
    faces, cells = len(maps[0]), [layer[0].numel() for layer in maps]
    sums = torch.empty(len(maps), faces)
    out = tuple(torch.empty_like(layer) for layer in maps)
    _scaled([faces, len(maps), *cells], [sums, *maps, *out])
    return out, sums == 0


def enlarged(
    maps: Sequence[Tensor], weights: Sequence[float], size: tuple[int, int]
) -> Tensor | None:
    """The weighted sum ``(B, h, w)`` of layer maps ``(B, h_l, w_l)``, each enlarged as a density."""
    if not _fit(maps):
        return None
    pairs = sorted(zip(maps, weights, strict=True), key=lambda pair: pair[0].shape[1:])
    sides = [side for layer, _ in pairs for side in layer.shape[1:]]
    cells = [layer[0].numel() for layer, _ in pairs]
    density = [weight * n / math.prod(size) for (_, weight), n in zip(pairs, cells, strict=True)]
    out = torch.empty(len(maps[0]), *size)
    operands = [out, torch.tensor(density), *(layer for layer, _ in pairs)]
    _enlarged([len(out), *size, len(maps), max(cells), max(sides[::2]), *sides], operands)
    return out


def _fit(maps: Sequence[Tensor]) -> bool:
    return ready(len(maps[0])) and all(
        layer.ndim == 3  # noqa: PLR2004  faces, rows, columns
        and len(layer) == len(maps[0])
        and layer.dtype == torch.float32
        and layer.device.type == "cpu"
        and layer.is_contiguous()
        and layer.numel() > 0
        for layer in maps
    )

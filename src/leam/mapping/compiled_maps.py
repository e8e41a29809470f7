"""Layer maps scaled, and their mean enlarged, in compiled loops; :mod:`leam.mapping.aggregate` is the definition.

Maps are small and many, so that torch's steps cost more by their number than by their work. A loop takes a face through
all of its layers at once, in the fastest memory. Functions return None where a loop does not fit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from leam.mapping import loops
from leam.mapping.loops import ANY_ORDER, inlined, loop, matrix, share, sizes, vector

_ZERO, _HALF, _ONE = np.float32(0), np.float32(0.5), np.float32(1)
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
    return loops.ready(len(maps[0])) and all(
        layer.ndim == 3  # noqa: PLR2004  faces, rows, columns
        and len(layer) == len(maps[0])
        and layer.dtype == torch.float32
        and layer.device.type == "cpu"
        and layer.is_contiguous()
        and layer.numel() > 0
        for layer in maps
    )

"""A hierarchical search for the parts of a face that a score depends on, with few calls and without gradients."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import cv2
import torch
from torch import Tensor

from leam.errors import InputError
from leam.explain.backends import Chips
from leam.explain.methods import Attribution, attribution, scorer
from leam.explain.methods.perturbations import masked
from leam.explain.targets import Target
from leam.recognizers.recognizer import Recognizer

# A quarter of CorrRISE's masks.
_CALLS = 125
# Cells along each side at the start, cells that one cell is split into, and cells that are split at a time.
_START, _PARTS, _TOGETHER = 4, 4, 4
# The standard deviation of the blur, relative to the input's shorter side, and its part of the map.
_BLUR, _BLURRED = 1 / 10, 0.5
# Cells are split as long as their parts have at least this part of the input's shorter side: 4 of 112 pixels.
_LEAST = 1 / 28


Scored = Callable[[Tensor], Tensor]
"""From changed copies of a face ``(n, h, w, 3)`` to scores ``(n,)``."""


class _Cell(NamedTuple):
    top: int
    bottom: int
    left: int
    right: int

    @property
    def area(self) -> int:
        return (self.bottom - self.top) * (self.right - self.left)

    def parts(self) -> list[_Cell]:
        middle = (self.top + self.bottom) // 2, (self.left + self.right) // 2
        rows = ((self.top, middle[0]), (middle[0], self.bottom))
        columns = ((self.left, middle[1]), (middle[1], self.right))
        return [_Cell(*row, *column) for row in rows for column in columns]

    def splits(self, least: float) -> bool:
        """Whether its parts are large enough."""
        return min(self.bottom - self.top, self.right - self.left) >= 2 * least


@attribution("hierarchical", needs="scores", counted=True)
def hierarchical(recognizer: Recognizer, calls: int | None) -> Attribution:
    """The score's drop a pixel in the smallest measured cells, where positive, and half of it blurred.

    The picture is divided into 4x4 cells. Each is blackened by itself, and the score's drop is measured. Then the cells
    whose drop (or rise) is largest are split into four parts, four cells at a time, and the parts are measured, until
    the calls are used up (125 by default) or the parts would be smaller than 1/28 of the input's shorter side. A
    pixel's value is the drop of its smallest cell divided by the cell's area. The map is half of these values, where
    positive, and half the same blurred by a Gaussian of 1/10 of the shorter side, so that pixels around large drops
    rank before others of no drop. Ours; the search is that of quadtrees.
    """
    calls = _CALLS if calls is None else calls
    if calls <= (least := _START**2):
        raise InputError(f"hierarchical: {calls} calls are too few; give at least {least + 1}")

    def attribute(chips: Chips, target: Target) -> Tensor:
        score, maps = scorer(recognizer, chips, target), []
        for row, chip in enumerate(torch.as_tensor(chips)):
            maps.append(_spread(_search(partial(score, row), chip, calls).relu()))
        return torch.stack(maps)

    return attribute


def _search(score: Scored, chip: Tensor, calls: int) -> Tensor:
    """The signed drops a pixel of a chip ``(h, w, 3)``, ``(h, w)``."""
    size = (chip.shape[0], chip.shape[1])
    clean = score(chip[None])
    found = torch.zeros(size, dtype=clean.dtype, device=clean.device)
    queue: list[tuple[float, int, _Cell]] = []
    left, todo = calls - 1, _grid(size)
    while todo:
        left -= len(todo)
        for cell, drop in zip(todo, _drops(score, clean, chip, todo), strict=True):
            found[cell.top : cell.bottom, cell.left : cell.right] = drop / cell.area
            if cell.splits(_LEAST * min(size)):
                # The area and the position make the order of equal drops definite.
                heapq.heappush(queue, (-abs(drop), -cell.area, cell))
        count = min(_TOGETHER, len(queue), left // _PARTS)
        todo = [part for _ in range(count) for part in heapq.heappop(queue)[2].parts()]
    return found


def _grid(size: tuple[int, int]) -> list[_Cell]:
    rows, columns = ([side * n // _START for n in range(_START + 1)] for side in size)
    return [
        _Cell(rows[i], rows[i + 1], columns[j], columns[j + 1])
        for i in range(_START)
        for j in range(_START)
    ]


def _drops(score: Scored, clean: Tensor, chip: Tensor, cells: list[_Cell]) -> list[float]:
    """The score's drop when each cell is blackened by itself."""
    seen = torch.ones(len(cells), *chip.shape[:2], dtype=torch.bool, device=chip.device)
    for mask, cell in zip(seen, cells, strict=True):
        mask[cell.top : cell.bottom, cell.left : cell.right] = False
    drops: list[float] = (clean - score(masked(chip, seen))).tolist()
    return drops


def _spread(values: Tensor) -> Tensor:
    """Values ``(h, w)``, half of them blurred."""
    blurred = cv2.GaussianBlur(values.cpu().numpy(), (0, 0), _BLUR * min(values.shape))
    return values.lerp(torch.from_numpy(blurred).to(values), _BLURRED)

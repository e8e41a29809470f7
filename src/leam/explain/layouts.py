"""Rows, columns and channels of an output, from the places of its elements."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from leam.explain.grid import SAME, Places, deep


@dataclass(frozen=True)
class Layout:
    """What the axes of an output are.

    Attributes:
        axes: A letter for each axis: ``B`` faces, ``C`` channels, ``H`` rows, ``W`` columns; or ``N``, tokens that are
            the grid row by row. In small letters, ``h`` runs upwards and ``w`` and ``n`` from right to left.
        before: Number of tokens before those of the grid, such as class tokens.
        after: Number of tokens after them.
    """

    axes: str = "BCHW"
    before: int = 0
    after: int = 0

    def __str__(self) -> str:
        before, after = f"+{self.before}" * bool(self.before), f"-{self.after}" * bool(self.after)
        return self.axes + before + after

    @classmethod
    def parse(cls, text: str) -> Layout | None:
        """A layout from its text, such as ``BHWC``, or ``BNC+1-4`` for one token before the grid and four after it."""
        found = re.fullmatch(r"([BCHWNhwn]+)(?:\+(\d{1,4}))?(?:-(\d{1,4}))?", text)
        if not found:
            return None
        axes, before, after = found[1], int(found[2] or 0), int(found[3] or 0)
        grid = "".join(sorted(axes.upper().replace("C", "")))
        if grid != "BN" and (grid != "BHW" or before or after):
            return None
        return cls(axes, before, after)

    @property
    def tokens(self) -> int | None:
        """The axis of the tokens; None if rows and columns are axes of their own."""
        found = self.axes.upper().find("N")
        return None if found < 0 else found

    def size(self, shape: Sequence[int], aspect: float) -> tuple[int, int] | None:
        """Rows and columns of an output of this layout; those of tokens from the picture's rows for each column.

        None if the layout does not fit the shape.
        """
        if len(shape) != len(self.axes):
            return None
        if self.tokens is None:
            upper = self.axes.upper()
            return shape[upper.index("H")], shape[upper.index("W")]
        count = shape[self.tokens] - self.before - self.after
        columns = round(math.sqrt(max(count, 0) / aspect))
        rows = count // columns if columns else 0
        return (rows, columns) if rows * columns == count > 0 else None

    def arranged(self, output: Tensor, size: tuple[int, int]) -> Tensor:
        """An output as ``(B, C, h, w)``."""
        if self.axes == "BCHW":
            return output
        grid = "N" if self.tokens is not None else "HW"
        upper = self.axes.upper()
        channels = [axis for axis, letter in enumerate(upper) if letter == "C"]
        output = output.permute(upper.index("B"), *channels, *map(upper.index, grid))
        if self.tokens is not None:
            output = output.narrow(-1, self.before, math.prod(size))
        output = output.reshape(len(output), -1, *size)
        return output.flip(*flips) if (flips := self._flips) else output

    @property
    def _flips(self) -> list[int]:
        return [axis for axis, letters in ((2, "h"), (3, "wn")) if set(letters) & set(self.axes)]


BCHW = Layout()
"""The layout of an ordinary feature map."""


def find_layout(places: Places, shape: Sequence[int]) -> tuple[Layout, tuple[int, int]] | None:
    """The layout of an output for one face, and its rows and columns; None if its places are not a grid.

    Rows must vary along one axis and columns along another one, or both along one axis of tokens, each in steps in one
    direction. The faces are the first axis of size 1.
    """
    if places.rows is None or places.columns is None or 1 not in shape:
        return None
    rows, columns = (deep(p, len(shape)) for p in (places.rows, places.columns))
    along = [[axis for axis, n in enumerate(p.shape) if n > 1] for p in (rows, columns)]
    if [len(axes) for axes in along] != [1, 1]:
        return None
    (row,), (column,) = along
    axes = ["C"] * len(shape)
    axes[list(shape).index(1)] = "B"
    if row != column:
        down, right = _direction(rows.flatten()), _direction(columns.flatten())
        if not down or not right:
            return None
        axes[row], axes[column] = "H" if down > 0 else "h", "W" if right > 0 else "w"
        return Layout("".join(axes)), (shape[row], shape[column])
    found = _token_grid(rows.flatten(), columns.flatten())
    if not found:
        return None
    axes[row], before, size = found
    after = shape[row] - before - math.prod(size)
    return Layout("".join(axes), before, after), size


def _token_grid(rows: Tensor, columns: Tensor) -> tuple[str, int, tuple[int, int]] | None:
    """The letter of the axis of tokens with these places, the number of tokens before the grid, and its size."""
    (there,) = (~(rows.isnan() | columns.isnan())).nonzero(as_tuple=True)
    if len(there) < 2 or int(there[-1] - there[0]) + 1 != len(there):  # noqa: PLR2004
        return None
    rows, columns = rows[there], columns[there]
    (next_row,) = ((rows - rows[0]).abs() > SAME).nonzero(as_tuple=True)
    width = int(next_row[0]) if len(next_row) else len(there)
    if len(there) % width:
        return None
    rows, columns = rows.view(-1, width), columns.view(-1, width)
    even = max((rows - rows[:, :1]).abs().max(), (columns - columns[:1]).abs().max()) <= SAME
    right = _direction(columns[0])
    if not even or _direction(rows[:, 0]) <= 0 or not right:
        return None
    return "N" if right > 0 else "n", int(there[0]), (len(rows), width)


def _direction(places: Tensor) -> int:
    """1 if places grow along an axis, -1 if they shrink, else 0; some may repeat. Padding at the ends may have none."""
    (there,) = (~places.isnan()).nonzero(as_tuple=True)
    steps = places.diff()[there[:-1]] if len(there) else places
    if not len(steps) or bool(steps.isnan().any()):
        return 0
    grow, shrink = bool((steps > SAME).any()), bool((steps < -SAME).any())
    return int(grow) - int(shrink)

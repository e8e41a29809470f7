"""What the report's figures have in common: style, colours, dots with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from leam.report.drawing import INK, MUTED, SERIES

Models = Mapping[str, Any]
"""``summary.json``'s ``models``."""

WIDTH = 8.2
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.edgecolor": "#c3cad2",
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "x",
    "axes.axisbelow": True,
    "grid.color": "#e6eaee",
    "xtick.color": MUTED,
    "ytick.color": INK,
    "ytick.major.size": 0,
    "legend.frameon": False,
}
MASK_COLOURS = {
    "critical": "#c2410c",
    "scattered": "#64748b",
    "moved": "#94a3b8",
    "moved_on_face": "#2563a8",
    "centre": "#0f766e",
    "other_person": "#7c4d9e",
    "lowest": "#b7791f",
}


def legend(figure: Figure, axis: Axes, columns: int = 4) -> None:
    """A legend above the axes, where it hides nothing."""
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper right", ncols=columns, frameon=False, fontsize=8
    )


def new_figure(height: float, columns: int = 1) -> tuple[Figure, Any]:
    """A figure of the page's width and a height in inches, with axes side by side."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, max(1.6, height)), layout="constrained")
        axes = figure.subplots(1, columns)
    return figure, axes


def dots(
    axis: Axes,
    estimates: Sequence[Mapping[str, Any]],
    rows: NDArray[np.floating] | NDArray[np.integer],
    colour: str,
    label: str,
    scale: float = 100,
) -> None:
    """Means as dots with their intervals, one a row; in percent by default."""
    means = [scale * number(e["mean"]) for e in estimates]
    axis.plot(means, rows, "o", color=colour, markersize=5, label=label)
    intervals(axis, estimates, rows, colour, scale)


def intervals(
    axis: Axes,
    estimates: Sequence[Mapping[str, Any]],
    rows: NDArray[np.floating] | NDArray[np.integer],
    colour: str,
    scale: float = 100,
) -> None:
    """Intervals as lines, one a row; in percent by default."""
    low, high = ([scale * number(e[end]) for e in estimates] for end in ("low", "high"))
    axis.hlines(rows, low, high, color=colour, linewidth=1.4)


def number(value: float | None) -> float:
    """A figure that may be missing, as NaN."""
    return np.nan if value is None else value


def colours(count: int) -> list[str]:
    """So many colours, told apart as far as there are any."""
    return [SERIES[index % len(SERIES)] for index in range(count)]

"""Draws the charts of a report. This module imports matplotlib; import it only when something is drawn."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from functools import singledispatch
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from leam.explain.pictures import HEAT, INK, MUTED, show_text_literally
from leam.metrics.statistics import FEWEST
from leam.report.charts import (
    SERIES,
    Histograms,
    LinePanel,
    Lines,
    Matrix,
    Panel,
    RegionMap,
    Rows,
    Tree,
    charted,
    shared_highest,
)

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
_HISTOGRAM_COLUMNS = 5
# What fewer than ten people are behind.
_FAINT = 0.35
# A cell is dark from this part of the highest value on, so that its number is white.
_DARK = 0.7


@singledispatch
def draw(chart: object) -> Figure:
    """A chart as a figure of the page's width. A plug-in registers its own kinds of charts with ``draw.register``.

    Raises:
        TypeError: Nothing is registered for this kind of chart.
    """
    raise TypeError(f"{type(chart).__name__}: not a chart; register how it is drawn")


def chart_svg(chart: object) -> str:
    """A chart as an SVG element; the same chart gives the same text."""
    figure, stream = draw(chart), io.StringIO()
    show_text_literally(figure)
    with mpl.rc_context({"svg.hashsalt": "leam", "svg.fonttype": "path"}):
        figure.savefig(
            stream, format="svg", metadata={"Date": None, "Creator": None}, transparent=True
        )
    text = stream.getvalue()
    return text[text.index("<svg") :]


@draw.register
def _(chart: Rows) -> Figure:
    panels = chart.panels
    height = chart.row_height * max(len(panel.rows) for panel in panels) + 1.2
    figure, axes = _new(height, len(panels))
    shared = all(list(panel.rows) == list(panels[0].rows) for panel in panels)
    for number, (axis, panel) in enumerate(zip(axes, panels, strict=True)):
        _draw_panel(axis, panel)
        places = np.arange(len(panel.rows))
        axis.set_yticks(places, panel.rows if number == 0 or not shared else [""] * len(places))
        axis.set_ylim(len(places) - 0.4, -0.6)
        _show_zero(axis.get_xlim, axis.set_xlim, panel.limits)
        if len(panels) > 1:
            axis.xaxis.set_major_locator(MaxNLocator(5))
        axis.set_title(panel.title, fontsize=9, color=INK, loc="left")
    # Panels with the same label have the same scale, so that lengths can be compared.
    for label in {panel.axis for panel in panels if panel.axis}:
        same = [axis for axis, panel in zip(axes, panels, strict=True) if panel.axis == label]
        ends = [axis.get_xlim() for axis in same]
        for axis in same:
            axis.set_xlim(min(end[0] for end in ends), max(end[1] for end in ends))
    for axis, panel in zip(axes, panels, strict=True):
        axis.set_xlabel(" ".join(filter(None, (panel.axis, _from(axis.get_xlim())))))
    _legend(figure, axes[0], chart.legend_columns)
    return figure


def _draw_panel(axis: Axes, panel: Panel) -> None:
    """Bars or dots with their intervals, what is expected by chance, and what the rows are compared with."""
    places, count = np.arange(len(panel.rows)), len(panel.series)
    height = (0.8 if count > 1 else 0.62) / count
    between = height if panel.bars else panel.spread / max(count - 1, 1)
    for number, series in enumerate(panel.series):
        shown = [charted(one) if panel.counts else one for one in series.estimates]
        mean, low, high = (
            panel.scale * _numbers([getattr(one, end) for one in shown])
            for end in ("mean", "low", "high")
        )
        at = places + (number - (count - 1) / 2) * between
        colour = series.colour if isinstance(series.colour, str) else list(series.colour)
        if panel.bars:
            bars = axis.barh(
                at,
                np.nan_to_num(mean),
                height=height * (0.9 if count > 1 else 1),
                color=colour,
                label=series.label,
            )
            for bar, one in zip(bars, shown, strict=True):
                bar.set_alpha(_FAINT if one.n < FEWEST else None)
        else:
            dots = axis.scatter(mean, at, s=25, c=colour, zorder=3, label=series.label)
            if shown:  # matplotlib takes the least of the values
                dots.set_alpha([_FAINT if one.n < FEWEST else 1.0 for one in shown])
        axis.hlines(at, low, high, color=INK if panel.bars else colour, linewidth=1.4)
        for one, given, y, end in zip(shown, series.estimates, at, high, strict=True):
            few = given.mean is not None and given.n < FEWEST
            if few or (panel.counts and one.mean is not None):
                drawn = one.mean is not None
                axis.annotate(
                    f"n = {given.n}" if drawn else f"n = {given.n}: not drawn",
                    (end if np.isfinite(end) else (panel.scale * (one.mean or 0)), y),
                    xytext=(4, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=6,
                    color=MUTED,
                )
    if panel.expected is not None:
        values = panel.scale * _numbers(panel.expected.values)
        size = 22 if count > 1 else 15
        axis.plot(
            values, places, "|", color=INK, markersize=size, label=panel.expected.label, zorder=2
        )
    if panel.reference is not None:
        found = panel.reference.estimate
        mean, low, high = panel.scale * _numbers([found.mean, found.low, found.high])
        axis.axvspan(low, high, color=panel.reference.colour, alpha=0.15)
        axis.axvline(mean, color=panel.reference.colour, label=panel.reference.label)
    if panel.line is not None:
        axis.axvline(panel.line, color=MUTED, linewidth=0.8)


@draw.register
def _(chart: Lines) -> Figure:
    figure, axes = _new(2.9, len(chart.panels))
    for axis, panel in zip(axes, chart.panels, strict=True):
        _draw_lines(axis, panel)
    ends = [axis.get_ylim() for axis in axes]
    limits = min(end[0] for end in ends), max(end[1] for end in ends)
    for axis in axes:
        axis.set_ylim(limits)
    axes[0].set_ylabel(
        " ".join(filter(None, (chart.axis, "" if chart.panels[0].logarithmic else _from(limits))))
    )
    _legend(figure, axes[0], chart.legend_columns)
    return figure


def _draw_lines(axis: Axes, panel: LinePanel) -> None:
    for line in panel.lines:
        axis.plot(
            line.x,
            _numbers(line.y),
            color=line.colour,
            linewidth=line.width,
            alpha=1.0 if line.width >= 1 else 0.4,
            linestyle="-" if line.people is None or line.people >= FEWEST else ":",
            marker="o" if line.dots else None,
            markersize=3,
            label=line.label,
        )
    if panel.ticks is not None:
        axis.set_xscale("log")
        axis.set_xticks(
            panel.ticks, [f"{tick:g}" if tick in panel.labelled else "" for tick in panel.ticks]
        )
        if panel.logarithmic:
            axis.set_yscale("log")
            axis.set_yticks(panel.ticks, [f"{tick:g}" for tick in panel.ticks])
        axis.minorticks_off()
    if not panel.logarithmic:
        _show_zero(axis.get_ylim, axis.set_ylim, panel.limits or (None, None))
    if panel.zero:
        axis.axhline(0, color=MUTED, linewidth=0.8)
    axis.grid(visible=True, axis="y")
    axis.set_title(panel.title, fontsize=9, color=INK, loc="left")
    axis.set_xlabel(panel.axis)


@draw.register
def _(chart: Histograms) -> Figure:
    count = len(chart.panels)
    rows, columns = -(-count // _HISTOGRAM_COLUMNS), min(_HISTOGRAM_COLUMNS, count)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 1.75 * rows + 0.6), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes[count:]:
        axis.axis("off")
    every = [height for panel in chart.panels for row in panel.heights.values() for height in row]
    edges = [edge for panel in chart.panels for edge in panel.edges]
    for axis, panel in zip(axes, chart.panels, strict=False):
        axis.set_xlim(min(edges), max(edges))
        axis.set_ylim(0, 1.05 * max(every, default=1.0) or 1.0)
        for label, heights in panel.heights.items():
            axis.stairs(
                heights, panel.edges, color=chart.colours[label], fill=True, alpha=0.45, label=label
            )
        if panel.line is not None:
            axis.axvline(panel.line, color=INK, linewidth=1, linestyle=":", label=chart.line)
        # A long name must not run into its neighbour's.
        axis.set_title(
            panel.title, fontsize=min(7.5, 190 / len(panel.title)), color=INK, loc="left"
        )
        axis.set(yticks=[])
        axis.tick_params(labelsize=7)
        axis.grid(visible=False)
    figure.supxlabel(chart.axis, fontsize=9, color=INK)
    _legend(figure, axes[0], columns=4)
    return figure


@draw.register
def _(chart: Matrix) -> Figure:
    values = np.array([_numbers(row) for row in chart.values])
    figure, (axis,) = _new(0.36 * len(chart.rows) + 1.9, 1)
    axis.grid(visible=False)
    highest = chart.highest or shared_highest(values.flat)
    lowest = min(0.0, *(value for value in values.flat if np.isfinite(value)), 0.0)
    shown = axis.imshow(values, aspect="auto", cmap="YlOrBr", vmin=lowest, vmax=highest)
    _colour_bar(figure, axis, shown, chart.scale)
    for (row, column), value in np.ndenumerate(values):
        axis.text(
            column,
            row,
            "–" if math.isnan(value) else f"{value:.2f}",
            ha="center",
            va="center",
            fontsize=7.5,
            color="white" if value > _DARK * highest else INK,
        )
    axis.set_yticks(range(len(chart.rows)), chart.rows)
    axis.set_xticks(range(len(chart.columns)), chart.columns, rotation=35, ha="right", fontsize=8)
    axis.set(ylabel=chart.axes[0], xlabel=chart.axes[1])
    return figure


@draw.register
def _(chart: RegionMap) -> Figure:
    image = np.array([_numbers(row) for row in chart.values])
    layers = image.shape[1]
    figure, (axis,) = _new(0.27 * len(chart.regions) + 1.1, 1)
    axis.grid(visible=False)
    shown = axis.imshow(image, aspect="auto", cmap=HEAT, vmin=0, vmax=chart.highest)
    axis.set_yticks(range(len(chart.regions)), chart.regions)
    axis.set_xticks(sorted({0, layers - 1}), [str(place + 1) for place in sorted({0, layers - 1})])
    axis.set_xlabel("layer, early to late")
    _colour_bar(figure, axis, shown, chart.scale)
    return figure


@draw.register
def _(chart: Tree) -> Figure:
    from scipy.cluster.hierarchy import dendrogram  # noqa: PLC0415  slow to import

    figure, (axis,) = _new(0.26 * len(chart.names) + 0.9, 1)
    merges = np.array(chart.merges, dtype=np.float64)
    # Recognizers that are all alike, or have no map in common, would leave an axis without length.
    merges[:, 2] = np.maximum(merges[:, 2], 1e-6)
    with mpl.rc_context({"lines.linewidth": 1.4}):
        dendrogram(
            merges,
            labels=list(chart.names),
            orientation="left",
            ax=axis,
            color_threshold=0,
            above_threshold_color=SERIES[1],
        )
    axis.grid(visible=False)
    axis.yaxis.tick_left()
    # The first leaf on top, as in the matrices.
    axis.invert_yaxis()
    axis.set_xlim(0, max(1.0, merges[:, 2].max() * 1.05))
    axis.set(xlabel=chart.axis)
    axis.tick_params(axis="y", labelsize=8)
    return figure


def _new(height: float, columns: int) -> tuple[Figure, NDArray[Any]]:
    """A figure of a height in inches with axes side by side."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, max(1.6, height)), layout="constrained")
        axes = figure.subplots(1, columns, squeeze=False).ravel()
    return figure, axes


def _show_zero(
    get: Callable[[], tuple[float, float]],
    set_: Callable[[float, float], object],
    limits: tuple[float | None, float | None],
) -> None:
    """Set the ends of an axis. Where they are automatic, it shows zero: lengths shall not exaggerate differences."""
    low, high = get()
    set_(
        min(low, 0.0) if limits[0] is None else limits[0],
        max(high, 0.0) if limits[1] is None else limits[1],
    )


def _from(limits: tuple[float, float]) -> str:
    """What is said of an axis that does not show zero."""
    low, high = limits
    return "" if low <= 0 <= high else f"(axis from {low:g})"


def _colour_bar(figure: Figure, axis: Axes, shown: AxesImage, label: str) -> None:
    bar = figure.colorbar(shown, ax=axis, pad=0.02)
    bar.set_label(label, fontsize=8)
    bar.outline.set_visible(False)


def _legend(figure: Figure, axis: Axes, columns: int) -> None:
    """A legend above the axes, where it hides nothing."""
    handles, labels = axis.get_legend_handles_labels()
    if not handles:
        return
    legend = figure.legend(
        handles, labels, loc="outside upper right", ncols=columns, frameon=False, fontsize=8
    )
    for handle in legend.legend_handles:
        if isinstance(handle, Line2D) and handle.get_marker() == "|":
            handle.set_markersize(9)


def _numbers(values: Sequence[float | None]) -> NDArray[np.float64]:
    """Figures that may be missing, as an array with NaN."""
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)

"""The figures of a study's report, from its tables and ``summary.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from leam.report.drawing import HEAT, INK, MUTED, SERIES, overlay, region_colour
from leam.study.tables import OVERALL

Models = Mapping[str, Any]
"""``summary.json``'s ``models``."""

_WIDTH = 8.2
_STYLE: dict[Any, Any] = {
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
_MASK_COLOURS = {"critical": "#c2410c", "scattered": "#64748b", "moved": "#94a3b8"}


def region_shares(models: Models) -> Figure:
    """Share of the critical pixels in each region with its interval, and the region's area as the level of chance."""
    regions = [
        name
        for name, found in next(iter(models.values()))["regions"].items()
        if found["area"]["mean"]
    ]
    regions.sort(
        key=lambda name: np.mean(
            [m["regions"][name]["share"]["mean"] or 0 for m in models.values()]
        )
    )
    if len(models) == 1:
        return _region_bars(next(iter(models.values())), regions)
    figure, axis = _figure(0.5 * len(regions) * max(1.0, len(models) / 6) + 1.2)
    offsets = np.linspace(0.3, -0.3, len(models))
    for (name, model), offset, colour in zip(
        models.items(), offsets, _colours(len(models)), strict=True
    ):
        estimates = [model["regions"][region]["share"] for region in regions]
        _dots(axis, estimates, np.arange(len(regions)) + offset, colour, name)
    areas = [
        np.mean([m["regions"][region]["area"]["mean"] for m in models.values()])
        for region in regions
    ]
    axis.plot(
        100 * np.array(areas),
        np.arange(len(regions)),
        "|",
        color=INK,
        markersize=22,
        label="area (chance)",
    )
    axis.set(
        yticks=range(len(regions)),
        yticklabels=regions,
        xlabel="% of the critical pixels",
        xlim=(0, None),
    )
    _legend(figure, axis, columns=4)
    return figure


def _region_bars(model: Mapping[str, Any], regions: Sequence[str]) -> Figure:
    figure, axis = _figure(0.36 * len(regions) + 0.9)
    shares = [model["regions"][region]["share"] for region in regions]
    areas = [100 * model["regions"][region]["area"]["mean"] for region in regions]
    rows = np.arange(len(regions))
    axis.barh(
        rows,
        [100 * s["mean"] for s in shares],
        color=[region_colour(r) for r in regions],
        height=0.62,
    )
    _intervals(axis, shares, rows, INK)
    axis.plot(areas, rows, "|", color=INK, markersize=15, markeredgewidth=2, label="area (chance)")
    axis.set(yticks=rows, yticklabels=regions, xlabel="% of the critical pixels", xlim=(0, None))
    _legend(figure, axis)
    return figure


def overlaps(models: Models) -> Figure:
    """Bhattacharyya coefficient of maps of one person and of different people, with intervals."""
    figure, axes = _figure(0.42 * len(models) + 1.25, columns=2)
    names = list(models)[::-1]
    rows = np.arange(len(names))
    for axis, operand, title in zip(
        axes, ("critical", "dense"), ("critical pixels", "whole maps"), strict=True
    ):
        for kind, colour, label in (
            ("same", SERIES[0], "same person"),
            ("different", MUTED, "different people"),
        ):
            estimates = [models[name]["bc"][operand][kind] for name in names]
            _dots(axis, estimates, rows, colour, label, scale=1)
        axis.set(
            yticks=rows,
            yticklabels=names if operand == "critical" else [],
            ylim=(-0.6, len(names) - 0.4),
        )
        axis.set_title(title, fontsize=9, color=INK, loc="left")
        axis.set_xlabel("Bhattacharyya coefficient")
        axis.xaxis.set_major_locator(MaxNLocator(5))
        if operand == "critical":
            axis.set_xlim(0, None)
    _legend(figure, axes[0])
    return figure


def drops(models: Models) -> Figure:
    """How far hiding the critical pixels lowers the similarity, beside the baselines."""
    names = list(models)[::-1]
    kinds = ["critical", *next(iter(models.values()))["occlusion"]["baselines"]]
    figure, axis = _figure(0.22 * len(names) * len(kinds) + 1.2)
    height = 0.8 / len(kinds)
    for place, kind in enumerate(kinds):
        found = [models[name]["occlusion"] for name in names]
        estimates = [one["drop"] if kind == "critical" else one["baselines"][kind] for one in found]
        rows = np.arange(len(names)) + (len(kinds) / 2 - place - 0.5) * height
        colour = _MASK_COLOURS.get(kind, SERIES[(place + 2) % len(SERIES)])
        axis.barh(
            rows, [e["mean"] or 0 for e in estimates], height=height * 0.9, color=colour, label=kind
        )
        _intervals(axis, estimates, rows, INK, scale=1)
    axis.set(
        yticks=np.arange(len(names)),
        yticklabels=names,
        xlabel="drop of the similarity with the mate",
    )
    axis.axvline(0, color=MUTED, linewidth=0.8)
    _legend(figure, axis)
    return figure


def curves(models: Models) -> Figure:
    """The drop as more pixels are hidden: critical ones (lines) and scattered ones (dotted)."""
    figure, axis = _figure(3.4)
    for (name, model), colour in zip(models.items(), _colours(len(models)), strict=True):
        for mask, points in model["occlusion"]["curve"].items():
            percent = [100 * point["fraction"] for point in points]
            style = {"critical": "-", "scattered": ":"}[mask]
            label = name if mask == "critical" else None
            means = [_number(point["mean"]) for point in points]
            axis.plot(percent, means, style, color=colour, label=label, marker="o", markersize=3)
            low, high = ([_number(point[end]) for point in points] for end in ("low", "high"))
            axis.fill_between(percent, low, high, color=colour, alpha=0.12, linewidth=0)
    axis.set(xscale="log", xlabel="% of the pixels hidden", ylabel="drop", xticks=percent)
    axis.set_xticklabels([f"{value:g}" for value in percent])
    axis.minorticks_off()
    axis.grid(visible=True, axis="y")
    _legend(figure, axis)
    return figure


def matrix(
    values: Sequence[Sequence[Mapping[str, Any]]],
    rows: Sequence[str],
    columns: Sequence[str],
    labels: tuple[str, str],
) -> Figure:
    """Estimates as a table of colours: rows and columns named, each cell with its mean."""
    means = np.array([[_number(cell["mean"]) for cell in row] for row in values])
    figure, axis = _figure(0.36 * len(rows) + 1.9)
    axis.grid(visible=False)
    # The diagonal of a similarity says nothing and would take all the colours.
    off = means - np.diag(np.diag(means)) if labels[0] == labels[1] else means
    highest = max((value for value in off.flat if np.isfinite(value)), default=1.0)
    axis.imshow(means, aspect="auto", cmap="YlOrBr", vmin=0, vmax=highest * 1.15)
    for (row, column), mean in np.ndenumerate(means):
        dark = mean > 0.7 * highest
        axis.text(
            column,
            row,
            f"{mean:.2f}",
            ha="center",
            va="center",
            fontsize=7.5,
            color="white" if dark else INK,
        )
    axis.set(yticks=range(len(rows)), yticklabels=rows, xticks=range(len(columns)))
    axis.set_xticklabels(columns, rotation=35, ha="right", fontsize=8)
    axis.set(ylabel=labels[0], xlabel=labels[1])
    return figure


def group_drops(values: Mapping[str, Any]) -> Figure:
    """Each group's mean drop under each model."""
    names = list(next(iter(values.values()))["drop"])[::-1]
    figure, axis = _figure(0.3 * len(names) + 1.2)
    offsets = np.linspace(0.14, -0.14, len(values)) if len(values) > 1 else [0.0]
    for (value, found), offset, colour in zip(
        values.items(), offsets, _colours(len(values)), strict=True
    ):
        estimates = [found["drop"][name] for name in names]
        label = f"{value} ({found['people']})"
        _dots(axis, estimates, np.arange(len(names)) + offset, colour, label, scale=1)
    axis.set(yticks=range(len(names)), yticklabels=names, xlabel="drop, critical pixels hidden")
    _legend(figure, axis)
    return figure


def layer_focus(table: pl.DataFrame) -> Figure:
    """Which regions each layer's map lies on, against its depth: mass over area.

    Args:
        table: A model's ``regions`` table.
    """
    rows = (
        table.filter((pl.col("layer") != OVERALL) & ~pl.col("empty"))
        .group_by("depth", "region", maintain_order=True)
        .agg(pl.col("mass").mean(), pl.col("area").mean())
        .filter(pl.col("area") > 0)
        .with_columns((pl.col("mass") / pl.col("area")).alias("density"))
    )
    by_density = rows.group_by("region").agg(pl.col("density").mean())
    regions = by_density.sort("density", "region", descending=[True, False])["region"].to_list()
    depths = table["layer"].n_unique() - 1
    image = np.full((len(regions), depths), np.nan)
    for depth, region, density in rows.select("depth", "region", "density").iter_rows():
        image[regions.index(region), depth - 1] = density
    figure, axis = _figure(0.27 * len(regions) + 1.1)
    axis.grid(visible=False)
    shown = axis.imshow(
        image, aspect="auto", cmap=HEAT, vmin=0, vmax=float(np.nanquantile(image, 0.98))
    )
    axis.set(
        yticks=range(len(regions)),
        yticklabels=regions,
        xlabel="layer, early to late",
        xticks=[0, depths - 1],
    )
    axis.set_xticklabels(["1", str(depths)])
    bar = figure.colorbar(shown, ax=axis, pad=0.02)
    bar.set_label("mass / area (1 = chance)", fontsize=8)
    bar.outline.set_visible(False)
    return figure


def layer_maps(
    face: NDArray[np.uint8], layers: NDArray[np.floating], names: Sequence[str], columns: int = 9
) -> Figure:
    """Mean layer maps ``(L, h, w)`` over the mean face ``(h, w, 3)``, from early to late; at most four rows of them."""
    most = 4 * columns
    chosen = np.unique(np.linspace(0, len(names) - 1, min(most, len(names))).round().astype(int))
    rows = -(-len(chosen) // columns)
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, _WIDTH / columns * 1.22 * rows), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.axis("off")
    for axis, index in zip(axes, chosen, strict=False):
        axis.imshow(overlay(face, layers[index]))
        axis.set_title(str(index + 1), fontsize=7.5, color=MUTED, pad=2)
    return figure


def _legend(figure: Figure, axis: Axes, columns: int = 4) -> None:
    """A legend above the axes, where it hides nothing."""
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper right", ncols=columns, frameon=False, fontsize=8
    )


def _figure(height: float, columns: int = 1) -> tuple[Figure, Any]:
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, max(1.6, height)), layout="constrained")
        axes = figure.subplots(1, columns)
    return figure, axes


def _dots(
    axis: Axes,
    estimates: Sequence[Mapping[str, Any]],
    rows: NDArray[np.floating] | NDArray[np.integer],
    colour: str,
    label: str,
    scale: float = 100,
) -> None:
    means = [scale * _number(e["mean"]) for e in estimates]
    axis.plot(means, rows, "o", color=colour, markersize=5, label=label)
    _intervals(axis, estimates, rows, colour, scale)


def _intervals(
    axis: Axes,
    estimates: Sequence[Mapping[str, Any]],
    rows: NDArray[np.floating] | NDArray[np.integer],
    colour: str,
    scale: float = 100,
) -> None:
    low, high = ([scale * _number(e[end]) for e in estimates] for end in ("low", "high"))
    axis.hlines(rows, low, high, color=colour, linewidth=1.4)


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def _colours(count: int) -> list[str]:
    return [SERIES[index % len(SERIES)] for index in range(count)]

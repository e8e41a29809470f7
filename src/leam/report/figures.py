"""The figures of a study's report, from its tables and ``summary.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import polars as pl
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from scipy.cluster.hierarchy import dendrogram

from leam.report.drawing import HEAT, INK, MUTED, SERIES, overlay, region_colour
from leam.report.plotting import (
    MASK_COLOURS,
    STYLE,
    WIDTH,
    Models,
    colours,
    dots,
    intervals,
    legend,
    new_figure,
    number,
)


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
    figure, axis = new_figure(0.5 * len(regions) * max(1.0, len(models) / 6) + 1.2)
    offsets = np.linspace(0.3, -0.3, len(models))
    for (name, model), offset, colour in zip(
        models.items(), offsets, colours(len(models)), strict=True
    ):
        estimates = [model["regions"][region]["share"] for region in regions]
        dots(axis, estimates, np.arange(len(regions)) + offset, colour, name)
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
    legend(figure, axis, columns=4)
    return figure


def _region_bars(model: Mapping[str, Any], regions: Sequence[str]) -> Figure:
    figure, axis = new_figure(0.36 * len(regions) + 0.9)
    shares = [model["regions"][region]["share"] for region in regions]
    areas = [100 * model["regions"][region]["area"]["mean"] for region in regions]
    rows = np.arange(len(regions))
    axis.barh(
        rows,
        [100 * s["mean"] for s in shares],
        color=[region_colour(r) for r in regions],
        height=0.62,
    )
    intervals(axis, shares, rows, INK)
    axis.plot(areas, rows, "|", color=INK, markersize=15, markeredgewidth=2, label="area (chance)")
    axis.set(yticks=rows, yticklabels=regions, xlabel="% of the critical pixels", xlim=(0, None))
    legend(figure, axis)
    return figure


def overlaps(models: Models) -> Figure:
    """Bhattacharyya coefficient of maps of one person and of different people, with intervals."""
    figure, axes = new_figure(0.42 * len(models) + 1.25, columns=2)
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
            dots(axis, estimates, rows, colour, label, scale=1)
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
    legend(figure, axes[0])
    return figure


def drops(models: Models) -> Figure:
    """How far hiding the critical pixels lowers the similarity, beside the baselines."""
    names = list(models)[::-1]
    kinds = ["critical", *next(iter(models.values()))["occlusion"]["baselines"]]
    figure, axis = new_figure(0.22 * len(names) * len(kinds) + 1.2)
    height = 0.8 / len(kinds)
    for place, kind in enumerate(kinds):
        found = [models[name]["occlusion"] for name in names]
        estimates = [one["drop"] if kind == "critical" else one["baselines"][kind] for one in found]
        rows = np.arange(len(names)) + (len(kinds) / 2 - place - 0.5) * height
        colour = MASK_COLOURS.get(kind, SERIES[(place + 2) % len(SERIES)])
        axis.barh(
            rows, [e["mean"] or 0 for e in estimates], height=height * 0.9, color=colour, label=kind
        )
        intervals(axis, estimates, rows, INK, scale=1)
    axis.set(
        yticks=np.arange(len(names)),
        yticklabels=names,
        xlabel="drop of the similarity with the mate",
    )
    axis.axvline(0, color=MUTED, linewidth=0.8)
    legend(figure, axis)
    return figure


def matrix(
    values: Sequence[Sequence[Mapping[str, Any]]],
    rows: Sequence[str],
    columns: Sequence[str],
    labels: tuple[str, str],
) -> Figure:
    """Estimates as a table of colours: rows and columns named, each cell with its mean."""
    means = np.array([[number(cell["mean"]) for cell in row] for row in values])
    figure, axis = new_figure(0.36 * len(rows) + 1.9)
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


def tree(merges: Sequence[Sequence[float]], names: Sequence[str]) -> Figure:
    """Models joined by the overlap of their critical masks: the further right, the less alike."""
    figure, axis = new_figure(0.26 * len(names) + 0.9)
    tree_of = np.array(merges, dtype=np.float64)
    # Models that are all alike, or that have no map in common, would leave an axis without length.
    tree_of[:, 2] = np.maximum(tree_of[:, 2], 1e-6)
    with mpl.rc_context({"lines.linewidth": 1.4}):
        dendrogram(
            tree_of,
            labels=list(names),
            orientation="left",
            ax=axis,
            color_threshold=0,
            above_threshold_color=SERIES[1],
        )
    axis.grid(visible=False)
    axis.yaxis.tick_left()
    axis.set_xlim(0, tree_of[:, 2].max() * 1.05)
    axis.set(xlabel="1 - overlap of critical pixels")
    axis.tick_params(axis="y", labelsize=8)
    return figure


def histograms(models: Models, columns: int = 5) -> Figure:
    """How overlaps of critical masks are spread: of one person, and of different people; chance as a line."""
    rows = -(-len(models) // columns)
    columns = min(columns, len(models))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 1.75 * rows + 0.5), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes[len(models) :]:
        axis.axis("off")
    for axis, (name, model) in zip(axes, models.items(), strict=False):
        found = model["bc"]["critical"]
        edges = np.array(found["histogram"]["edges"])
        for kind, colour, label in (
            ("different", MUTED, "different people"),
            ("same", SERIES[0], "same person"),
        ):
            axis.stairs(
                found["histogram"][kind], edges, color=colour, fill=True, alpha=0.45, label=label
            )
        chance = found["chance"]["same"]["mean"]
        if chance is not None:
            axis.axvline(chance, color=INK, linewidth=1, linestyle=":", label="same, by chance")
        # A long name must not run into its neighbour's.
        axis.set_title(name, fontsize=min(7.5, 190 / len(name)), color=INK, loc="left")
        axis.set(yticks=[])
        axis.tick_params(labelsize=7)
        axis.grid(visible=False)
    legend(figure, axes[0])
    return figure


def layer_divergence(models: Models, between: Mapping[str, Any] | None) -> Figure:
    """How differently the layers of a model see the regions, beside how differently models do."""
    names = list(models)[::-1]
    figure, axis = new_figure(0.26 * len(names) + 1.1)
    estimates = [models[name]["layer_divergence"]["mean"] for name in names]
    dots(axis, estimates, np.arange(len(names)), SERIES[0], "two layers of one recognizer", scale=1)
    if between is not None:
        axis.axvspan(number(between["low"]), number(between["high"]), color=SERIES[1], alpha=0.15)
        axis.axvline(
            number(between["mean"]), color=SERIES[1], label="two recognizers' overall maps"
        )
    axis.set(
        yticks=range(len(names)),
        yticklabels=names,
        xlabel="Jensen-Shannon divergence of region profiles, bits",
        xlim=(0, None),
    )
    legend(figure, axis)
    return figure


def gaps(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Differences of the drop between two groups under each model: of all people, and of matched ones."""
    rows = rows[::-1]
    figure, axis = new_figure(0.3 * len(rows) + 1.2)
    places = np.arange(len(rows))
    dots(axis, [r["difference"] for r in rows], places + 0.13, SERIES[0], "all people", scale=1)
    matched = [row["matched"]["difference"] for row in rows]
    dots(axis, matched, places - 0.13, SERIES[1], "matched on pose", scale=1)
    axis.axvline(0, color=MUTED, linewidth=0.8)
    first, second = rows[0]["first"], rows[0]["second"]
    axis.set(
        yticks=places,
        yticklabels=[row["model"] for row in rows],
        xlabel=f"drop, {first} minus {second}",
    )
    legend(figure, axis)
    return figure


def layer_focus(means: pl.DataFrame, depths: int) -> Figure:
    """Which regions each layer's map lies on, against its depth: mass over area.

    Args:
        means: Mean ``mass`` and ``area`` of each ``region`` at each ``depth`` that has maps.
        depths: Number of layers.
    """
    rows = means.filter(pl.col("area") > 0).with_columns(
        (pl.col("mass") / pl.col("area")).alias("density")
    )
    by_density = rows.group_by("region").agg(pl.col("density").mean())
    regions = by_density.sort("density", "region", descending=[True, False])["region"].to_list()
    image = np.full((len(regions), depths), np.nan)
    for depth, region, density in rows.select("depth", "region", "density").iter_rows():
        image[regions.index(region), depth - 1] = density
    figure, axis = new_figure(0.27 * len(regions) + 1.1)
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


def layer_maps(face: NDArray[np.uint8], layers: NDArray[np.floating], columns: int = 9) -> Figure:
    """Mean layer maps ``(L, h, w)`` over the mean face ``(h, w, 3)``, from early to late; at most four rows of them."""
    most = 4 * columns
    chosen = np.unique(np.linspace(0, len(layers) - 1, min(most, len(layers))).round().astype(int))
    rows = -(-len(chosen) // columns)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, WIDTH / columns * 1.22 * rows), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.axis("off")
    for axis, index in zip(axes, chosen, strict=False):
        axis.imshow(overlay(face, layers[index]))
        axis.set_title(str(index + 1), fontsize=7.5, color=MUTED, pad=2)
    return figure

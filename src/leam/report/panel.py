"""Figures of what is measured on the panel: curves, verification, sanity, swaps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from leam.report.drawing import INK, MUTED
from leam.report.plotting import MASK_COLOURS, Models, colours, dots, legend, new_figure, number

Points = Sequence[Mapping[str, Any]]


def fill_curves(models: Models) -> Figure:
    """The drop as more pixels are hidden, by mask, one picture a fill: means over the recognizers."""
    # Cosines and distances cannot be averaged: those of most recognizers are shown.
    kinds = [model["similarity"] for model in models.values()]
    kind = max(sorted(set(kinds)), key=kinds.count)
    models = {name: model for name, model in models.items() if model["similarity"] == kind}
    fills = list(next(iter(models.values()))["curves"])
    figure, axes = new_figure(2.9, columns=len(fills))
    for axis, fill in zip(np.atleast_1d(axes), fills, strict=True):
        masks = next(iter(models.values()))["curves"][fill]
        for mask in masks:
            points = [model["curves"][fill][mask] for model in models.values()]
            percent = [100 * point["fraction"] for point in points[0]]
            means = np.array([[number(point["mean"]) for point in one] for one in points])
            heavy = mask == "critical"
            axis.plot(
                percent,
                _mean(means),
                color=MASK_COLOURS.get(mask, MUTED),
                linewidth=2.2 if heavy else 1.2,
                marker="o",
                markersize=3,
                label=mask if axis is np.atleast_1d(axes)[0] else None,
            )
        axis.set(xscale="log", xlabel="% of the pixels hidden", xticks=percent)
        axis.set_xticklabels(
            [f"{value:g}" if value in {0.25, 1, 5, 20} else "" for value in percent]
        )
        axis.minorticks_off()
        axis.grid(visible=True, axis="y")
        axis.set_title(fill, fontsize=9, color=INK, loc="left")
        axis.set_ylim(bottom=min(0, axis.get_ylim()[0]))
    np.atleast_1d(axes)[0].set_ylabel(
        f"drop of the {kind}" if kind == "cosine" else "growth of the distance"
    )
    legend(figure, np.atleast_1d(axes)[0])
    return figure


def verification(models: Models) -> Figure:
    """Accuracy of verification as pixels go or come, by the map and at random; bold lines are means."""
    figure, axes = new_figure(2.9, columns=2)
    for axis, way in zip(axes, ("deletion", "insertion"), strict=True):
        for order, colour in (("map", MASK_COLOURS["critical"]), ("random", MUTED)):
            curves = [model["verification"][way][order]["curve"] for model in models.values()]
            percent = [100 * point["fraction"] for point in curves[0]]
            values = np.array([[number(point["mean"]) for point in curve] for curve in curves])
            for one in values if len(values) > 1 else ():
                axis.plot(percent, one, color=colour, linewidth=0.6, alpha=0.4)
            label = f"by the {order}" if order == "map" else "at random"
            axis.plot(percent, _mean(values), color=colour, linewidth=2.2, label=label)
        going = "deleted" if way == "deletion" else "inserted"
        axis.set(xlabel=f"% of the pixels {going}", ylim=(0.4, 1.02))
        axis.grid(visible=True, axis="y")
        axis.set_title(way, fontsize=9, color=INK, loc="left")
    axes[0].set_ylabel("accuracy")
    legend(figure, axes[0])
    return figure


def sanity(models: Models) -> Figure:
    """How alike the map stays to itself as ever more layers lose what they had learnt."""
    figure, axes = new_figure(2.9, columns=2)
    for axis, key, title in zip(
        axes, ("rank", "ssim"), ("rank correlation", "structural similarity"), strict=True
    ):
        for (name, model), colour in zip(models.items(), colours(len(models)), strict=True):
            percent = [0, *(100 * step["randomised"] for step in model["sanity"])]
            values = [1.0, *(number(step[key]["mean"]) for step in model["sanity"])]
            axis.plot(percent, values, color=colour, marker="o", markersize=3, label=name)
        axis.axhline(0, color=MUTED, linewidth=0.8)
        axis.set(xlabel="% of the layers randomised, top down")
        axis.grid(visible=True, axis="y")
        axis.set_title(title, fontsize=9, color=INK, loc="left")
    legend(figure, axes[0], columns=3)
    return figure


def swaps(models: Models) -> Figure:
    """How well the map of what parts a face from its changed copy ranks the exchanged region."""
    names = list(models)[::-1]
    regions = list(next(iter(models.values()))["swap"])
    figure, axis = new_figure(0.34 * len(names) + 1.2)
    _swap_dots(axis, models, names, regions)
    axis.axvline(0.5, color=MUTED, linewidth=0.8)
    axis.set(
        yticks=range(len(names)),
        yticklabels=names,
        xlabel="area under the ROC curve of the exchanged pixels (0.5 = chance)",
        xlim=(0.45, 1.0),
    )
    legend(figure, axis)
    return figure


def _swap_dots(axis: Axes, models: Models, names: Sequence[str], regions: Sequence[str]) -> None:
    offsets = np.linspace(0.24, -0.24, len(regions))
    for region, offset, colour in zip(regions, offsets, colours(len(regions)), strict=True):
        estimates = [models[name]["swap"][region] for name in names]
        dots(axis, estimates, np.arange(len(names)) + offset, colour, region, scale=1)


def _mean(values: np.ndarray) -> np.ndarray:
    """The mean of each column over the rows that have it; NaN where none has."""
    known = np.isfinite(values)
    counts = known.sum(axis=0)
    sums = np.where(known, values, 0.0).sum(axis=0)
    means: np.ndarray = np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)
    return means

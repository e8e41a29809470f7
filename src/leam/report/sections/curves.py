"""Similarity drop over the fraction of hidden pixels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from leam.metrics.statistics import verdict
from leam.report.charts import MASK_COLOURS, MUTED, Line, LinePanel, Lines
from leam.report.parts import MISSING, Drawing, Part, Table, Text, number, plain
from leam.report.section import DROP_AXES, SECTIONS, Context, Section
from leam.study.masks import CRITICAL
from leam.study.run_data import mean_of_known
from leam.study.stages.curves import CurveFigures

# Ticks with a label: more would overlap.
_LABELLED = (0.25, 1, 5, 20)


@SECTIONS("curves")
class Curves(Section):
    """Curves of every fill and mask."""

    name = "curves"
    title = "More hidden pixels, and other fills"
    order = 70
    shows = (CurveFigures,)

    def parts(self, context: Context) -> Iterator[Part]:
        """Mean curves, and the points of every recognizer."""
        found = context.summary.each(CurveFigures)
        yield Text(
            "Similarity drop over the fraction of hidden pixels, under each fill: critical pixels (bold) and as many "
            f"pixels of each control. Means over recognizers, measured on a subset of {context.settings.subset} people "
            "drawn with the seed. Black is a strong stimulus itself, while blur and ROAD's imputation are not: a "
            "conclusion is drawn for each fill, against the strongest of these controls."
        )
        yield Table(
            (
                "recognizer",
                "fill",
                "pixels hidden",
                "strongest control",
                "critical minus control",
                "verdict",
            ),
            list(_verdicts(found)),
            folded="",
        )
        # Cosines and distances cannot be averaged.
        for kind, shown in context.by_similarity(found).items():
            yield Drawing(
                curve_chart(shown, DROP_AXES[kind]),
                f"Similarity drop over the fraction of hidden pixels, {kind}: {', '.join(shown)}",
            )
        header = (
            "recognizer",
            "fill",
            "mask",
            *(f"{100 * fraction:g} %" for fraction in context.settings.curve),
            "people",
        )
        yield Table(
            header,
            [
                (
                    name,
                    fill,
                    mask,
                    *(plain(point.value.mean, 4) for point in points),
                    str(points[0].value.n),
                )
                for name, figures in found.items()
                for fill, masks in figures.curves.items()
                for mask, points in masks.items()
            ],
        )


def _verdicts(found: Mapping[str, CurveFigures]) -> Iterator[tuple[str, ...]]:
    for name, figures in found.items():
        for fill, margins in figures.margins.items():
            one = verdict(margins)
            fraction = f"{100 * figures.fraction:g} %"
            yield name, fill, fraction, one.control or MISSING, number(one.margin, 4), str(one)


def curve_chart(found: Mapping[str, CurveFigures], axis: str) -> Lines:
    """A panel per fill with a line per mask: means over the recognizers."""
    first = next(iter(found.values())).curves
    panels = []
    for fill, masks in first.items():
        lines = []
        for mask, points in masks.items():
            values = [
                [_number(point.value.mean) for point in figures.curves[fill][mask]]
                for figures in found.values()
            ]
            lines.append(
                Line(
                    mask,
                    [100 * point.fraction for point in points],
                    mean_of_known(np.array(values), axis=0).tolist(),
                    MASK_COLOURS.get(mask, MUTED),
                    width=2.2 if mask == CRITICAL else 1.2,
                    people=min(
                        point.value.n
                        for figures in found.values()
                        for point in figures.curves[fill][mask]
                    ),
                )
            )
        percent = lines[0].x
        panels.append(
            LinePanel(fill, lines, "% of the pixels hidden", percent, _LABELLED, zero=True)
        )
    return Lines(panels, axis)


def _number(value: float | None) -> float:
    return np.nan if value is None else value

"""Draws histograms."""

from __future__ import annotations

from collections.abc import Iterator

import altair as alt

from leam.report.charts import INK, Histogram, Histograms
from leam.report.drawing.look import (
    Look,
    Record,
    Spec,
    chooses,
    chosen,
    grid,
    numbered,
    painted,
    tooltip,
    written,
)

# Least width of a panel, the most of them side by side, and pixels between two ticks.
_LEAST, _COLUMNS, _BETWEEN = 140, 5, 50
_BRUSH = "range"


def draw_histograms(chart: Histograms, look: Look) -> Spec:
    """Histograms row by row, with the same axes. A brush over one shows how much of all is in its range."""
    panels, gap = chart.panels, look.pixels(18)
    fit = int((look.width + gap) // (look.pixels(_LEAST) + gap))
    columns = max(1, min(len(panels), _COLUMNS, fit))
    width = (look.width - (columns - 1) * gap) / columns - 2
    colours = dict(chart.colours)
    if any(panel.line is not None for panel in panels):
        colours[chart.line] = INK
    edges = [edge for panel in panels for edge in panel.edges]
    across = alt.Scale(domain=[min(edges), max(edges)], nice=False, zero=False)
    top = max((h for one in panels for row in one.heights.values() for h in row), default=0) or 1.0
    drawn = []
    for k, panel in enumerate(panels):
        axis = alt.Axis(
            title=look.wrapped(chart.axis, width) if k >= len(panels) - columns else None,
            tickCount=max(2, int(width // look.pixels(_BETWEEN))),
            grid=False,
        )
        x = alt.X("low", type="quantitative", scale=across, axis=axis)
        layered = alt.layer(*_layers(k, x, top, width, painted(colours, look, "square")))
        title = look.title(panel.title, width)
        drawn.append(layered.properties(width=width, height=look.pixels(95), title=title))
    records = [list(_records(panel, chart.line, top)) for panel in panels]
    found = grid(drawn, records, columns, look)
    # One brush for all panels; Altair knows brushes of one view only.
    views = [one["layer"][0]["name"] for one in found["concat"]]
    brush = {"name": _BRUSH, "select": {"type": "interval", "encodings": ["x"]}, "views": views}
    return {**found, "params": [*found["params"], brush]}


def _layers(
    number: int, x: alt.X, top: float, width: float, colour: alt.Color
) -> Iterator[alt.Chart]:
    """The bins, the line, and the parts in the range of the brush."""
    data, scale = numbered(number), alt.Scale(domain=[0, 1.05 * top], nice=False)
    bins = data.transform_filter("datum.kind == 'bin'").transform_filter(chosen())
    marks = bins.mark_rect(stroke=None).properties(name=f"bins{number}")
    yield chooses(marks, number).encode(
        x=x,
        x2="high",
        y=alt.Y("height", type="quantitative", scale=scale, axis=None),
        y2="base",
        color=colour,
        opacity=alt.condition(alt.selection_interval(name=_BRUSH), alt.value(0.55), alt.value(0.2)),
        tooltip=tooltip("series", **{"from": "low", "to": "high", "part": "value"}),
    )
    line = data.transform_filter("datum.kind == 'line'").mark_rule(strokeDash=[2, 2])
    yield line.encode(x=x, color=colour, tooltip=tooltip("series", value="value"))
    inside = bins.transform_filter(alt.selection_interval(name=_BRUSH, empty=False))
    sums = inside.transform_aggregate(part="sum(height)", groupby=["series", "place"])
    yield sums.mark_text(align="right", baseline="top").encode(
        x=alt.value(width),
        y=alt.Y("place", type="quantitative", scale=scale, axis=None),
        text=alt.Text("part", type="quantitative", format=".1%"),
        color=colour,
    )


def _records(panel: Histogram, line: str, top: float) -> Iterator[Record]:
    for k, (label, heights) in enumerate(panel.heights.items()):
        for low, high, height in zip(panel.edges, panel.edges[1:], heights, strict=False):
            yield {
                "kind": "bin",
                "series": label,
                "low": low,
                "high": high,
                "base": 0,
                "height": height,
                "value": written(height),
                "place": (1 - 0.14 * k) * top,
            }
    if panel.line is not None:
        yield {"kind": "line", "series": line, "low": panel.line, "value": written(panel.line)}

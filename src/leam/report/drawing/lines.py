"""Draws lines and histograms."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import altair as alt

from leam.metrics.statistics import FEWEST
from leam.report.charts import INK, Histogram, Histograms, LinePanel, Lines
from leam.report.drawing.look import (
    FAINT,
    Look,
    Record,
    Spec,
    axis_note,
    chosen,
    grid,
    literal,
    numbered,
    padded,
    painted,
    tooltip,
    written,
)

# Lines below this width are drawn faintly.
_THIN = 1
_BRUSH = "range"
_LEAST, _BETWEEN, _HISTOGRAM, _MOST_HISTOGRAMS = 140, 50, 140, 5


def draw_lines(chart: Lines, look: Look) -> Spec:
    """Panels side by side, as many as fit, on one scale of the vertical axis."""
    panels, gap, labels = chart.panels, look.pixels(18), look.pixels(52)
    cell = look.pixels(_LEAST) + gap
    columns = max(1, min(len(panels), int((look.width - labels + gap) // cell)))
    width = (look.width - labels - (columns - 1) * gap) / columns
    both = [
        padded((y for line in one.lines for y in line.y), one.limits or (None, None))
        for one in panels
    ]
    ends = [min(low for low, _ in both), max(high for _, high in both)]
    logarithmic = panels[0].logarithmic
    title = " ".join(filter(None, (chart.axis, "" if logarithmic else axis_note(ends))))
    height = min(look.pixels(330), max(look.pixels(190), 0.45 * width))
    colours = {line.label: line.colour for panel in panels for line in panel.lines}
    drawn = []
    for k, panel in enumerate(panels):
        first = k % columns == 0
        y: dict[str, Any] = {
            "scale": _logarithmic(panel, [y for line in panel.lines for y in line.y])
            if panel.logarithmic
            else alt.Scale(domain=ends, nice=False, zero=False),
            "axis": alt.Axis(
                title=look.wrapped(title, height) if first else None,
                labels=first,
                ticks=False,
                domain=False,
                tickCount=5,
                values=list(panel.ticks) if panel.logarithmic and panel.ticks else alt.Undefined,
                format="~g" if panel.logarithmic else alt.Undefined,
                minExtent=look.pixels(30) if first else 0,
                maxExtent=look.pixels(30) if first else 0,
            ),
        }
        layers = _lines(numbered(k), panel, look, y=y, width=width, colours=colours)
        drawn.append(alt.layer(*layers).properties(width=width, height=height, title=panel.title))
    drawn[0] = drawn[0].add_params(chosen())
    return grid(drawn, [list(_points(one)) for one in panels], columns, look)


def _lines(
    data: alt.Chart,
    panel: LinePanel,
    look: Look,
    *,
    y: dict[str, Any],
    width: float,
    colours: dict[str, str],
) -> Iterator[alt.Chart]:
    values = [x for line in panel.lines for x in line.x]
    if panel.ticks is None:
        count = max(2, int(width // look.pixels(_BETWEEN)))
        axis = alt.Axis(title=look.wrapped(panel.axis, width), tickCount=count, grid=False)
        scale = alt.Scale(
            domain=[min(values, default=0), max(values, default=1)], nice=False, zero=False
        )
    else:
        shown = ", ".join(f"{tick!r}" for tick in panel.labelled)
        axis = alt.Axis(
            title=look.wrapped(panel.axis, width),
            values=list(panel.ticks),
            labelExpr=f"indexof([{shown}], datum.value) < 0 ? '' : format(datum.value, '~g')",
            labelOverlap=False,
            grid=False,
        )
        scale = _logarithmic(panel, values)
    place = {
        "x": alt.X("x", type="quantitative", scale=scale, axis=axis),
        "y": alt.Y("y", type="quantitative", **y),
        "color": painted(colours, look, "stroke"),
    }
    if panel.zero:
        yield alt.Chart(alt.Data(values=[{}])).mark_rule().encode(y=alt.datum(0))
    marks = data.transform_filter(chosen())
    dashes = alt.Scale(domain=["many", "few"], range=[[1, 0], [2, 3]])
    yield marks.mark_line(clip=True, strokeWidth=1).encode(
        detail="line:N",
        strokeWidth=literal(alt.StrokeWidth, "width"),
        strokeDash=alt.StrokeDash("people", type="nominal", scale=dashes, legend=None),
        opacity=literal(alt.Opacity, "strength"),
        **place,
    )
    hover = tooltip(
        "series", **{panel.axis or "x": "x", "value": "value", "people, at least": "fewest"}
    )
    dots = marks.mark_point(filled=True, size=look.pixels(30), clip=True)
    yield dots.encode(opacity=literal(alt.Opacity, "dot"), tooltip=hover, **place)


def _points(panel: LinePanel) -> Iterator[Record]:
    for k, line in enumerate(panel.lines):
        few = line.people is not None and line.people < FEWEST
        for x, given in zip(line.x, line.y, strict=True):
            y = given if given is not None and math.isfinite(given) else None
            yield {
                "line": k,
                "series": line.label,
                "name": line.name or line.label,
                "x": x,
                "y": y,
                "value": written(y),
                "width": line.width,
                "people": "few" if few else "many",
                "fewest": "–" if line.people is None else line.people,
                "strength": 1 if line.width >= _THIN else FAINT,
                # Lines without dots are hovered on, too.
                "dot": int(line.dots),
            }


def _logarithmic(panel: LinePanel, values: Sequence[float | None]) -> alt.Scale:
    known = [*(one for one in values if one is not None and one > 0), *(panel.ticks or ())]
    return alt.Scale(
        type="log", domain=[min(known, default=0.1), max(known, default=1)], nice=False
    )


def draw_histograms(chart: Histograms, look: Look) -> Spec:
    """Histograms row by row, with the same axes; a brush over one shows the parts of all in its range."""
    panels, gap = chart.panels, look.pixels(18)
    cell = look.pixels(_HISTOGRAM) + gap
    columns = max(1, min(len(panels), _MOST_HISTOGRAMS, int((look.width + gap) // cell)))
    width = (look.width - (columns - 1) * gap) / columns - 2
    edges = [edge for panel in panels for edge in panel.edges]
    highest = max((h for one in panels for row in one.heights.values() for h in row), default=1.0)
    x = alt.Scale(domain=[min(edges), max(edges)], nice=False, zero=False)
    y = alt.Scale(domain=[0, 1.05 * highest or 1.0], nice=False)
    colours = {
        **chart.colours,
        **({chart.line: INK} if any(p.line is not None for p in panels) else {}),
    }
    drawn = []
    for k, panel in enumerate(panels):
        last = k >= len(panels) - columns
        axis = alt.Axis(
            title=look.wrapped(chart.axis, width) if last else None,
            tickCount=max(2, int(width // look.pixels(_BETWEEN))),
            grid=False,
        )
        layers = _bars(k, alt.X("low", type="quantitative", scale=x, axis=axis), y, colours, look)
        title = look.wrapped(panel.title, width)
        drawn.append(
            alt.layer(*layers).properties(width=width, height=look.pixels(95), title=title)
        )
    drawn[0] = drawn[0].add_params(chosen())
    found = grid(drawn, [list(_bins(panel, chart.line)) for panel in panels], columns, look)
    # One brush over all panels; Altair knows brushes of one view only.
    views = [one["layer"][0]["name"] for one in found["concat"]]
    brush = {"name": _BRUSH, "select": {"type": "interval", "encodings": ["x"]}, "views": views}
    return {**found, "params": [*found["params"], brush]}


def _bars(
    number: int, x: alt.X, y: alt.Scale, colours: dict[str, str], look: Look
) -> Iterator[alt.Chart]:
    data, colour = numbered(number), painted(colours, look, "square")
    bins = (
        data.properties(name=f"bins{number}")
        .transform_filter("datum.kind == 'bin'")
        .transform_filter(chosen())
    )
    place = {"y": alt.Y("height", type="quantitative", scale=y, axis=None), "color": colour}
    yield bins.mark_rect(stroke=None).encode(
        x=x,
        x2="high",
        y2="base",
        opacity=alt.condition(alt.selection_interval(name=_BRUSH), alt.value(0.55), alt.value(0.2)),
        tooltip=tooltip("series", **{"from": "low", "to": "high", "part of the pairs": "value"}),
        **place,
    )
    line = data.transform_filter("datum.kind == 'line'")
    yield line.mark_rule(strokeDash=[2, 2], strokeWidth=1.3).encode(
        x=x, color=colour, tooltip=tooltip("series", value="value")
    )


def _bins(panel: Histogram, line: str) -> Iterator[Record]:
    for label, heights in panel.heights.items():
        for low, high, height in zip(panel.edges, panel.edges[1:], heights, strict=False):
            yield {
                "kind": "bin",
                "series": label,
                "low": low,
                "high": high,
                "base": 0,
                "height": height,
                "value": written(height),
            }
    if panel.line is not None:
        yield {"kind": "line", "series": line, "low": panel.line, "value": written(panel.line)}

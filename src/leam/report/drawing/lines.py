"""Draws lines."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import cycle
from typing import Any

import altair as alt

from leam.metrics.statistics import FEWEST, NOTHING
from leam.report.charts import LinePanel, Lines
from leam.report.drawing.look import (
    FAINT,
    SHAPES,
    Look,
    Record,
    Spec,
    axis_note,
    chooses,
    chosen,
    grid,
    interval,
    literal,
    numbered,
    padded,
    painted,
    shaped,
    tooltip,
    written,
)

# Lines below this width are drawn faintly.
_THIN = 1
# Least width of a panel, and of one of many.
_LEAST, _LEAST_OF_MANY, _MANY = 170, 115, 4
# Part of the horizontal axis beyond the first and the last dot, so that they are not cut.
_EDGE = 0.02
# Pixels between two ticks.
_BETWEEN = 50


def draw_lines(chart: Lines, look: Look) -> Spec:
    """Panels side by side, as many as fit, on one scale of the vertical axis."""
    panels, gap, labels = chart.panels, look.pixels(18), look.pixels(52)
    cell = look.pixels(_LEAST if len(panels) < _MANY else _LEAST_OF_MANY) + gap
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
    lines = [line for panel in panels for line in panel.lines]
    colour = painted({line.label: line.colour for line in lines}, look, "stroke")
    signs: dict[str, Any] = {"color": colour}
    if any(line.dots for line in lines):
        names = dict.fromkeys(line.label for line in lines)
        signs["shape"] = shaped(dict(zip(names, cycle(SHAPES), strict=False)), look)
    drawn = []
    for k, panel in enumerate(panels):
        first = k % columns == 0
        y: dict[str, Any] = {
            "scale": _logarithmic(panel, [y for line in panel.lines for y in line.y])
            if panel.logarithmic
            else alt.Scale(domain=ends, nice=False, zero=False),
            "axis": alt.Axis(
                title=look.wrapped(title, height) if first else None,
                grid=True,
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
        layers = _lines(k, panel, look, y=y, width=width, signs=signs)
        shown = look.title(panel.title, width)
        drawn.append(alt.layer(*layers).properties(width=width, height=height, title=shown))
    return grid(drawn, [list(_points(one)) for one in panels], columns, look)


def _lines(
    number: int,
    panel: LinePanel,
    look: Look,
    *,
    y: dict[str, Any],
    width: float,
    signs: dict[str, Any],
) -> Iterator[alt.Chart]:
    values = [x for line in panel.lines for x in line.x]
    if panel.ticks is None:
        count = max(2, int(width // look.pixels(_BETWEEN)))
        axis = alt.Axis(title=look.wrapped(panel.axis, width), tickCount=count, grid=False)
        low, high = min(values, default=0.0), max(values, default=1.0)
        edge = _EDGE * (high - low)
        scale = alt.Scale(domain=[low - edge, high + edge], nice=False, zero=False)
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
    place: dict[str, Any] = {
        "x": alt.X("x", type="quantitative", scale=scale, axis=axis),
        "y": alt.Y("y", type="quantitative", **y),
    }
    if panel.zero:
        zero = alt.YDatum(0, type="quantitative", **y)
        yield alt.Chart(alt.InlineData(values=[{}])).mark_rule().encode(y=zero)
    marks = numbered(number).transform_filter(chosen())
    dashes = alt.Scale(domain=["many", "few"], range=[[1, 0], [2, 3]])
    yield chooses(marks.mark_line(clip=True), number).encode(
        detail="line:N",
        # In the order of the points, which may have the same place.
        order="place:Q",
        strokeWidth=literal(alt.StrokeWidth, "width"),
        strokeDash=alt.StrokeDash("people", type="nominal", scale=dashes, legend=None),
        opacity=literal(alt.Opacity, "strength"),
        color=signs["color"],
        **place,
    )
    named = {panel.axis or "x": "x", "mean": "value", "95 % interval": "interval", "people": "n"}
    # Where there is a pointer, lines without dots have invisible ones to point at.
    dots = marks if look.pointed else marks.transform_filter("datum.dot")
    dots = dots.mark_point(filled=True, size=look.pixels(30), clip=True)
    yield dots.encode(
        opacity=literal(alt.Opacity, "dot"),
        tooltip=tooltip(series="name", **named),
        **signs,
        **place,
    )


def _points(panel: LinePanel) -> Iterator[Record]:
    for k, line in enumerate(panel.lines):
        few = line.people is not None and line.people < FEWEST
        for place, (x, given) in enumerate(zip(line.x, line.y, strict=True)):
            y = given if given is not None and math.isfinite(given) else None
            one = line.estimates[place] if line.estimates else NOTHING
            yield {
                "line": k,
                "place": place,
                "series": line.label,
                "name": line.name or line.label,
                "x": x,
                "y": y,
                "value": written(y),
                "interval": interval(one.low, one.high),
                "n": one.n or ("–" if line.people is None else f"at least {line.people}"),
                "width": line.width,
                "people": "few" if few else "many",
                "strength": 1 if line.width >= _THIN else FAINT,
                "dot": int(line.dots),
            }


def _logarithmic(panel: LinePanel, values: Sequence[float | None]) -> alt.Scale:
    known = [*(one for one in values if one is not None and one > 0), *(panel.ticks or ())]
    low, high = min(known, default=0.1), max(known, default=1.0)
    edge = (high / low) ** _EDGE
    return alt.Scale(type="log", domain=[low / edge, high * edge], nice=False)

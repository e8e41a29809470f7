"""Draws rows with means and intervals."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle
from typing import Any

import altair as alt

from leam.metrics.statistics import FEWEST, Estimate
from leam.report.charts import INK, Panel, Rows, Series, charted
from leam.report.drawing.look import (
    BAR,
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

# Least width of a panel, and pixels between two ticks.
_LEAST, _BETWEEN = 105, 55


def draw_rows(chart: Rows, look: Look) -> Spec:
    """Panels side by side, as many as fit; if all have the same rows, the first of each line names them."""
    panels, gap = chart.panels, look.pixels(18)
    labels = min(look.text_width(row for one in panels for row in one.rows), 0.42 * look.width)
    labels += look.pixels(10)
    shared = all(list(one.rows) == list(panels[0].rows) for one in panels)
    if shared:
        room = look.width - labels
        columns = max(1, min(len(panels), int((room + gap) // (look.pixels(_LEAST) + gap))))
        width = (room - (columns - 1) * gap) / columns
    else:
        columns = 1 if look.narrow else len(panels)
        width = (look.width - (columns - 1) * gap) / columns - labels
    # Notes beside dots may stand beyond an axis that ends where it is told to.
    width -= max(_beyond(panel, look) for panel in panels)
    ends = [_ends(panel, width, look) for panel in panels]
    for label in {panel.axis for panel in panels if panel.axis}:
        # Panels with the same label have the same scale, so that lengths can be compared.
        same = [k for k, panel in enumerate(panels) if panel.axis == label]
        widest = [min(ends[k][0] for k in same), max(ends[k][1] for k in same)]
        for k in same:
            ends[k] = widest
    drawn = []
    for k, panel in enumerate(panels):
        named = labels if not shared or k % columns == 0 else 0
        layers = _layers(k, panel, look, _Axes(panel, look, ends[k], width, named))
        height = look.pixels(len(panel.rows) * _row_height(panel))
        title = look.title(panel.title, width)
        drawn.append(alt.layer(*layers).properties(width=width, height=height, title=title))
    return grid(drawn, [list(_records(one, look)) for one in panels], columns, look)


class _Axes:
    """The axes of a panel, and where a mark stands on them."""

    def __init__(
        self, panel: Panel, look: Look, ends: list[float], width: float, labels: float
    ) -> None:
        title = look.wrapped(" ".join(filter(None, (panel.axis, axis_note(ends)))), width)
        self._x: dict[str, Any] = {
            "scale": alt.Scale(domain=ends, nice=False, zero=False),
            "axis": alt.Axis(
                title=title,
                grid=True,
                tickCount=max(2, int(width // look.pixels(_BETWEEN))),
                labelOverlap=True,
            ),
        }
        axis = alt.Axis(
            title=None,
            grid=False,
            ticks=False,
            domain=False,
            labels=bool(labels),
            labelFontSize=look.font,
            labelLimit=labels,
            minExtent=labels,
            maxExtent=labels,
        )
        scale = alt.Scale(domain=list(panel.rows), padding=0.12)
        self.row = {"y": alt.Y("row", type="nominal", scale=scale, axis=axis)}
        self.place: dict[str, Any] = dict(self.row)
        if _spread(panel):
            offsets = alt.Scale(domain=[one.label for one in panel.series], paddingOuter=0.1)
            self.place["yOffset"] = alt.YOffset("series", type="nominal", scale=offsets)

    def x(self, field: str) -> alt.X:
        return alt.X(field, type="quantitative", **self._x)

    def datum(self, value: float) -> alt.XDatum:
        return alt.XDatum(value, type="quantitative", **self._x)


def _layers(number: int, panel: Panel, look: Look, axes: _Axes) -> Iterator[alt.Chart]:
    """Dots or bars with their intervals, what is expected by chance, and how few people there are."""
    hover = tooltip("series", "row", mean="value", **{"95 % interval": "interval", "people": "n"})
    data, colour, shape = numbered(number), _colour(panel, look), _shape(panel, look)
    # The legend is that of the colours, not of the fills.
    series = (
        {"fill": literal(alt.Fill, "colour", "nominal"), "stroke": alt.value(None)}
        if _by_row(panel)
        else {"color": colour}
    )
    strength = {"opacity": literal(alt.Opacity, "strength")}
    marks = data.transform_filter("datum.kind == 'series'").transform_filter(chosen())
    whiskers = marks.mark_rule(strokeWidth=1.5, clip=True)
    interval_ = {"x": axes.x("low"), "x2": "high", **axes.place}
    if panel.line is not None:
        once = alt.Chart(alt.InlineData(values=[{}]))
        yield once.mark_rule().encode(x=axes.datum(panel.line))
    if panel.bars:
        bars = chooses(marks.mark_bar(clip=True), number)
        yield bars.encode(x=axes.x("mean"), tooltip=hover, **series, **strength, **axes.place)
        yield whiskers.encode(color=alt.value(look.ink), **interval_)
    if panel.expected is not None:
        height = 0.7 * look.pixels(_row_height(panel))
        ticks = data.transform_filter("datum.kind == 'expected'")
        yield ticks.mark_tick(thickness=2, opacity=1, size=height).encode(
            x=axes.x("mean"),
            color=colour,
            tooltip=tooltip("series", "row", value="value"),
            **axes.row,
        )
    if not panel.bars:
        yield whiskers.encode(**series, **strength, **interval_)
        dots = marks.mark_point(filled=True, size=look.pixels(45), clip=True)
        yield chooses(dots, number).encode(
            x=axes.x("mean"), shape=shape, tooltip=hover, **series, **strength, **axes.place
        )
    notes = marks.transform_filter("datum.note").mark_text(align="left", dx=5, baseline="middle")
    yield notes.encode(x=axes.x("end"), text="note:N", **axes.place)


def _records(panel: Panel, look: Look) -> Iterator[Record]:
    for series in panel.series:
        own = isinstance(series.colour, str)
        for k, (row, given) in enumerate(zip(panel.rows, series.estimates, strict=True)):
            one = _shown(panel, given)
            mean, low, high = (_scaled(panel, end) for end in (one.mean, one.low, one.high))
            yield {
                "kind": "series",
                "series": series.label,
                "row": row,
                "mean": mean,
                "low": low,
                "high": high,
                "value": written(mean),
                "interval": interval(low, high),
                "n": given.n,
                "strength": FAINT if given.n < FEWEST else 1,
                "colour": look.paint(str(series.colour) if own else series.colour[k]),
                "note": _note(panel, given, one),
                "end": high if high is not None else mean or 0,
            }
    if panel.expected is not None:
        for row, value in zip(panel.rows, panel.expected.values, strict=True):
            mean = _scaled(panel, value)
            found = {"kind": "expected", "series": panel.expected.label, "row": row, "mean": mean}
            yield {**found, "value": written(mean)}


def _shown(panel: Panel, given: Estimate) -> Estimate:
    return charted(given) if panel.counts else given


def _note(panel: Panel, given: Estimate, shown: Estimate) -> str:
    """What is written beside a dot."""
    few = given.mean is not None and given.n < FEWEST
    if not few and not (panel.counts and shown.mean is not None):
        return ""
    return f"n = {given.n}" if shown.mean is not None else f"n = {given.n}: not drawn"


def _scaled(panel: Panel, value: float | None) -> float | None:
    return None if value is None else panel.scale * value


def _ends(panel: Panel, width: float, look: Look) -> list[float]:
    """The ends of the value axis, with room for what is written beside dots."""
    values = [
        _scaled(panel, end)
        for series in panel.series
        for one in (_shown(panel, given) for given in series.estimates)
        for end in (one.mean, one.low, one.high)
    ]
    if panel.expected is not None:
        values += [_scaled(panel, value) for value in panel.expected.values]
    low, high = padded([*values, panel.line], panel.limits)
    if panel.limits[1] is None:
        part = min(0.5, _room(panel, look) / width)
        high += (high - low) * part / (1 - part)
    return [low, high]


def _room(panel: Panel, look: Look) -> float:
    """The room for what is written beside dots."""
    notes = [
        _note(panel, given, _shown(panel, given))
        for series in panel.series
        for given in series.estimates
    ]
    return look.text_width(notes) + 8 if any(notes) else 0


def _beyond(panel: Panel, look: Look) -> float:
    """The part of this room that is right of the axis."""
    return 0 if panel.limits[1] is None else _room(panel, look)


def _spread(panel: Panel) -> bool:
    """Whether the series of a row stand below each other."""
    return len(panel.series) > 1


def _row_height(panel: Panel) -> float:
    """In pixels for text of 12 pixels."""
    if not _spread(panel):
        return 26
    return 10 + len(panel.series) * (13 if panel.bars else 9)


def _by_row(panel: Panel) -> bool:
    """Whether each row has a colour of its own."""
    return any(not isinstance(series.colour, str) for series in panel.series)


def _labels(panel: Panel) -> dict[str, Series | None]:
    """The entries of the legend; None is what is expected by chance."""
    found: dict[str, Series | None] = {}
    if not _by_row(panel):
        found |= {one.label: one for one in panel.series}
    return found if panel.expected is None else {**found, panel.expected.label: None}


def _colour(panel: Panel, look: Look) -> alt.Color:
    labels = _labels(panel)
    colours = {name: INK if one is None else str(one.colour) for name, one in labels.items()}
    # Bars have no shapes, whose legend is that of the colours, too.
    symbol = None if not panel.bars else BAR if _by_row(panel) else "square"
    return painted(colours, look, symbol)


def _shape(panel: Panel, look: Look) -> alt.Shape:
    own = zip(_labels(panel).items(), cycle(SHAPES), strict=False)
    return shaped({name: BAR if one is None else shape for (name, one), shape in own}, look)

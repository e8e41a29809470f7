"""Draws tables of colours, and trees."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import altair as alt
import numpy as np

from leam.metrics.statistics import Estimate
from leam.report.charts import SERIES, Matrix, RegionMap, Tree, shared_highest
from leam.report.drawing.look import (
    DIVERGING,
    SEQUENTIAL,
    Look,
    Record,
    Spec,
    bounded,
    grid,
    interval,
    literal,
    numbered,
    tooltip,
    written,
)

# Text on the lighter and on the darker half of the colours.
_ON_LIGHT, _ON_DARK = "#1d2733", "#ffffff"
# Labels of more columns are turned; those of columns of less than this width stand upright, and of less do not all fit.
_FLAT, _TURNED, _UPRIGHT = 3, 24, 12


def draw_matrix(chart: Matrix, look: Look) -> Spec:
    """Colours with their numbers."""
    means = [one.mean for row in chart.cells for one in row]
    lowest = min(0.0, *(bounded(one) for one in means if one is not None), 0.0)
    ends = lowest, bounded(chart.highest or shared_highest(means))
    rows, columns = list(chart.rows), list(chart.columns)
    table = _Table(rows, columns, chart.axes, look, 26)
    data = numbered(0)
    size = min(look.pixels(11), table.width / len(columns) / 2.4)
    numbers = data.mark_text(fontSize=size, baseline="middle").encode(
        text="number:N", fill=literal(alt.Fill, "ink", "nominal"), **table.place
    )
    domain = np.linspace(*ends, len(SEQUENTIAL)).tolist()
    layers = alt.layer(table.cells(data, domain, SEQUENTIAL, chart.scale), numbers)
    records = []
    for one in _cells(chart.cells, rows, columns):
        mean = one["mean"]
        dark = mean is not None and (mean - ends[0]) / (ends[1] - ends[0]) > 0.55  # noqa: PLR2004
        ink = look.ink if mean is None else _ON_DARK if dark else _ON_LIGHT
        records.append({**one, "number": "–" if mean is None else f"{mean:.2f}", "ink": ink})
    drawn = layers.properties(width=table.width, height=table.height)
    return grid([drawn], [records], 1, look)


def draw_region_map(chart: RegionMap, look: Look) -> Spec:
    """Colours that diverge from chance, by region and named layer."""
    regions, layers = list(chart.regions), list(chart.layers)
    table = _Table(regions, layers, ("", "layer, early to late"), look, 20)
    half = len(DIVERGING) // 2 + 1
    below = np.linspace(0, chart.chance, half)
    above = np.linspace(chart.chance, max(bounded(chart.highest), 1.01 * chart.chance), half)
    domain = [*below.tolist(), *above[1:].tolist()]
    data = numbered(0)
    cells = table.cells(data, domain, DIVERGING, chart.scale)
    missing = data.transform_filter("!isValid(datum.mean)").mark_text(baseline="middle")
    layered = alt.layer(cells, missing.encode(text=alt.value("–"), **table.place))
    drawn = layered.properties(width=table.width, height=table.height)
    return grid([drawn], [list(_cells(chart.cells, regions, layers))], 1, look)


class _Table:
    """The axes and colours of a table."""

    def __init__(
        self, rows: list[str], columns: list[str], titles: tuple[str, str], look: Look, row: float
    ) -> None:
        labels = min(look.text_width(rows), 0.35 * look.width) + look.pixels(10)
        title = look.pixels(20) if titles[0] else 0
        bar = 0 if look.narrow else look.pixels(75)
        self.look, self.width = look, look.width - labels - title - bar
        self.height = look.pixels(row * len(rows))
        cell = self.width / max(1, len(columns))
        turned = -40 if cell >= look.pixels(_TURNED) else -90
        x = alt.Axis(
            title=titles[1] or None,
            labelAngle=0 if len(columns) <= _FLAT else turned,
            labelLimit=look.pixels(170),
            labelOverlap=cell < look.pixels(_UPRIGHT),
            **_BARE,
        )
        y = alt.Axis(
            title=titles[0] or None,
            labelFontSize=look.font,
            labelLimit=labels,
            minExtent=labels,
            maxExtent=labels,
            **_BARE,
        )
        self.place = {
            "x": alt.X("column", type="nominal", scale=alt.Scale(domain=columns), axis=x),
            "y": alt.Y("row", type="nominal", scale=alt.Scale(domain=rows), axis=y),
        }

    def cells(
        self, data: alt.Chart, domain: list[float], colours: Sequence[str], label: str
    ) -> alt.Chart:
        """The colours of a table, with their bar."""
        narrow, look = self.look.narrow, self.look
        bar = alt.Legend(
            title=look.wrapped(label, look.width if narrow else look.pixels(95)),
            orient="top" if narrow else "right",
            gradientLength=min(look.pixels(200), look.width / 2) if narrow else self.height,
            tickCount=4,
        )
        scale = alt.Scale(domain=domain, range=list(colours), interpolate="lab")
        found: alt.Chart = (
            data.transform_filter("isValid(datum.mean)")
            .mark_rect()
            .encode(
                color=alt.Color("mean", type="quantitative", scale=scale, legend=bar),
                tooltip=tooltip(
                    "row", "column", mean="value", **{"95 % interval": "interval", "people": "n"}
                ),
                **self.place,
            )
        )
        return found


_BARE: Record = {"grid": False, "ticks": False, "domain": False}


def _cells(
    cells: Sequence[Sequence[Estimate]], rows: list[str], columns: list[str]
) -> Iterator[Record]:
    for row, values in zip(rows, cells, strict=True):
        for column, one in zip(columns, values, strict=True):
            yield {
                "row": row,
                "column": column,
                "mean": one.mean,
                "value": written(one.mean),
                "interval": interval(one.low, one.high),
                "n": one.n,
            }


def draw_tree(chart: Tree, look: Look) -> Spec:
    """A tree of clusters, its first leaf on top as in the matrices."""
    from scipy.cluster.hierarchy import dendrogram  # noqa: PLC0415  slow to import

    names = list(chart.names)
    drawn = dendrogram(np.array(chart.merges, dtype=np.float64), labels=names, no_plot=True)
    labels = min(look.text_width(names), 0.4 * look.width) + look.pixels(10)
    leaves = [
        {"kind": "leaf", "name": name, "distance": 0, "place": 10 * place + 5}
        for place, name in enumerate(drawn["ivl"])
    ]
    corners = [
        {
            "kind": "merge",
            "merge": merge,
            "corner": corner,
            "distance": x,
            "place": y,
            "value": written(max(distances)),
        }
        for merge, (places, distances) in enumerate(
            zip(drawn["icoord"], drawn["dcoord"], strict=True)
        )
        for corner, (y, x) in enumerate(zip(places, distances, strict=True))
    ]
    data, most = numbered(0), max(1.0, *(1.05 * one["distance"] for one in corners))
    scale = alt.Scale(domain=[0, most], nice=False)
    x = alt.X("distance", type="quantitative", scale=scale).axis(
        title=look.wrapped(chart.axis, look.width - labels), grid=False, tickCount=5
    )
    ends = alt.Scale(domain=[0, 10 * len(names)], reverse=True, nice=False)
    y = alt.Y("place", type="quantitative", scale=ends, axis=None)
    merges = data.transform_filter("datum.kind == 'merge'")
    lines = merges.mark_line(color=SERIES[1], strokeWidth=1.6).encode(
        x=x, y=y, detail="merge:N", order="corner:Q", tooltip=tooltip(distance="value")
    )
    texts = data.transform_filter("datum.kind == 'leaf'").mark_text(
        align="right", baseline="middle", dx=-6, fontSize=look.font, color=look.ink
    )
    both = alt.layer(lines, texts.encode(x=x, y=y, text="name:N"))
    height = look.pixels(24 * len(names))
    shown = both.properties(width=look.width - labels, height=height)
    return grid([shown], [[*leaves, *corners]], 1, look)

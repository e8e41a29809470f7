"""The charts of a report as data: what is drawn, with its labels and colours. :mod:`leam.report.drawing` draws them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from leam.figures import INK, MUTED
from leam.metrics.statistics import FEWEST, NOTHING, Estimate

__all__ = [
    "INK",
    "MASK_COLOURS",
    "MUTED",
    "SERIES",
    "Chart",
    "Expected",
    "Histogram",
    "Histograms",
    "Line",
    "LinePanel",
    "Lines",
    "Matrix",
    "Panel",
    "RegionMap",
    "Rows",
    "Series",
    "Tree",
    "charted",
    "colours",
    "fewest_people",
    "shared_highest",
]

SERIES = (
    "#cc4c02",
    "#2b6cb0",
    "#5ab4e1",
    "#873c2d",
    "#a587ff",
    "#c3a54b",
    "#e19678",
    "#693c78",
    "#b4694b",
    "#962d00",
    "#b478b4",
    "#4b3ca5",
)
"""Colours of the series of a chart. They differ for people with any colour blindness, on white and on dark pages."""
MASK_COLOURS = {
    "critical": "#cc4c02",
    "scattered": MUTED,
    "moved": "#a9b4c0",
    "moved_on_face": "#2b6cb0",
    "centre": "#5ab4e1",
    "other_person": "#a587ff",
    "population": "#693c78",
    "edges": "#c3a54b",
    "lowest": "#873c2d",
}
"""Colours of masks by name."""


@dataclass(frozen=True)
class Series:
    """Estimates under one label.

    Attributes:
        label: What the legend calls them.
        estimates: One per row of the panel.
        colour: Their colour, or one colour per row.
    """

    label: str
    estimates: Sequence[Estimate]
    colour: str | Sequence[str]


@dataclass(frozen=True)
class Expected:
    """What each row would show by chance, as a tick across it.

    Attributes:
        label: What the legend calls it.
        values: One per row; None for no tick.
    """

    label: str
    values: Sequence[float | None]


@dataclass(frozen=True)
class Panel:
    """Rows with means and 95 % intervals.

    Attributes:
        rows: Their labels, from top to bottom.
        series: What is drawn in each row.
        axis: The label of the value axis.
        title: The panel's title.
        scale: Factor from estimates to the axis: 100 for percent.
        bars: Draw bars instead of dots.
        expected: What each row would show by chance, in the unit of the estimates.
        line: Where to draw a thin vertical line, in units of the axis.
        limits: Ends of the value axis; None for automatic. An axis that does not show zero says so.
        counts: Write the number of people beside each dot, and draw none for fewer than ten people.
    """

    rows: Sequence[str]
    series: Sequence[Series]
    axis: str
    title: str = ""
    scale: float = 1
    bars: bool = False
    expected: Expected | None = None
    line: float | None = None
    limits: tuple[float | None, float | None] = (None, None)
    counts: bool = False


@dataclass(frozen=True)
class Rows:
    """Panels side by side, with the row labels on the left where all panels have the same.

    Attributes:
        panels: From left to right.
    """

    panels: Sequence[Panel]


@dataclass(frozen=True)
class Line:
    """A line through points; a point whose value is None is left out.

    Attributes:
        label: What the legend calls it. Lines with the same label share its entry.
        x: Where the points are.
        y: Their values.
        colour: Its colour.
        width: Its width in points; lines below 1 are drawn faintly.
        dots: Mark the points.
        people: The fewest people behind a point; None if that is not known.
        name: What it is called on hovering, if it is one of several lines with a label.
        estimates: One for each point, for its interval and people on hovering; empty if they are not known.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float | None]
    colour: str
    width: float = 1.2
    dots: bool = True
    people: int | None = None
    name: str = ""
    estimates: Sequence[Estimate] = ()


@dataclass(frozen=True)
class LinePanel:
    """Lines over one axis.

    Attributes:
        title: The panel's title.
        lines: What is drawn.
        axis: The label of the horizontal axis.
        ticks: Where the horizontal axis has ticks; it is then logarithmic. None for automatic ticks.
        labelled: The ticks that have a label.
        limits: Ends of the vertical axis; None for automatic. An axis that does not show zero says so.
        zero: Draw a thin line at 0, and let the vertical axis reach it.
        logarithmic: Make the vertical axis logarithmic, with the same ticks as the horizontal one.
    """

    title: str
    lines: Sequence[Line]
    axis: str
    ticks: Sequence[float] | None = None
    labelled: Sequence[float] = ()
    limits: tuple[float, float] | None = None
    zero: bool = False
    logarithmic: bool = False


@dataclass(frozen=True)
class Lines:
    """Panels of lines side by side, with one label and one scale of the vertical axis, and one legend."""

    panels: Sequence[LinePanel]
    axis: str


@dataclass(frozen=True)
class Histogram:
    """Distributions over the same bins.

    Attributes:
        title: The panel's title.
        edges: Edges of the bins.
        heights: By label: the height of each bin.
        line: Where to draw a dotted vertical line; None for no line.
        people: The number of people; None if that is not known.
    """

    title: str
    edges: Sequence[float]
    heights: Mapping[str, Sequence[float]]
    line: float | None
    people: int | None = None


@dataclass(frozen=True)
class Histograms:
    """Histograms in rows of up to five, with the same axes.

    Attributes:
        panels: Row by row.
        colours: By label.
        line: What the legend calls the dotted line.
        axis: The label of the value axis.
    """

    panels: Sequence[Histogram]
    colours: Mapping[str, str]
    line: str
    axis: str


@dataclass(frozen=True)
class Matrix:
    """A table of colours with its numbers.

    Attributes:
        cells: One list per row.
        rows: Labels of the rows.
        columns: Labels of the columns.
        axes: Labels of the vertical and of the horizontal axis.
        scale: The label of the colour scale.
        highest: The end of the colour scale; None for the highest value.
    """

    cells: Sequence[Sequence[Estimate]]
    rows: Sequence[str]
    columns: Sequence[str]
    axes: tuple[str, str] = ("", "")
    scale: str = ""
    highest: float | None = None


@dataclass(frozen=True)
class RegionMap:
    """Values by region and layer as colours that diverge from chance.

    Attributes:
        cells: One list per region, with one estimate per layer from early to late.
        regions: Labels of the rows.
        layers: Names of the layers.
        scale: The label of the colour scale.
        highest: The end of the colour scale, the same for all recognizers.
        chance: The value by chance.
    """

    cells: Sequence[Sequence[Estimate]]
    regions: Sequence[str]
    layers: Sequence[str]
    scale: str
    highest: float
    chance: float = 1


@dataclass(frozen=True)
class Tree:
    """A tree of clusters.

    Attributes:
        merges: SciPy's linkage: two clusters, their distance, and their size.
        names: The leaves.
        axis: The label of the distance axis, which is from 0 to 1.
        people: The fewest people behind a distance; None if that is not known.
    """

    merges: Sequence[Sequence[float]]
    names: Sequence[str]
    axis: str
    people: int | None = None


Chart: TypeAlias = "Rows | Lines | Histograms | Matrix | RegionMap | Tree"
"""Anything that :func:`leam.report.drawing.chart_spec` draws."""


def colours(count: int) -> list[str]:
    """This many colours; they repeat after twelve."""
    return [SERIES[index % len(SERIES)] for index in range(count)]


def charted(found: Estimate) -> Estimate:
    """The estimate as a chart shows it: nothing if fewer than ten people are behind it."""
    return found if found.n >= FEWEST else NOTHING


def fewest_people(chart: Chart) -> int | None:
    """The fewest people behind anything that a chart draws; None if that is not known."""
    if isinstance(chart, Rows):
        shown = [
            one
            for panel in chart.panels
            for series in panel.series
            for one in series.estimates
            if one.mean is not None
        ]
        counts: list[int | None] = [one.n for one in shown]
    elif isinstance(chart, Lines):
        counts = [line.people for panel in chart.panels for line in panel.lines]
    elif isinstance(chart, Histograms):
        counts = [panel.people for panel in chart.panels]
    elif isinstance(chart, Matrix | RegionMap):
        counts = [one.n for row in chart.cells for one in row if one.mean is not None]
    else:
        counts = [getattr(chart, "people", None)]
    return min((count for count in counts if count is not None), default=None)


def shared_highest(values: Iterable[float | None]) -> float:
    """The end of a colour scale that several charts share: their highest value; 1 without any."""
    return (
        max((one for one in values if one is not None and math.isfinite(one)), default=0.0) or 1.0
    )

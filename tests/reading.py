"""What a reader sees: the text and tables of a page, and the marks of a chart with their labels."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

Mark = tuple[float | None, float | None, float | None]
"""Mean, low and high ends."""


@dataclass
class Box:
    """One box of a page.

    Attributes:
        title: Its title.
        texts: Headings, paragraphs and captions in order.
        tables: Each as its rows, the header first.
        charts: What each chart is said to show.
        pictures: Addresses of the pictures.
        folds: What is clicked to see more.
    """

    title: str = ""
    texts: list[str] = field(default_factory=list)
    tables: list[list[tuple[str, ...]]] = field(default_factory=list)
    charts: list[str] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)
    folds: list[str] = field(default_factory=list)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.boxes: dict[str, Box] = {}
        self.head: list[str] = []
        self._box, self._text, self._cells = Box(), "", list[str]()
        self._ignored, self._chart = 0, False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag in {"section", "div"} and values.get("id"):
            self._box = self.boxes[str(values["id"])] = Box()
        if tag == "table":
            self._box.tables.append([])
        if tag == "figure":
            self._chart = values.get("class") == "chart"
            if self._chart:
                self._box.charts.append(str(values["aria-label"]))
        if tag == "img":
            self._box.pictures.append(str(values["src"]))
        if tag == "tr":
            self._cells = []
        if tag in {"nav", "script", "style", "svg"}:
            self._ignored += 1
        if tag in {"p", "h1", "h2", "h3", "th", "td", "summary", "figcaption", "b", "span"}:
            self._text = ""

    def handle_data(self, data: str) -> None:
        if not self._ignored:
            self._text += data

    def handle_endtag(self, tag: str) -> None:
        text = " ".join(self._text.split())
        if tag in {"nav", "script", "style", "svg"}:
            self._ignored -= 1
        if self._ignored or (tag == "figcaption" and self._chart):
            return
        if tag in {"th", "td"}:
            self._cells.append(text)
        if tag == "tr":
            self._box.tables[-1].append(tuple(self._cells))
        if tag == "h2":
            self._box.title = text
        if tag == "summary":
            self._box.folds.append(text)
        if tag in {"h1", "p", "h3", "figcaption", "b", "span"}:
            (self._box.texts if self.boxes else self.head).append(text)


def read_page(html: str) -> dict[str, Box]:
    """The boxes of a page by their anchors, in order."""
    reader = _Reader()
    reader.feed(html)
    return reader.boxes


def head_of(html: str) -> list[str]:
    """The texts above the boxes."""
    reader = _Reader()
    reader.feed(html)
    return reader.head


def rows_of(axis: Axes) -> dict[tuple[str, str], Mark]:
    """Dots or bars by series and row, each with its interval as it is drawn."""
    labels = [label.get_text() for label in axis.get_yticklabels()]
    intervals = [one for one in axis.collections if isinstance(one, LineCollection)]
    found = {}
    # Every series is followed by its intervals.
    for (series, points), lines in zip(_series(axis), intervals, strict=True):
        segments = {round(s[0][1], 6): (s[0][0], s[1][0]) for s in lines.get_segments() if len(s)}
        for x, y in points:
            low, high = segments.get(round(y, 6), (np.nan, np.nan))
            found[series, labels[int(np.rint(y))]] = (_known(x), _known(low), _known(high))
    return found


def row_colours(axis: Axes) -> dict[tuple[str, str], str]:
    """The colour of each dot or bar, by series and row."""
    labels = [label.get_text() for label in axis.get_yticklabels()]
    found = {}
    for collection in axis.collections:
        if isinstance(collection, PathCollection):
            colours = collection.get_facecolor()
            for place, (_, y) in enumerate(collection.get_offsets()):
                colour = colours[place % len(colours)]
                found[str(collection.get_label()), labels[int(np.rint(y))]] = to_hex(colour)
    for container in axis.containers:
        for bar in container:
            row = labels[int(np.rint(bar.get_y() + bar.get_height() / 2))]
            found[str(container.get_label()), row] = to_hex(bar.get_facecolor())
    return found


def _series(axis: Axes) -> list[tuple[str, list[tuple[float, float]]]]:
    """Dots or bars by label, in the order in which they were drawn."""
    dots = [
        (str(one.get_label()), np.ma.getdata(one.get_offsets()).tolist())
        for one in axis.collections
        if isinstance(one, PathCollection)
    ]
    bars = [
        (str(one.get_label()), [(b.get_width(), b.get_y() + b.get_height() / 2) for b in one])
        for one in axis.containers
    ]
    return [*dots, *bars]


def lines_of(axis: Axes) -> dict[str, list[tuple[float, float | None]]]:
    """The points of each labelled line; of equal labels the last."""
    return {
        str(line.get_label()): [
            (round(float(x), 6), _known(y))
            for x, y in zip(
                np.atleast_1d(line.get_xdata()), np.atleast_1d(line.get_ydata()), strict=True
            )
        ]
        for line in axis.lines
        if not str(line.get_label()).startswith("_")
    }


def thin_lines_of(axis: Axes) -> list[tuple[str, list[float | None]]]:
    """Colour and values of the lines without a label that run over more than two points."""
    return [
        (to_hex(line.get_color()), [_known(y) for y in line.get_ydata()])
        for line in axis.lines
        if str(line.get_label()).startswith("_") and len(line.get_ydata()) > 2
    ]


def ticks_of(axis: Axes, label: str) -> dict[str, float | None]:
    """What a labelled line of ticks marks in each row."""
    rows = [text.get_text() for text in axis.get_yticklabels()]
    (line,) = [line for line in axis.lines if line.get_label() == label]
    return {
        rows[int(y)]: _known(x) for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
    }


def cells_of(axis: Axes) -> dict[tuple[str, str], str]:
    """The numbers of a matrix by the labels of their row and column, each where it is drawn."""
    rows = [label.get_text() for label in axis.get_yticklabels()]
    columns = [label.get_text() for label in axis.get_xticklabels()]
    return {
        (rows[int(text.get_position()[1])], columns[int(text.get_position()[0])]): text.get_text()
        for text in axis.texts
    }


def legend_of(figure: Figure) -> dict[str, str]:
    """The colours of a legend by label."""
    found = {}
    for legend in figure.legends:
        for handle, text in zip(legend.legend_handles, legend.get_texts(), strict=True):
            colour = (
                handle.get_facecolor() if hasattr(handle, "get_facecolor") else handle.get_color()
            )
            found[text.get_text()] = to_hex(colour[0] if np.ndim(colour) > 1 else colour)
    return found


def _known(value: float) -> float | None:
    return round(float(value), 6) if np.isfinite(value) else None

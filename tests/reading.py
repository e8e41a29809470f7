"""What a reader sees: the text and tables of a page, and the marks of a chart with their labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from html.parser import HTMLParser
from typing import Any

import vl_convert

from leam.report.drawing import chart_spec
from leam.report.drawing.look import PAGE, Look

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


Item = dict[str, Any]
"""A mark as it is drawn: where it is in pixels, its colour, its text."""


@dataclass
class Axis:
    """An axis as it is drawn.

    Attributes:
        title: Its label.
        ticks: The text and place of each tick, in pixels.
        logarithmic: Whether it is logarithmic.
    """

    title: str
    ticks: list[tuple[str, float]]
    logarithmic: bool = False

    @cached_property
    def _values(self) -> list[tuple[float, float]]:
        return [(number_of(text), place) for text, place in self.ticks if text]

    def value(self, place: float | None) -> float | None:
        """What stands at a place."""
        if place is None:
            return None
        (first, start), (last, end) = self._values[0], self._values[-1]
        part = (place - start) / (end - start)
        if self.logarithmic:
            return round(first * (last / first) ** part, 5)
        return round(first + part * (last - first), 6)

    def name(self, place: float) -> str:
        """The label nearest to a place."""
        return min(self.ticks, key=lambda tick: abs(tick[1] - place))[0]


@dataclass
class View:
    """A panel as it is drawn.

    Attributes:
        title: Its title.
        x: Its horizontal axis.
        y: Its vertical axis; that of the first panel if it has no labels.
        marks: The marks of each kind, layer by layer.
        legend: The colours of the legend by label.
        shapes: Its shapes.
        width: Its width in pixels.
        height: Its height.
    """

    title: str
    x: Axis
    y: Axis
    marks: list[tuple[str, list[Item]]]
    legend: dict[str, str]
    shapes: dict[str, str]
    width: float
    height: float

    def series(self, colour: str, shape: str | None = None) -> str:
        """The label of a colour in the legend, and of a shape if several series have the colour."""
        labels = [label for label, one in self.legend.items() if one == plain(colour)]
        alike = [label for label in labels if self.shapes.get(label) == shape]
        return next(iter(alike if len(labels) > 1 and alike else labels), "")

    def of(self, kind: str) -> Iterator[list[Item]]:
        """The layers of a kind of marks."""
        yield from (items for name, items in self.marks if name == kind)

    def each(self, kind: str) -> list[Item]:
        """The marks of a kind."""
        return [item for items in self.of(kind) for item in items]

    @property
    def texts(self) -> list[str]:
        """What is written in the panel."""
        return [text_of(item) for item in self.each("text")]


@dataclass
class Figure:
    """A chart as it is drawn.

    Attributes:
        axes: Its panels.
        legend: The colours of its legend by label.
        shapes: The shapes of its legend by label.
        bar: Label, and lowest and highest labelled value of its colour bar.
        size: Width and height in pixels.
    """

    axes: list[View]
    legend: dict[str, str]
    shapes: dict[str, str]
    bar: tuple[str, list[float]]
    size: tuple[float, float]


def drawn(chart: object, look: Look = PAGE) -> Figure:
    """What a reader sees of a chart: places, colours and texts of what Vega draws, not what it was told to draw."""
    spec = chart_spec(chart, look)
    found = vl_convert.vegalite_to_scenegraph(spec)
    (root,) = found["scenegraph"]["items"]
    legend, shapes, bar = {}, {}, ("", [])
    views = [part for part in root["items"] if part["role"] == "scope"]
    for part in _every(root, "legend"):
        symbols, labels = _items(part, "legend-symbol"), _items(part, "legend-label")
        for symbol, label in zip(symbols, labels, strict=False):
            legend[text_of(label)] = plain(symbol.get("fill") or symbol["stroke"])
            if symbol.get("fill") not in {None, "transparent"}:
                shapes[text_of(label)] = symbol["shape"]
            else:
                legend[text_of(label)] = plain(symbol["stroke"])
        if not symbols:
            title = " ".join(map(text_of, _items(part, "legend-title")))
            bar = (title, [number_of(text_of(label)) for label in labels])
    axes: list[View] = []
    for part, panel in zip(views, spec["concat"], strict=True):
        (group,) = part["items"]
        x, y = (_axis(group, orient) for orient in (("bottom",), ("left",)))
        x.logarithmic, y.logarithmic = (_is_logarithmic(panel, channel) for channel in "xy")
        title = " ".join(map(text_of, _items({"items": [group]}, "title-text")))
        view = View(
            title,
            x,
            y if y.ticks or not axes else axes[0].y,
            [(kind, items) for kind, items in _marks(group)],
            legend,
            shapes,
            group["width"],
            group["height"],
        )
        axes.append(view)
    return Figure(axes, legend, shapes, bar, (found["width"], found["height"]))


def plain(colour: str) -> str:
    """A colour of the page as it is without the page's styles."""
    return colour.removeprefix("var(--ink, ").removeprefix("var(--muted, ").removesuffix(")")


def number_of(text: str) -> float:
    """The number that the text of a tick says."""
    return float(text.replace("\N{MINUS SIGN}", "-"))


def text_of(item: Item) -> str:
    """A text in one line."""
    text = item.get("text", "")
    return " ".join(text) if isinstance(text, list) else str(text)


def rows_of(view: View) -> dict[tuple[str, str], Mark]:
    """Dots or bars by series and row, each with its interval as it is drawn."""
    found = {}
    whiskers = {
        round(item["y"], 3): (view.x.value(item["x"]), view.x.value(item["x2"]))
        for item in view.each("rule")
        if "x2" in item
    }
    for item, x, y in _points(view):
        low, high = whiskers.get(round(y, 3), (None, None))
        found[view.series(item["fill"], item.get("shape")), view.y.name(y)] = (
            view.x.value(x),
            low,
            high,
        )
    return found


def row_colours(view: View) -> dict[tuple[str, str], str]:
    """The colour of each dot or bar, by series and row."""
    return {
        (view.series(item["fill"], item.get("shape")), view.y.name(y)): item["fill"]
        for item, _, y in _points(view)
    }


def opacities(view: View) -> dict[tuple[str, str], float]:
    """The opacity of each dot or bar, by series and row."""
    return {
        (view.series(item["fill"], item.get("shape")), view.y.name(y)): item["opacity"]
        for item, _, y in _points(view)
    }


def _points(view: View) -> Iterator[tuple[Item, float, float]]:
    """Dots and the ends of bars with their place, from top to bottom of each row's series."""
    for item in view.each("symbol"):
        yield item, item["x"], item["y"]
    zero = _place(view.x, 0.0)
    for item in view.each("rect"):
        if not _is_tick(item):
            ends = (item["x"], item["x"] + item["width"])
            yield item, max(ends, key=lambda end: abs(end - zero)), item["y"] + item["height"] / 2


def lines_of(view: View) -> dict[str, list[tuple[float, float | None]]]:
    """The points of each bold line by label; of equal labels the last."""
    shapes = {(one["x"], one["y"], one["fill"]): one["shape"] for one in view.each("symbol")}

    def shape(first: Item) -> str | None:
        return shapes.get((first["x"], first["y"], first["stroke"]))

    return {
        view.series(items[0]["stroke"], shape(items[0])): [
            (
                view.x.value(item["x"]),
                view.y.value(item["y"]) if item.get("defined", True) else None,
            )
            for item in items
        ]
        for items in view.of("line")
        if items[0]["opacity"] == 1
    }


def thin_lines_of(view: View) -> list[tuple[str, list[float | None]]]:
    """Colour and values of the faint lines."""
    return [
        (items[0]["stroke"], [view.y.value(item["y"]) for item in items])
        for items in view.of("line")
        if items[0]["opacity"] < 1
    ]


def dashes_of(view: View) -> list[bool]:
    """Whether each line is dotted."""
    return [items[0]["strokeDash"] != [1, 0] for items in view.of("line")]


def ticks_of(view: View, label: str) -> dict[str, float | None]:
    """What the ticks with a label mark in each row."""
    return {
        view.y.name(item["y"] + item["height"] / 2): view.x.value(item["x"] + item["width"] / 2)
        for item in view.each("rect")
        if _is_tick(item) and view.series(item["fill"]) == label
    }


def cells_of(view: View) -> dict[tuple[str, str], str]:
    """The numbers of a matrix by the labels of their row and column, each where it is drawn."""
    return {
        (view.y.name(item["y"]), view.x.name(item["x"])): text_of(item)
        for item in view.each("text")
    }


def colours_of(view: View) -> dict[tuple[str, str], str]:
    """The colour of each cell of a table by the labels of its row and column."""
    return {
        (
            view.y.name(item["y"] + item["height"] / 2),
            view.x.name(item["x"] + item["width"] / 2),
        ): item["fill"]
        for item in view.each("rect")
    }


def legend_of(figure: Figure) -> dict[str, str]:
    """The colours of a legend by label."""
    return figure.legend


def rows_named(view: View) -> list[str]:
    """The labels of the rows from top to bottom."""
    return [text for text, _ in sorted(view.y.ticks, key=lambda tick: tick[1])]


def _is_tick(item: Item) -> bool:
    return bool(item["width"] == 2)


def _place(axis: Axis, value: float) -> float:
    """Where a value stands on an axis that is not logarithmic."""
    (first, start), (last, end) = axis._values[0], axis._values[-1]
    return start + (value - first) / (last - first) * (end - start)


def _axis(group: Item, orient: tuple[str, ...]) -> Axis:
    title, ticks = "", []
    for part in group["items"]:
        if part["role"] != "axis" or part["items"][0]["orient"] not in orient:
            continue
        title = title or " ".join(map(text_of, _items(part, "axis-title")))
        along = "x" if orient == ("bottom",) else "y"
        ticks += [(text_of(label), label[along]) for label in _items(part, "axis-label")]
    return Axis(title, ticks)


def _is_logarithmic(panel: Item, channel: str) -> bool:
    return any(
        (layer["encoding"].get(channel) or {}).get("scale", {}).get("type") == "log"
        for layer in panel["layer"]
    )


def _marks(group: Item) -> Iterator[tuple[str, list[Item]]]:
    """The marks of a panel, layer by layer and line by line."""
    for part in group["items"]:
        if part["role"] == "mark" and part["items"] and "brush" not in part.get("name", ""):
            yield part["marktype"], part["items"]
        elif part["role"] == "scope":
            for one in part["items"]:
                yield from _marks(one)


def _every(part: Item, role: str) -> Iterator[Item]:
    """The parts of a kind inside another one."""
    for item in part.get("items", []):
        for one in [item] if "marktype" in item else item.get("items", []):
            if one.get("role") == role:
                yield one
            else:
                yield from _every(one, role)


def _items(part: Item, role: str) -> list[Item]:
    return [item for one in _every(part, role) for item in one["items"]]

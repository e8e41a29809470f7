"""How charts look: sizes, colours and the place of panels and legends."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import altair as alt

from leam.report.charts import INK, MUTED

Record = dict[str, Any]
"""One mark of a chart, by the names of its fields."""
Spec = dict[str, Any]
"""A Vega-Lite specification."""

FAINT = 0.35
"""Opacity of what fewer than ten people are behind."""
# Steps of lightness and colour are equal, also for people with any colour blindness.
DIVERGING = (
    "#0055a9",
    "#3771b8",
    "#6f8fc6",
    "#9caed5",
    "#c6cfe3",
    "#f1f1f1",
    "#e2cabf",
    "#d1a490",
    "#bc8062",
    "#a55c37",
    "#8c390a",
)
"""From below chance, blue, to above, brown."""
SEQUENTIAL = (
    "#f1f1f1",
    "#cbd9df",
    "#a8c1cf",
    "#88a9c1",
    "#6b91b3",
    "#5378a5",
    "#415f95",
    "#354583",
    "#2e2c6f",
)
"""From the lowest value, light, to the highest, dark."""
SHAPES = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "triangle-right")
"""Shapes of dots, which tell series apart as their colours do."""
BAR = "M-0.16,-1H0.16V1H-0.16Z"
"""The shape of a tick."""

MOST = 1e300
"""The largest value of a chart."""

_FONT = 'Arial, "Liberation Sans", Helvetica, sans-serif'
_NARROW_LETTERS, _WIDE_LETTERS = frozenset("fijlrt.,:;|!'()[] "), frozenset("mwMW%@")


@dataclass(frozen=True)
class Look:
    """Where a chart is shown.

    Attributes:
        width: Its width in pixels of 1/96 inch.
        font: The size of its text in the same pixels.
        ink: The colour of text and ticks.
        muted: The colour of secondary text and lines.
        grid: The colour of the grid.
        pointed: Whether values are shown on pointing at marks.
    """

    width: int
    font: float
    ink: str
    muted: str
    grid: str
    pointed: bool = False

    @property
    def narrow(self) -> bool:
        """Whether it is as narrow as a phone, or as a column of a paper."""
        return self.width < 420  # noqa: PLR2004

    def pixels(self, size: float) -> float:
        """A size that grows with the text; given for text of 12 pixels."""
        return round(size * self.font / 12, 1)

    def paint(self, colour: str) -> str:
        """A colour of a chart as it is drawn."""
        return self.ink if colour == INK else colour

    def text_width(self, texts: Iterable[str]) -> float:
        """About the width of the longest text in pixels."""
        return self.font * max((sum(map(_letter, text)) for text in texts), default=0.0)

    def wrapped(self, text: str, width: float) -> list[str]:
        """A text in lines of about this width in pixels; words stay whole."""
        letters = max(8, int(width / (0.52 * self.font)))
        return textwrap.wrap(text, letters, break_long_words=False) or [""]

    def title(self, text: str, width: float) -> alt.TitleParams:
        """A title that is smaller if a word, such as the name of a recognizer, is wider than its panel."""
        words = self.text_width(text.split())
        size = self.font * min(1.0, width / words) if words else self.font
        return alt.TitleParams(self.wrapped(text, width), fontSize=round(size, 1))


# The colours of the page, light or dark, where it has any.
PAGE = Look(860, 12, f"var(--ink, {INK})", f"var(--muted, {MUTED})", "var(--line, #e1e6eb)")
PHONE = replace(PAGE, width=320)
# At most 178 mm and 85 mm wide with margins, with text of 7 points, black on white.
PAPER = Look(662, 9.33, "#000000", "#4d5660", "#dfe3e7")
COLUMN = replace(PAPER, width=314)


def _letter(letter: str) -> float:
    """About the width of a letter in a font of size 1."""
    if letter in _NARROW_LETTERS:
        return 0.3
    if letter in _WIDE_LETTERS:
        return 0.86
    return 1.0 if ord(letter) > 0x2E80 else 0.68 if letter.isupper() else 0.56  # noqa: PLR2004  East Asian scripts


def grid(
    panels: Sequence[alt.LayerChart | alt.FacetChart],
    records: Iterable[list[Record]],
    columns: int,
    look: Look,
) -> Spec:
    """Panels row by row. Each reads its records under its number; see :func:`numbered`."""
    both = alt.concat(
        *panels,
        columns=columns,
        spacing=look.pixels(18),
        padding=look.pixels(4),
        background="transparent",
        config=_config(look),
    )
    # Tests validate every kind of chart; here that would take longer than drawing.
    found: Spec = both.to_dict(validate=False)
    # Altair would copy them many times.
    named = {str(number): some for number, some in enumerate(records)}
    return {**found, "datasets": {**found.get("datasets", {}), **named}}


def numbered(number: int) -> alt.Chart:
    """A chart of the records of a panel."""
    return alt.Chart(alt.NamedData(name=str(number)))


def legend(labels: Sequence[str], look: Look, symbol: str | None = None) -> alt.Legend | None:
    """A legend above the panels, with as many columns as fit; None without labels."""
    if not any(labels):
        return None
    columns = max(1, int(look.width // (look.text_width(labels) + look.pixels(40))))
    shape: Record = {} if symbol is None else {"symbolType": symbol}
    return alt.Legend(title=None, orient="top", columns=columns, **shape)


def shaped(shapes: Mapping[str, str], look: Look) -> alt.Shape:
    """Shapes of series by label, with their legend."""
    scale = alt.Scale(domain=list(shapes), range=list(shapes.values()))
    return alt.Shape("series", type="nominal", scale=scale, legend=legend(list(shapes), look))


def painted(colours: Mapping[str, str], look: Look, symbol: str | None = None) -> alt.Color:
    """Colours of series by label, with their legend."""
    scale = alt.Scale(domain=list(colours), range=[look.paint(one) for one in colours.values()])
    shown = legend(list(colours), look, symbol)
    return alt.Color("series", type="nominal", scale=scale, legend=shown)


def chosen() -> alt.Parameter:
    """What was clicked in the legend. The rest is hidden until the next click."""
    return alt.selection_point(name="chosen", fields=["series"], bind="legend")


def chooses(marks: alt.Chart, number: int) -> alt.Chart:
    """Marks with a legend to click on, if they are those of the first panel: all panels have one legend."""
    if number:
        return marks
    # Altair's own names of views differ each time.
    named = marks if isinstance(marks.name, str) else marks.properties(name="choices")
    return named.add_params(chosen())


def literal(channel: Any, field: str, kind: str = "quantitative") -> Any:  # noqa: ANN401  any channel
    """A channel whose values are drawn as they stand in the records."""
    return channel(field, type=kind, scale=None, legend=None)


def tooltip(*fields: str, **named: str) -> list[alt.Tooltip]:
    """What is shown on hovering: fields by themselves, and fields by what they are called."""
    both = {**{name: name for name in fields}, **named}
    return [alt.Tooltip(field, type="nominal", title=title) for title, field in both.items()]


def written(value: float | None) -> str:
    """A value as shown on hovering, with four significant digits."""
    return "–" if value is None else f"{value:.4g}"


def interval(low: float | None, high: float | None) -> str:
    """An interval as shown on hovering."""
    return "–" if low is None or high is None else f"{written(low)} to {written(high)}"


def bounded(value: float) -> float:
    """A value, or the largest one that ends of axes can have: values of damaged files may be larger."""
    return max(-MOST, min(MOST, value)) if value == value else 0.0  # noqa: PLR0124  not a number


def padded(
    values: Iterable[float | None], limits: tuple[float | None, float | None] = (None, None)
) -> tuple[float, float]:
    """The ends of an axis: the limits, or where there is none, so that it shows all values and zero."""
    known = [bounded(one) for one in values if one is not None]
    low, high = min([*known, 0.0]), max([*known, 0.0])
    margin = 0.05 * (high - low) or 0.5
    return (
        limits[0] if limits[0] is not None else low - margin if low < 0 else 0.0,
        limits[1] if limits[1] is not None else high + margin if high > 0 or low == 0 else 0.0,
    )


def axis_note(ends: Sequence[float]) -> str:
    """What is said of an axis that does not show zero."""
    return "" if ends[0] <= 0 <= ends[1] else f"(axis from {ends[0]:g})"


def _config(look: Look) -> alt.Config:
    small = look.pixels(11)
    text: Record = {"font": _FONT, "fontSize": look.font, "color": look.ink, "fontWeight": "normal"}
    return alt.Config(
        font=_FONT,
        # The page says what a chart shows; without this, each mark would be read aloud.
        aria=False,
        view=alt.ViewConfig(stroke=None),
        axis=alt.AxisConfig(
            domainColor=look.grid,
            gridColor=look.grid,
            labelColor=look.ink,
            labelFontSize=small,
            tickColor=look.grid,
            titleColor=look.ink,
            titleFontSize=look.font,
            titleFontWeight="normal",
            titlePadding=look.pixels(6),
        ),
        legend=alt.LegendConfig(
            labelColor=look.ink,
            labelFontSize=look.font,
            labelLimit=look.width - 40,
            titleColor=look.ink,
            titleFontSize=small,
            titleFontWeight="normal",
            symbolSize=look.pixels(70),
            symbolOpacity=1,
            symbolStrokeWidth=look.pixels(2),
            gradientThickness=look.pixels(10),
            offset=look.pixels(6),
            rowPadding=look.pixels(2),
        ),
        title=alt.TitleConfig(anchor="start", frame="group", offset=look.pixels(6), **text),
        text=alt.MarkConfig(color=look.muted, font=_FONT, fontSize=look.pixels(10)),
        rule=alt.MarkConfig(color=look.muted),
    )

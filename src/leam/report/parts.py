"""What a section of the report is made of, and how its numbers are written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from leam.metrics.statistics import FEWEST, Estimate
from leam.report.charts import Chart, fewest_people

MISSING = "–"
"""Stands for a figure that could not be measured."""
# A longer table would hide the rest of its section.
_MOST_ROWS = 20
# A figure, with its unit, its interval, or what it is a part of.
_FIGURE = re.compile(r"[<>]?\s?[+-]?\d[\d.,]*(e[+-]?\d+)?(\s?%)?(\s\[.*\]|\sof\s\d+)?")


@dataclass(frozen=True)
class Part:
    """Something in a section, from top to bottom. The page knows each kind by its name.

    Attributes:
        recognizer: The recognizer that it is about, by which a reader can filter the page; empty for any other part.
    """

    kind: ClassVar[str]
    recognizer: str = field(default="", kw_only=True)


@dataclass(frozen=True)
class Text(Part):
    """A paragraph. What stands between double backticks is set as code.

    Attributes:
        text: The paragraph.
        style: ``""``, ``muted``, or ``note`` for a warning.
    """

    kind = "text"
    text: str
    style: str = ""


@dataclass(frozen=True)
class Code(Part):
    """Text to copy, as it stands."""

    kind = "code"
    text: str


@dataclass(frozen=True)
class Heading(Part):
    """A heading within a section."""

    kind = "heading"
    text: str


@dataclass(frozen=True)
class Facts(Part):
    """A few large numbers with what each counts."""

    kind = "facts"
    facts: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Finding:
    """What was found, in a sentence.

    Attributes:
        text: The sentence.
        section: Name of the section that shows its figures.
        verdict: ``supported``, ``not supported`` or ``inconclusive (n = ...)``; empty for a measurement without claim.
        n: Number of people.
        control: What it was compared with, such as the margin over the strongest control; empty for a measurement
            without a claim.
        counts: On how many recognizers it is supported; empty for one recognizer.
    """

    text: str
    section: str
    verdict: str
    n: int
    control: str = ""
    counts: str = ""

    @property
    def style(self) -> str:
        """The class of the verdict, such as ``not-supported``."""
        return verdict_style(self.verdict)

    @property
    def details(self) -> list[str]:
        """What the verdict rests on."""
        n = f"n = {self.n}"
        return [one for one in ("" if n in self.verdict else n, self.counts, self.control) if one]


@dataclass(frozen=True)
class Findings(Part):
    """What was found, and what could not be said.

    Attributes:
        said: What was found, the most important first.
        unsaid: What could not be said, and why: a sentence each.
    """

    kind = "findings"
    said: Sequence[Finding]
    unsaid: Sequence[str] = ()


@dataclass(frozen=True)
class Drawing(Part):
    """A chart.

    Attributes:
        chart: What is drawn.
        alt: What it shows, for readers who cannot see it.
    """

    kind = "drawing"
    chart: Chart
    alt: str

    @property
    def note(self) -> str:
        """What is said below a chart of fewer than ten people; empty for more."""
        fewest = fewest_people(self.chart)
        if fewest is None or fewest >= FEWEST:
            return ""
        return f"Faint or dotted: fewer than {FEWEST} people (n = {fewest}), too few to conclude anything."


@dataclass(frozen=True)
class Picture:
    """A photograph or map.

    Attributes:
        jpeg: The JPEG file.
        alt: What it shows, for readers who cannot see it.
        caption: What stands below it.
        recognizer: As for :class:`Part`.
    """

    jpeg: bytes
    alt: str
    caption: str = ""
    recognizer: str = ""


@dataclass(frozen=True)
class Cards(Part):
    """Pictures in a grid.

    Attributes:
        pictures: Row by row.
        size: Least width of a picture: ``large``, ``medium``, ``layers`` or ``small``.
    """

    kind = "cards"
    pictures: Sequence[Picture]
    size: str = "large"


@dataclass(frozen=True)
class ColourBar(Part):
    """The scale that maps share.

    Attributes:
        colours: From low to high values, as hexadecimal codes.
        highest: The value at the end.
        unit: What the values are.
    """

    kind = "colour_bar"
    colours: Sequence[str]
    highest: str
    unit: str


@dataclass(frozen=True)
class Cell:
    """A cell of a table with a style: a class of the page, such as ``supported``."""

    text: str
    style: str


@dataclass(frozen=True)
class Table(Part):
    """A table.

    Attributes:
        header: The names of the columns; empty for a table whose first column names its rows. A reader can filter the
            page by the column ``recognizer``.
        rows: One cell per column.
        folded: What is clicked to see the table; empty for a table that is shown at once unless it is long.
    """

    kind = "table"
    header: Sequence[str]
    rows: Sequence[Sequence[str | Cell]]
    folded: str = "Numbers"

    @property
    def summary(self) -> str:
        """What is clicked to see the table; empty if it is shown at once."""
        return self.folded or (f"{len(self.rows)} rows" if len(self.rows) > _MOST_ROWS else "")

    @property
    def of_rows(self) -> list[str]:
        """The recognizer of each row; empty if there is no such column."""
        if "recognizer" not in self.header:
            return []
        column = list(self.header).index("recognizer")
        return [_text(row[column]) for row in self.rows]

    @property
    def numeric(self) -> set[int]:
        """The columns of figures. A cell with a style is none."""
        return {
            place
            for place, cells in enumerate(zip(*self.rows, strict=False))
            if any(cell != MISSING for cell in cells)
            and all(
                cell == MISSING or (isinstance(cell, str) and _FIGURE.fullmatch(cell))
                for cell in cells
            )
        }


@dataclass(frozen=True)
class Fold(Part):
    """Parts that are shown after a click.

    Attributes:
        title: What is clicked.
        parts: What is shown.
        unfolded: Shown without a click.
    """

    kind = "fold"
    title: str
    parts: Sequence[Part]
    unfolded: bool = False


def every(parts: Iterable[Part]) -> Iterator[Part]:
    """Parts, and what is folded into them."""
    for part in parts:
        yield part
        if isinstance(part, Fold):
            yield from every(part.parts)


def _text(cell: str | Cell) -> str:
    return cell if isinstance(cell, str) else cell.text


def number(found: Estimate, digits: int = 3, scale: float = 1) -> str:
    """A mean with its interval: ``0.512 [0.498, 0.526]``."""
    if found.mean is None or found.low is None or found.high is None:
        return MISSING
    mean, low, high = (f"{scale * end:.{digits}f}" for end in (found.mean, found.low, found.high))
    return f"{mean} [{low}, {high}]"


def percent(found: Estimate) -> str:
    """A part of one, in percent with its interval."""
    return number(found, 1, 100)


def plain(value: float | None, digits: int) -> str:
    """A figure without an interval."""
    return MISSING if value is None else f"{value:.{digits}f}"


def noun_for(count: int, one: str, many: str = "") -> str:
    """The noun of a count: ``face`` for 1, ``faces`` for 2; ``many`` if the plural does not end in s."""
    return one if count == 1 else many or f"{one}s"


def plural(count: int, one: str, many: str = "") -> str:
    """A count with its noun: ``1 face``, ``2 faces``."""
    return f"{count} {noun_for(count, one, many)}"


def verdict_style(verdict: str) -> str:
    """The class of a verdict, such as ``not-supported``; of ``inconclusive (n = ...)`` it is ``inconclusive``."""
    return verdict.partition(" (")[0].replace(" ", "-")


def listed(words: Iterable[str]) -> str:
    """Words as an enumeration: ``a, b and c``."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last

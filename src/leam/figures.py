"""Figures that are made of pictures: their layout in inches, and files with text as text."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from leam.errors import InputError, did_you_mean, printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patheffects import AbstractPathEffect
    from numpy import uint8
    from numpy.typing import NDArray

    Pixels = NDArray[uint8]

Colour = tuple[float, float, float]
"""RGB in [0, 1]."""

INK: Final = "#1d2733"
"""The colour of text."""
MUTED: Final = "#67727e"
"""The colour of secondary text and lines."""
FORMATS: Final = ("png", "svg", "pdf")
"""The file types of a figure."""

WIDTH: Final = 7.2
"""Width of a figure in inches: both columns of a paper."""
MARGIN: Final = 0.1
"""Space at each edge of a figure in inches."""
GAP: Final = 0.08
"""Space between two pictures in inches."""
SMALL: Final = 7.0
"""Size of text in points."""
TINY: Final = 5.5
"""Size of the smallest text in points."""
SCREEN: Final = 100
"""Pixels per inch of figures in notebooks."""

_TITLE = 9.5
_POINTS = 72
# Inches between two rows of a legend.
_ROW = 0.16
_DPI = 200
# Without dates and versions, the same figure has the same bytes. Types that can hold text hold it as text.
_METADATA: dict[str, dict[str, str | None]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
# Names come from users: dollar signs are no formulas.
_LITERALLY: dict[str, Any] = {"parse_math": False}
_AS_TEXT: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "leam", "pdf.fonttype": 42}


def check_formats(formats: Iterable[str]) -> tuple[str, ...]:
    """The file types of figures, each once.

    Raises:
        InputError: There is none, or one that figures do not have.
    """
    chosen = tuple(dict.fromkeys(formats))
    for name in chosen or ("",):
        if name not in FORMATS:
            raise InputError(
                f"{name or 'no format'}: not a format of figures; {did_you_mean(name, FORMATS)}"
                f"available: {', '.join(FORMATS)}"
            )
    return chosen


def figure_bytes(figure: Figure, form: str = "png", dpi: int = _DPI) -> bytes:
    """A figure as a file of one of :data:`FORMATS`; pixels per inch matter to PNG only."""
    from matplotlib import rc_context  # noqa: PLC0415

    stream = io.BytesIO()
    with rc_context(_AS_TEXT), warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes.
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        figure.savefig(stream, format=form, dpi=dpi, metadata=_METADATA[form])
    return stream.getvalue()


def wrapped(name: str, width: int, lines: int = 2) -> str:
    """A name on a few lines of at most ``width`` characters, broken after dots, slashes and underscores.

    What does not fit is cut out in the middle.
    """
    most = width * lines
    if len(name) > most:
        kept = most - 1
        name = f"{name[: kept // 2]}…{name[len(name) - (kept - kept // 2) :]}"
    rows: list[str] = []
    while len(name) > width and len(rows) < lines - 1:
        cut = max(name.rfind(sign, 0, width) for sign in "._/- ") + 1
        # What is left must fit into the other rows.
        cut = cut if cut and len(name) - cut <= width * (lines - 1 - len(rows)) else width
        rows.append(name[:cut])
        name = name[cut:]
    return "\n".join([*rows, name])


def joined(parts: Sequence[str | None]) -> str:
    """The parts that there are, separated by dots."""
    return " · ".join(part for part in parts if part)


class Sheet:
    """A white figure that is laid out in inches from its upper left corner.

    Args:
        width: Its width.
        lines: The title, and lines below it; what is too long is cut out in the middle.
        below: Height of what is below them.

    Attributes:
        figure: The figure of matplotlib.
        top: Where what is below the lines begins.
    """

    def __init__(self, width: float, lines: Sequence[str], below: float) -> None:
        # Matplotlib is imported when the first figure is drawn.
        from matplotlib.figure import Figure  # noqa: PLC0415

        self.top = MARGIN + 0.2 + 0.15 * (len(lines) - 1)
        self.width, self.height = width, self.top + below + MARGIN
        self.figure = Figure(figsize=(self.width, self.height), dpi=_DPI, facecolor="white")
        for index, line in enumerate(lines):
            size, colour = (SMALL, MUTED) if index else (_TITLE, INK)
            down = 0.2 + 0.15 * (index - 1) if index else 0.0
            # A letter of the font is about 0.6 times as wide as its size.
            most = int((self.width - 2 * MARGIN) * _POINTS / (0.6 * size))
            self.text(MARGIN, MARGIN + down, wrapped(printable(line), most, 1), size, colour)

    def text(
        self, left: float, top: float, text: str, size: float = SMALL, colour: str = MUTED
    ) -> None:
        """A text by its upper left corner."""
        x, y = left / self.width, 1 - top / self.height
        self.figure.text(
            x, y, _printable(text), fontsize=size, color=colour, va="top", ha="left", **_LITERALLY
        )

    def picture(
        self,
        picture: Pixels,
        place: tuple[float, float, float, float],
        title: str = "",
        size: float = SMALL,
        colour: str = MUTED,
    ) -> Axes:
        """A picture with a title above it.

        Args:
            picture: RGB ``(h, w, 3)`` uint8.
            place: Left, top, width and height.
            title: The title.
            size: Its size in points.
            colour: Its colour.

        Returns:
            Axes whose coordinates are the picture's pixels.
        """
        axes = self._axes(place)
        axes.imshow(picture, interpolation="none", aspect="auto")
        axes.set_axis_off()
        axes.set_title(
            _printable(title), fontsize=size, color=colour, pad=2.5, linespacing=1.1, **_LITERALLY
        )
        return axes

    def bar(
        self, colours: Pixels, place: tuple[float, float, float], highest: float, unit: str
    ) -> None:
        """A colour bar.

        Args:
            colours: From 0 to the highest value, ``(1, n, 3)``.
            place: Left, top and width.
            highest: The value at the end; higher ones look the same.
            unit: What the values are.
        """
        axes = self._axes((*place, 0.09))
        axes.imshow(colours, aspect="auto", extent=(0, highest, 0, 1))
        axes.set_yticks([])
        axes.set_xticks([0, highest], ["0", f"≥ {highest:.3g}"], fontsize=TINY + 0.5, color=MUTED)
        axes.tick_params(length=1.5, width=0.5, color=MUTED, pad=1.5)
        first, last = axes.get_xticklabels()
        first.set_horizontalalignment("left")
        last.set_horizontalalignment("right")
        for edge in axes.spines.values():
            edge.set_visible(False)
        axes.set_xlabel(unit, fontsize=TINY + 0.5, color=MUTED, labelpad=-6)

    def legend(self, colours: Mapping[str, Colour], top: float) -> None:
        """The colours of the outlines of regions, by name."""
        if not colours:
            return
        self.text(MARGIN, top, "outlines:")
        for (left, row), (name, colour) in zip(
            _places(colours, self.width), colours.items(), strict=True
        ):
            self.line(left, top + row + 0.055, 0.16, colour)
            self.text(left + 0.21, top + row, name, colour=INK)

    def line(self, left: float, top: float, length: float, colour: Colour) -> None:
        """A short horizontal line, the sample of an outline."""
        from matplotlib.lines import Line2D  # noqa: PLC0415

        x = [left / self.width, (left + length) / self.width]
        y = 2 * [1 - top / self.height]
        self.figure.add_artist(Line2D(x, y, color=colour, linewidth=2, path_effects=halo()))

    def _axes(self, place: tuple[float, float, float, float]) -> Axes:
        left, top, width, height = place
        return self.figure.add_axes(
            (
                left / self.width,
                1 - (top + height) / self.height,
                width / self.width,
                height / self.height,
            )
        )


def legend_height(names: Iterable[str], width: float) -> float:
    """The height of a legend in a figure of some width, in inches."""
    places = _places(names, width)
    return places[-1][1] + 0.2 if places else 0.0


def halo() -> list[AbstractPathEffect]:
    """A dark edge, so that bright lines and letters are seen on bright faces."""
    from matplotlib.patheffects import withStroke  # noqa: PLC0415

    return [withStroke(linewidth=2, foreground="#000000a0")]


def _printable(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))


def _places(names: Iterable[str], width: float) -> list[tuple[float, float]]:
    """Where each entry of a legend begins, and how far its row is below the first one."""
    places = []
    first = left = MARGIN + 0.6
    row = 0.0
    for name in names:
        wide = 0.36 + 0.058 * len(name)
        if left + wide > width - MARGIN and left > first:
            left, row = first, row + _ROW
        places.append((left, row))
        left += wide
    return places

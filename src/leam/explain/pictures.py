"""Pictures of explanations: maps, critical masks and regions drawn on faces, as RGB arrays and PNG files."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from leam.faces.reading import Picture
from leam.parsers.regions import LABELS, REGIONS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Map = NDArray[np.floating]

INK = "#1d2733"
MUTED = "#67727e"
HEAT = "inferno"
PAIR = {"alike": (HEAT, (255, 196, 61)), "different": ("GnBu_r", (92, 200, 255))}
"""Colour map, and colour of outlines, of what makes two faces alike (warm) and of what makes them different (cold)."""

# The brightest part of a map's pixels is drawn at full brightness, so that a single peak does not darken the rest.
_CLIPPED = 0.005
_INSIDE = 128
_REGION_COLOUR = {
    label.region: tuple(channel / 255 for channel in label.colour) for label in LABELS
}
# Faces are enlarged to about this many pixels.
_PANEL_SIDE = 450
_STRIP_COLUMNS = 9
_MAX_TITLE = 22


def explanation_panels(
    face: Picture, overall: Map, critical: NDArray[np.bool_], regions: NDArray[np.uint8]
) -> Picture:
    """A face, its overall map and its critical mask side by side, the last two with the outlines of the regions.

    Args:
        face: The aligned face, ``(h, w, 3)``.
        overall: Its overall map, ``(h, w)``.
        critical: Its critical mask, ``(h, w)``.
        regions: Positions in ``REGIONS``, ``(h, w)``.
    """
    factor = max(1, round(_PANEL_SIDE / face.shape[0]))
    panels = [
        enlarge(face, factor),
        outline_regions(enlarge(overlay(face, overall), factor), regions, factor),
        outline_regions(enlarge(spotlight(face, critical), factor), regions, factor),
    ]
    gap = np.full((panels[0].shape[0], 8, 3), 255, dtype=np.uint8)
    return np.hstack([panels[0], gap, panels[1], gap, panels[2]])


def pair_figure(
    faces: tuple[Picture, Picture],
    maps: Mapping[str, tuple[Map, NDArray[np.bool_]]],
    regions: NDArray[np.uint8],
    verdict: str,
) -> Figure:
    """A face and the one that it is compared with, and what makes them alike and different, on the first face.

    Args:
        faces: The explained face and the other one, ``(h, w, 3)`` each.
        maps: Map and critical mask, ``(h, w)`` each, of what makes them ``alike`` and, if known, ``different``.
        regions: Positions in ``REGIONS`` on the first face, ``(h, w)``.
        verdict: The title.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415

    factor = max(1, round(_PANEL_SIDE / faces[0].shape[0]))
    figure = Figure(figsize=(9, 6.6), layout="constrained")
    figure.suptitle(verdict, fontsize=12, color=INK)
    axes = figure.subplots(2, 3)
    for axis in axes.ravel():
        axis.axis("off")
    for axis, picture, title in zip(
        axes[:, 0], faces, ("the explained face", "compared with"), strict=True
    ):
        axis.imshow(enlarge(picture, factor))
        axis.set_title(title, fontsize=9, color=MUTED)
    for row, (kind, (values, critical)) in zip(axes, maps.items(), strict=False):
        colours, marked = PAIR[kind]
        drawn = {
            f"what makes them {kind}": overlay(faces[0], values, colours),
            f"{kind}: the critical pixels": spotlight(faces[0], critical, marked),
        }
        for axis, (title, picture) in zip(row[1:], drawn.items(), strict=True):
            axis.imshow(outline_regions(enlarge(picture, factor), regions, factor))
            axis.set_title(title, fontsize=9, color=MUTED)
    if "different" not in maps:
        text = "this method does not tell\nwhat makes them different"
        axes[1, 1].text(0.5, 0.5, text, ha="center", va="center", fontsize=9, color=MUTED)
    return figure


def layer_strip(face: Picture, titles: Sequence[str], maps: Sequence[Map], overall: Map) -> Figure:
    """Every layer's map on the face, from the first layer to the last, followed by the overall map.

    Args:
        face: The aligned face, ``(h, w, 3)``.
        titles: The titles of the layer maps; the first line is shortened to fit.
        maps: The layer maps at the face's size, ``(h, w)`` each.
        overall: The overall map, ``(h, w)``.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415

    shown = [*zip(map(_shortened, titles), maps, strict=True), ("overall", overall)]
    rows, columns = -(-len(shown) // _STRIP_COLUMNS), min(_STRIP_COLUMNS, len(shown))
    figure = Figure(figsize=(1.35 * columns, 1.68 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.axis("off")
    for axis, (title, values) in zip(axes, shown, strict=False):
        axis.imshow(overlay(face, values))
        axis.set_title(title, fontsize=6, color=INK if title == "overall" else MUTED)
    return figure


def overlay(
    face: Picture, values: Map, colours: str = HEAT, highest: float | None = None
) -> Picture:
    """A map ``(h, w)`` over a greyed face ``(h, w, 3)``; higher values hide more of the face.

    Args:
        face: The face.
        values: The map.
        colours: Name of a colour map of matplotlib.
        highest: The value at the end of the colours, for maps that are compared; see :func:`bright_end`.
    """
    grey = cv2.cvtColor(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB) * 0.75
    strength = brightness(values, highest)[:, :, None] ** 0.6 * 0.9
    painted = heat(values, colours, highest)
    return np.round(grey * (1 - strength) + painted * strength).astype(np.uint8)


def heat(values: Map, colours: str = HEAT, highest: float | None = None) -> Picture:
    """A map ``(h, w)`` as colours ``(h, w, 3)`` uint8, dark for low values; the name is that of a map of matplotlib."""
    from matplotlib import colormaps  # noqa: PLC0415

    painted = colormaps[colours](brightness(values, highest))[:, :, :3]
    return np.round(painted * 255).astype(np.uint8)


def brightness(values: Map, highest: float | None = None) -> NDArray[np.float64]:
    """A map scaled to [0, 1] with 1 at ``highest``, by default at its :func:`bright_end`."""
    top = bright_end(values) if highest is None else highest
    return np.clip(np.asarray(values, dtype=np.float64) / top, 0, 1)


def bright_end(values: Map) -> float:
    """The value that is drawn at full brightness, with all above it: the brightest 0.5 % of a map."""
    return float(np.quantile(values, 1 - _CLIPPED) or values.max() or 1.0)


def spotlight(
    face: Picture, mask: NDArray[np.bool_], colour: tuple[int, int, int] = (255, 196, 61)
) -> Picture:
    """A dimmed face ``(h, w, 3)`` with the pixels of a mask ``(h, w)`` highlighted."""
    dimmed = cv2.cvtColor(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB) * 0.45
    highlighted = np.array(colour) * 0.75 + face * 0.25
    return np.round(np.where(mask[:, :, None], highlighted, dimmed)).astype(np.uint8)


def enlarge(picture: Picture, factor: int) -> Picture:
    """A picture ``(h, w, 3)`` enlarged by an integer factor with cubic interpolation."""
    size = (picture.shape[1] * factor, picture.shape[0] * factor)
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def outline_regions(picture: Picture, regions: NDArray[np.uint8], factor: int) -> Picture:
    """Draw the borders of regions ``(h, w)`` on a picture that was enlarged by ``factor``."""
    drawn = picture.copy()
    for index, region in enumerate(REGIONS):
        if region == "background" or not (regions == index).any():
            continue
        member = cv2.resize(
            (regions == index).astype(np.uint8) * 255,
            drawn.shape[1::-1],
            interpolation=cv2.INTER_LINEAR,
        )
        contours, _ = cv2.findContours(
            (member >= _INSIDE).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE
        )
        colour = tuple(round(channel * 255) for channel in region_colour(region))
        cv2.drawContours(drawn, contours, -1, colour, max(1, factor // 3), lineType=cv2.LINE_AA)
    return drawn


def region_colour(region: str) -> tuple[float, float, float]:
    """A region's colour, RGB in [0, 1]."""
    red, green, blue = _REGION_COLOUR[region]
    return red, green, blue


def png(picture: Picture) -> bytes:
    """A picture ``(h, w, 3)`` as a PNG file."""
    return bytes(cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1])


def figure_png(figure: Figure, dpi: int = 110) -> bytes:
    """A figure as a PNG file without dates, so that the same figure gives the same bytes."""
    stream = io.BytesIO()
    show_text_literally(figure)
    figure.savefig(stream, format="png", dpi=dpi, metadata={"Software": None}, facecolor="white")
    return stream.getvalue()


def show_text_literally(figure: Figure) -> None:
    """Draw dollar signs in a figure's text as they are: names come from users and contain no formulas."""
    from matplotlib.text import Text  # noqa: PLC0415

    for text in figure.findobj(Text):
        text.set_parse_math(False)


def _shortened(title: str) -> str:
    """A title whose first line is cut in the middle if it is too long."""
    first, *rest = title.split("\n")
    if len(first) > _MAX_TITLE:
        first = f"{first[:9]}…{first[-12:]}"
    return "\n".join([first, *rest])

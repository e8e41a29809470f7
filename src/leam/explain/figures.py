"""Figures of explanations with titles, scales and legends: a face and its map, its layers, a pair, a batch.

All maps of a figure have one unit: the map divided by its mean, so that 1 is the value of every pixel of an even map.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from leam.explain.pictures import HEAT, PAIR, Map, bright_end, enlarge, overlay, spotlight
from leam.faces.reading import Picture
from leam.figures import (
    GAP,
    INK,
    MARGIN,
    MUTED,
    TINY,
    WIDTH,
    Sheet,
    halo,
    legend_height,
    wrapped,
)
from leam.parsers.drawing import region_colour, region_contours

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Mask = NDArray[np.bool_]
Contours = Mapping[str, Sequence[NDArray[np.float64]]]

UNIT = "times the mean of the map"
# Pixels per inch that faces are enlarged to.
_SHARP = 210
_COLUMNS, _PAIR_COLUMNS = 7, 5
_WIDEST = 1.35
_ONE_LINE = 0.2
_BAR = 0.42


@dataclass(frozen=True)
class Side:
    """A face of a pair.

    Attributes:
        name: Its name.
        face: The aligned face, ``(h, w, 3)``.
        regions: Positions in ``REGIONS``, ``(h, w)``; None for a face without maps.
        maps: Map and critical mask, ``(h, w)`` each, of what makes the faces ``alike`` and, if known, ``different``.
    """

    name: str
    face: Picture
    regions: NDArray[np.uint8] | None = None
    maps: Mapping[str, tuple[Map, Mask]] = field(default_factory=dict)


@dataclass(frozen=True)
class LayerPanel:
    """A layer's map at the face's size.

    Attributes:
        name: The layer's name.
        detail: What stands below the name.
        values: The map, ``(h, w)``.
    """

    name: str
    detail: str
    values: Map


def explanation_figure(
    face: Picture,
    overall: Map,
    critical: Mask,
    regions: NDArray[np.uint8],
    lines: Sequence[str],
    titles: tuple[str, str, str] = ("aligned face", "overall map", "critical pixels"),
) -> Figure:
    """A face, its overall map and its critical mask side by side.

    Args:
        face: The aligned face, ``(h, w, 3)``.
        overall: Its overall map, ``(h, w)``.
        critical: Its critical mask, ``(h, w)``.
        regions: Positions in ``REGIONS``, ``(h, w)``.
        lines: The title, and lines below it.
        titles: Of the three panels.
    """
    side, tall = _panel(face, WIDTH, 3)
    contours = region_contours(regions)
    sheet = Sheet(WIDTH, lines, _ONE_LINE + tall + _BAR + legend_height(contours, WIDTH))
    top = sheet.top + _ONE_LINE
    lefts = [MARGIN + column * (side + GAP) for column in range(3)]
    pictures = (face, overlay(face, overall), spotlight(face, critical))
    for left, picture, title in zip(lefts, pictures, titles, strict=True):
        axes = sheet.picture(_large(picture, tall), (left, top, side, tall), title)
        if picture is not face:
            _outline(axes, contours, face)
    below = top + tall + 0.07
    _bar(sheet, (lefts[1], below, side), bright_end(overall) * overall.size)
    count = int(critical.sum())
    sheet.text(lefts[2], below, f"{count} pixels, {100 * critical.mean():.2g} % of the picture")
    sheet.legend(_colours(contours), top + tall + _BAR)
    return sheet.figure


def pair_figure(sides: tuple[Side, Side], lines: Sequence[str]) -> Figure:
    """Two faces, one above the other, and what makes them alike and different on each of them.

    Args:
        sides: The two faces; one without maps is shown alone.
        lines: The title, and lines below it.
    """
    side, tall = _panel(sides[0].face, WIDTH, _PAIR_COLUMNS)
    row = tall + 0.34
    outlines = [{} if one.regions is None else region_contours(one.regions) for one in sides]
    shown = _colours(outlines[0] | outlines[1])
    sheet = Sheet(WIDTH, lines, 2 * row + _BAR + legend_height(shown, WIDTH))
    below = sheet.top + 2 * row + 0.07
    for number, one in enumerate(sides):
        place = (MARGIN, sheet.top + 0.34 + number * row, side, tall)
        sheet.picture(_large(one.face, tall), place, wrapped(one.name, 24), TINY + 0.5)
    for pair, (kind, (colours, marked)) in enumerate(PAIR.items()):
        lefts = [MARGIN + (1 + 2 * pair + at) * (side + GAP) for at in range(2)]
        known = [one.maps[kind][0] for one in sides if kind in one.maps]
        highest = max(map(bright_end, known), default=1.0)
        for number, one in enumerate(sides):
            top = sheet.top + 0.34 + number * row
            if kind not in one.maps:
                sheet.text(lefts[0], top + tall / 2 - 0.1, _absent(one))
                continue
            values, critical = one.maps[kind]
            pictures = {
                f"what makes them {kind}": overlay(one.face, values, colours, highest),
                f"{kind}: critical pixels": spotlight(one.face, critical, marked),
            }
            for left, (title, picture) in zip(lefts, pictures.items(), strict=True):
                axes = sheet.picture(
                    _large(picture, tall), (left, top, side, tall), title, TINY + 0.5
                )
                _outline(axes, outlines[number], one.face)
        if known:
            _bar(sheet, (lefts[0], below, 2 * side + GAP), highest * known[0].size, colours)
    if all(one.maps for one in sides):
        sheet.text(MARGIN, below, "one scale for both faces", TINY + 0.5)
    sheet.legend(shown, sheet.top + 2 * row + _BAR)
    return sheet.figure


def layers_figure(
    face: Picture, layers: Sequence[LayerPanel], overall: Map, lines: Sequence[str]
) -> Figure:
    """Every layer's map on the face, from the first layer to the last, and the overall map; on one scale.

    Args:
        face: The aligned face, ``(h, w, 3)``.
        layers: The layer maps.
        overall: The overall map, ``(h, w)``.
        lines: The title, and lines below it.
    """
    panels = [*layers, LayerPanel("overall", "all layers", overall)]
    return _grid([(panel, face) for panel in panels], min(_COLUMNS, len(panels)), lines)


def batch_figure(
    maps: Sequence[LayerPanel],
    faces: Sequence[Picture] | None,
    columns: int,
    lines: Sequence[str],
) -> Figure:
    """Maps of several faces on one scale.

    Args:
        maps: The maps, row by row.
        faces: The face ``(h, w, 3)`` of each map; without them, maps are drawn on grey.
        columns: Number of columns.
        lines: The title, and lines below it.
    """
    grey = np.full((*maps[0].values.shape, 3), 150, dtype=np.uint8)
    shown = [grey] * len(maps) if faces is None else faces
    return _grid(list(zip(maps, shown, strict=True)), columns, lines)


def _grid(
    panels: Sequence[tuple[LayerPanel, Picture]], columns: int, lines: Sequence[str]
) -> Figure:
    """Maps in rows, on one scale that is stated below them."""
    _, face = panels[0]
    side, tall = _panel(face, WIDTH, columns)
    side, tall = (min(1, _WIDEST / side) * length for length in (side, tall))
    width = max(2 * MARGIN + columns * (side + GAP) - GAP, 0.6 * WIDTH)
    titles = [f"{wrapped(panel.name, round(side * 18))}\n{panel.detail}" for panel, _ in panels]
    above = 0.12 + 0.1 * max(title.count("\n") + 1 for title in titles)
    row = tall + above
    sheet = Sheet(width, lines, -(-len(panels) // columns) * row + _BAR)
    highest = bright_end(np.stack([panel.values for panel, _ in panels]))
    for index, (panel, shown) in enumerate(panels):
        down, across = divmod(index, columns)
        place = (
            *(MARGIN + across * (side + GAP), sheet.top + above + down * row),
            *(side, tall),
        )
        picture = overlay(shown, panel.values, highest=highest)
        colour = INK if panel.name == "overall" else MUTED
        sheet.picture(_large(picture, tall), place, titles[index], TINY, colour)
    below = sheet.height - MARGIN - _BAR + 0.1
    sheet.text(MARGIN, below, "one scale for all maps:")
    _bar(sheet, (MARGIN + 1.25, below + 0.01, 2.6), highest * face[:, :, 0].size)
    return sheet.figure


def _panel(face: Picture, width: float, columns: int) -> tuple[float, float]:
    """Width and height of a face in a figure with some columns, in inches."""
    side = (width - 2 * MARGIN - (columns - 1) * GAP) / columns
    return side, side * face.shape[0] / face.shape[1]


def _large(picture: Picture, height: float) -> Picture:
    """A picture at the resolution of print, for a height in inches."""
    return enlarge(picture, max(1, round(height * _SHARP / picture.shape[0])))


def _bar(
    sheet: Sheet, place: tuple[float, float, float], highest: float, colours: str = HEAT
) -> None:
    """The colours of maps on a grey face, and the values that they stand for."""
    grey = np.full((1, 256, 3), 128, dtype=np.uint8)
    strip = overlay(grey, np.linspace(0, 1, 256)[None], colours, 1.0)
    sheet.bar(strip, place, highest, UNIT)


def _outline(axes: Axes, contours: Contours, face: Picture) -> None:
    """Draw the borders of regions on an enlarged face, but not along the edges of the picture."""
    rows, columns = face.shape[:2]
    scale = np.ptp(axes.get_xlim()) / columns
    for region, lines in contours.items():
        for points in lines:
            inside = ((points > 0) & (points < [columns - 1, rows - 1])).all(axis=1, keepdims=True)
            x, y = np.where(inside, (points + 0.5) * scale - 0.5, np.nan).T
            axes.plot(x, y, color=region_colour(region), linewidth=0.9, path_effects=halo())


def _colours(contours: Contours) -> dict[str, tuple[float, float, float]]:
    return {region: region_colour(region) for region in contours}


def _absent(side: Side) -> str:
    """Why a face has no map of this kind."""
    if not side.maps:
        return "see this face's own explanation"
    return "this method does not tell\nwhat makes them different"

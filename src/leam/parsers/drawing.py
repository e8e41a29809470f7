"""Parsings as pictures: the smooth borders of regions, and regions tinted and named on the face."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from leam.faces.face import Face
from leam.faces.reading import Picture
from leam.figures import GAP, INK, MARGIN, SMALL, WIDTH, Sheet, joined
from leam.parsers.parsing import Parsing, region_table
from leam.parsers.regions import LABELS, REGIONS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Masks are enlarged by this factor, so that their borders have no steps.
_FINER = 4
_INSIDE = 0.5
_STRENGTH = 0.45
# Size of a name and of its dark edge, as parts of a picture's shorter side.
_NAME, _EDGE = 0.036, 0.007
# Smaller spots have no name.
_NAMED = 0.0005
# Distances in pixels that are taken as equal.
_EVEN = 0.5
# What is shown around a face's box, in its sides: left and right, above, below.
_AROUND = (0.45, 0.65, 0.45)
_SIDE = 700
_COLOURS = {label.region: label.colour for label in LABELS}


def region_colour(region: str) -> tuple[float, float, float]:
    """A region's colour, RGB in [0, 1]."""
    red, green, blue = _COLOURS[region]
    return red / 255, green / 255, blue / 255


def region_contours(regions: NDArray[np.uint8]) -> dict[str, list[NDArray[np.float64]]]:
    """The smooth borders of regions ``(h, w)``, without the background.

    Args:
        regions: Positions in ``REGIONS``.

    Returns:
        For each region that there is, closed lines ``(n, 2)``, x and y in pixels with the centre of the first pixel at
        (0, 0).
    """
    found = {}
    for region, member in _members(regions):
        inside = (_smooth(member, _FINER) >= _INSIDE).astype(np.uint8)
        contours, _ = cv2.findContours(inside, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        lines = [(contour[:, 0] + 0.5) / _FINER - 0.5 for contour in contours]
        found[region] = [np.vstack([line, line[:1]]) for line in lines]
    return found


def outlined(picture: Picture, regions: NDArray[np.uint8]) -> Picture:
    """Draw the borders of regions on a picture.

    Args:
        picture: ``(h * factor, w * factor, 3)``.
        regions: Positions in ``REGIONS``, ``(h, w)``.
    """
    drawn, factor = picture.copy(), picture.shape[0] / regions.shape[0]
    thin = max(1, round(picture.shape[0] / 250))
    for region, lines in region_contours(regions).items():
        points = [np.rint((line + 0.5) * factor - 0.5).astype(np.int32) for line in lines]
        for colour, width in (((20, 20, 20), 2 * thin), (_COLOURS[region], thin)):
            cv2.polylines(
                drawn, points, isClosed=True, color=colour, thickness=width, lineType=cv2.LINE_AA
            )
    return drawn


def labelled(picture: Picture, regions: NDArray[np.uint8]) -> Picture:
    """Tint the regions of a picture in their colours, with smooth borders, and write their names on them.

    Args:
        picture: ``(h * factor, w * factor, 3)``.
        regions: Positions in ``REGIONS``, ``(h, w)``.
    """
    size = picture.shape[1::-1]
    factor = max(1, round(picture.shape[0] / regions.shape[0]))
    grey = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    drawn = np.array(grey, dtype=np.float32)
    for region, member in _members(regions):
        part = cv2.resize(_smooth(member, factor), size)[:, :, None].clip(0, 1) * _STRENGTH
        drawn += part * (np.array(_COLOURS[region], dtype=np.float32) - drawn)
    return _named(outlined(np.rint(drawn).astype(np.uint8), regions), regions)


def parsing_figure(face: Face, whole: Parsing, parser: str) -> Figure:
    """The face and its surroundings beside its regions, and how large and certain these are.

    Args:
        face: The face.
        whole: The parsing of its whole picture.
        parser: The parser's name.
    """
    rows, columns = _around(face)
    picture = face.picture[rows, columns]
    part = Parsing(whole.labels[rows, columns], whole.confidence[rows, columns])
    height, width = picture.shape[:2]
    # Enlarged by a whole number, or made smaller.
    factor = max(1, round(_SIDE / height)) if height < _SIDE else _SIDE / height
    size = (round(width * factor), round(height * factor))
    large = cv2.resize(
        picture, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    )
    regions = part.regions
    if factor < 1:
        regions = np.asarray(cv2.resize(regions, size, interpolation=cv2.INTER_NEAREST), np.uint8)
    side = (WIDTH - 2 * MARGIN - 1.75) / 2
    tall = side * height / width
    shown = [row for row in region_table(part) if row.area and row.region != "background"]
    name = face.path.name if face.path else "face"
    lines = [joined([name, parser]), "regions of the face and its surroundings"]
    sheet = Sheet(WIDTH, lines, 0.2 + max(tall, 0.25 + 0.16 * len(shown)))
    top = sheet.top + 0.2
    sheet.picture(np.asarray(large, np.uint8), (MARGIN, top, side, tall), "picture")
    left = MARGIN + side + GAP
    sheet.picture(
        labelled(np.asarray(large, np.uint8), regions), (left, top, side, tall), "regions"
    )
    left += side + 0.12
    sheet.text(left, top - 0.02, "region")
    sheet.text(left + 0.72, top - 0.02, "area")
    sheet.text(left + 1.08, top - 0.02, "confidence")
    for at, row in enumerate(sorted(shown, key=lambda row: -row.area)):
        down = top + 0.16 * (at + 1)
        sheet.line(left, down + 0.055, 0.14, region_colour(row.region))
        sheet.text(left + 0.2, down, row.region, SMALL, INK)
        sheet.text(left + 0.72, down, f"{100 * row.area:.1f} %")
        sheet.text(left + 1.16, down, f"{row.confidence:.2f}")
    return sheet.figure


def _around(face: Face) -> tuple[slice, slice]:
    """The rows and columns of a face's picture that show the head."""
    left, top, right, bottom = face.box
    height, width = face.picture.shape[:2]
    wide, tall = right - left, bottom - top
    beside, above, below = _AROUND
    rows = round(max(0, top - above * tall)), round(min(height, bottom + below * tall))
    columns = round(max(0, left - beside * wide)), round(min(width, right + beside * wide))
    if rows[1] - rows[0] < 1 or columns[1] - columns[0] < 1:
        return slice(0, height), slice(0, width)
    return slice(*rows), slice(*columns)


def _named(picture: Picture, regions: NDArray[np.uint8]) -> Picture:
    """Write each region's name where it is widest, below a name that is there already."""
    image = Image.fromarray(picture)
    draw, side = ImageDraw.Draw(image), min(image.size)
    points = max(9, round(_NAME * side))
    font = ImageFont.load_default(points)
    taken: list[tuple[float, float, float, float]] = []
    scale = picture.shape[0] / regions.shape[0]
    for region, member in _members(regions):
        if member.mean() < _NAMED:
            continue
        row, column = _widest(member)
        wide = draw.textlength(region, font)
        x = float(np.clip((column + 0.5) * scale, wide / 2 + 2, image.width - wide / 2 - 2))
        y, high = (row + 0.5) * scale, 1.1 * points
        while any(
            abs(x - left) < (wide + other) / 2 and abs(y - top) < high
            for left, top, other, _ in taken
        ):
            y += high / 2
        taken.append((x, y, wide, high))
        edge = max(1, round(_EDGE * side))
        draw.text((x, y), region, "white", font, "mm", stroke_width=edge, stroke_fill=(15, 15, 20))
    return np.array(image)


def _widest(member: NDArray[np.float32]) -> tuple[int, int]:
    """Row and column of a mask's pixel that is farthest from its border; of several, one near its centre."""
    # Outside the picture is not part of the mask, so that names stay off the edges.
    inside = cv2.distanceTransform(np.pad(member, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    rows, columns = np.nonzero(inside >= inside.max() - _EVEN)
    away = np.hypot(rows - np.median(rows), columns - np.median(columns))
    nearest = int(away.argmin())
    return int(rows[nearest]), int(columns[nearest])


def _members(regions: NDArray[np.uint8]) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """The regions that there are, without the background, with their masks ``(h, w)`` of 0 and 1."""
    for index, region in enumerate(REGIONS):
        member = (regions == index).astype(np.float32)
        if region != "background" and member.any():
            yield region, member


def _smooth(member: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """A mask enlarged by a factor and blurred by most of a pixel."""
    size = (member.shape[1] * factor, member.shape[0] * factor)
    large = cv2.resize(member, size, interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.GaussianBlur(large, (0, 0), 0.7 * factor), dtype=np.float32)

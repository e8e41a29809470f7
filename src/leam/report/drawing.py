"""Maps, masks and regions drawn on faces, as RGB arrays."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

import cv2
import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.text import Text
from numpy.typing import NDArray

from leam.faces.reading import Picture
from leam.parsers.regions import LABELS, REGIONS

if TYPE_CHECKING:
    from collections.abc import Iterable

Map = NDArray[np.floating]

INK = "#1d2733"
MUTED = "#67727e"
ACCENT = "#c2410c"
SERIES = (
    "#c2410c",
    "#2563a8",
    "#6b8e23",
    "#7c4d9e",
    "#b7791f",
    "#0f766e",
    "#9f1239",
    "#475569",
    "#4d7c0f",
    "#a16207",
)
HEAT = "inferno"

# Part of a map's brightest pixels that are drawn as bright as can be, so that one peak does not darken the rest.
_CLIPPED = 0.005
_INSIDE = 128
_REGION_COLOUR = {
    label.region: tuple(channel / 255 for channel in label.colour) for label in LABELS
}


def region_colour(region: str) -> tuple[float, float, float]:
    """A region's colour, RGB in [0, 1]."""
    red, green, blue = _REGION_COLOUR[region]
    return red, green, blue


def heat(values: Map) -> Picture:
    """A map ``(h, w)`` as colours ``(h, w, 3)`` uint8, dark where it is low."""
    colours = mpl.colormaps[HEAT](brightness(values))[:, :, :3]
    return np.round(colours * 255).astype(np.uint8)


def brightness(values: Map) -> NDArray[np.float64]:
    """A map scaled to [0, 1], its few brightest pixels clipped."""
    top = np.quantile(values, 1 - _CLIPPED) or values.max() or 1.0
    return np.clip(np.asarray(values, dtype=np.float64) / top, 0, 1)


def overlay(face: Picture, values: Map) -> Picture:
    """A map ``(h, w)`` laid over a greyed face ``(h, w, 3)``: the stronger, the more of its colour."""
    grey = cv2.cvtColor(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB) * 0.75
    strength = brightness(values)[:, :, None] ** 0.6 * 0.9
    return np.round(grey * (1 - strength) + heat(values) * strength).astype(np.uint8)


def spotlight(face: Picture, mask: NDArray[np.bool_]) -> Picture:
    """A dimmed face ``(h, w, 3)`` on which only the pixels of a mask ``(h, w)`` shine."""
    dimmed = cv2.cvtColor(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB) * 0.45
    shining = np.array([255, 196, 61]) * 0.75 + face * 0.25
    return np.round(np.where(mask[:, :, None], shining, dimmed)).astype(np.uint8)


def enlarge(picture: Picture, factor: int) -> Picture:
    """A picture ``(h, w, 3)`` enlarged by a whole factor, smooth."""
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


def grid(pictures: Iterable[Picture], columns: int, gap: int = 4) -> Picture:
    """Pictures of one size laid out in rows on white, ``gap`` pixels apart."""
    cells = list(pictures)
    height, width = cells[0].shape[:2]
    rows = -(-len(cells) // columns)
    sheet = np.full(
        (rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, dtype=np.uint8
    )
    for index, cell in enumerate(cells):
        top, left = (index // columns) * (height + gap), (index % columns) * (width + gap)
        sheet[top : top + height, left : left + width] = cell
    return sheet


def png(picture: Picture) -> bytes:
    """A picture ``(h, w, 3)`` as a PNG file."""
    return bytes(cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1])


def jpeg(picture: Picture) -> bytes:
    """A picture ``(h, w, 3)`` as a JPEG file."""
    return bytes(
        cv2.imencode(
            ".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 88]
        )[1]
    )


def figure_png(figure: Figure, dpi: int = 110) -> bytes:
    """A figure as a PNG file, free of dates so that the same figure gives the same bytes."""
    stream = io.BytesIO()
    _take_literally(figure)
    figure.savefig(stream, format="png", dpi=dpi, metadata={"Software": None}, facecolor="white")
    return stream.getvalue()


def figure_svg(figure: Figure) -> str:
    """A figure as an SVG element, sharp at any size."""
    stream = io.StringIO()
    _take_literally(figure)
    with mpl.rc_context({"svg.hashsalt": "leam", "svg.fonttype": "path"}):
        figure.savefig(
            stream, format="svg", metadata={"Date": None, "Creator": None}, transparent=True
        )
    text = stream.getvalue()
    return text[text.index("<svg") :]


def _take_literally(figure: Figure) -> None:
    """Names come from users: two dollar signs in one are no formula."""
    for text in figure.findobj(Text):
        text.set_parse_math(False)


def data_uri(data: bytes, kind: str = "png") -> str:
    """A picture file as text that a page can hold."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"

"""Drawing for the report: colours of series, grids of faces, and pictures as parts of a page."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable

import cv2
import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from leam.explain.pictures import (
    HEAT,
    INK,
    MUTED,
    brightness,
    enlarge,
    figure_png,
    heat,
    outline_regions,
    overlay,
    png,
    region_colour,
    show_text_literally,
    spotlight,
)
from leam.faces.reading import Picture

__all__ = [
    "ACCENT",
    "HEAT",
    "INK",
    "MUTED",
    "SERIES",
    "brightness",
    "data_uri",
    "enlarge",
    "figure_png",
    "figure_svg",
    "grid",
    "heat",
    "jpeg",
    "outline_regions",
    "overlay",
    "png",
    "region_colour",
    "spotlight",
]

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


def jpeg(picture: Picture) -> bytes:
    """A picture ``(h, w, 3)`` as a JPEG file."""
    return bytes(
        cv2.imencode(
            ".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 88]
        )[1]
    )


def figure_svg(figure: Figure) -> str:
    """A figure as an SVG element."""
    stream = io.StringIO()
    show_text_literally(figure)
    with mpl.rc_context({"svg.hashsalt": "leam", "svg.fonttype": "path"}):
        figure.savefig(
            stream, format="svg", metadata={"Date": None, "Creator": None}, transparent=True
        )
    text = stream.getvalue()
    return text[text.index("<svg") :]


def data_uri(data: bytes, kind: str = "png") -> str:
    """A picture file as a data URI for a page."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"

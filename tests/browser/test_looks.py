"""How pages look: a small grey picture of a fixed page, compared with the one that is stored.

The structural similarity of such small pictures hardly depends on fonts and their smoothing, and words may change. It
shows that a page lost its style, its colour scheme, its navigation or a part, or that parts moved. On a phone, other
fonts break lines elsewhere, so that :mod:`test_page` measures there what is too wide. The stored pictures are made anew
by ``LEAM_PICTURES=write pytest tests/browser/test_looks.py``; look at them then.
"""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page
from skimage.metrics import structural_similarity

from browser.conftest import Visit
from leam.metrics.statistics import Estimate
from leam.report.charts import SERIES, Panel, Rows, Series
from leam.report.html import html_page
from leam.report.parts import Cards, Cell, Drawing, Facts, Fold, Picture, Table, Text, number
from leam.report.pictures import jpeg
from leam.report.section import Box

PICTURES = Path(__file__).parent / "pictures"
SIDE = 64
# Other fonts give 0.96 to 0.97; the faults below 0.05 to 0.71.
LEAST = 0.85

_FIGURES = [Estimate(mean, mean - 0.1, mean + 0.1, 40) for mean in (0.3, 0.5, 0.7)]
_REGIONS = ("nose", "eyes", "mouth")


@pytest.fixture(scope="module")
def page_file(tmp_path_factory) -> Path:
    ramp = np.linspace(0, 255, 64, dtype=np.uint8)
    picture = np.stack([np.tile(ramp, (64, 1))] * 3, axis=-1)
    series = [Series("alpha", _FIGURES, SERIES[0]), Series("beta", _FIGURES[::-1], SERIES[1])]
    rows = [
        ("alpha", number(one), number(one), number(one), Cell("supported", "supported"))
        for one in _FIGURES * 3
    ]
    first = [
        Text(
            "A paragraph of words that says what the figures below are, and how they were measured. "
            * 3
        ),
        Table(("recognizer", "first", "second", "third", "verdict"), rows, folded=""),
        Fold("More", [Text("Folded.")]),
    ]
    second = [
        Text("A note.", "note"),
        Drawing(Rows([Panel(_REGIONS, series, "share")]), "Shares of regions"),
        Cards([Picture(jpeg(picture), "a ramp", "ramp")] * 3),
    ]
    facts = Box("", [Facts([("60", "people"), ("176", "faces"), ("2", "recognizers")])])
    sections = [
        ("facts", [facts]),
        ("one", [Box("First", first)]),
        ("two", [Box("Second", second)]),
    ]
    path = tmp_path_factory.mktemp("looks") / "page.html"
    page = html_page(
        "page", "What recognizers rely on", "One sentence.", sections, ["alpha", "beta"]
    )
    path.write_text(page, encoding="utf-8")
    return path


def shot_of(page: Page) -> Image.Image:
    """The whole page with its chart drawn, in grey."""
    page.evaluate("scrollTo(0, 0)")
    return Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("L")


def similarity(one: Image.Image, other: Image.Image) -> float:
    """Structural similarity of both pages at one small size, lower for pages of different heights."""
    small = [np.asarray(page.resize((SIDE, SIDE), Image.Resampling.BOX)) for page in (one, other)]
    heights = sorted((one.height, other.height))
    return float(structural_similarity(*small, data_range=255)) * heights[0] / heights[1]


def opened(visit: Visit, page_file: Path, scheme: str = "light") -> Page:
    page = visit(page_file, color_scheme=scheme)
    page.locator(".chart").scroll_into_view_if_needed()
    page.locator(".chart.live").wait_for()
    return page


def stored(scheme: str) -> Image.Image:
    """The stored picture, at an eighth of the page's size."""
    found = Image.open(PICTURES / f"{scheme}.png")
    return found.resize((found.width * 8, found.height * 8))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_looks_as_it_did(visit: Visit, page_file: Path, scheme: str):
    found = shot_of(opened(visit, page_file, scheme))
    if os.environ.get("LEAM_PICTURES") == "write":
        small = found.resize((found.width // 8, found.height // 8), Image.Resampling.BOX)
        small.save(PICTURES / f"{scheme}.png", optimize=True)
    assert similarity(found, stored(scheme)) >= LEAST


@pytest.mark.parametrize(
    "fault",
    [
        "document.querySelector('style').remove()",
        "document.querySelector('nav').remove()",
        "document.querySelector('.facts').remove()",
        "document.querySelector('.view').remove()",
        "document.querySelector('table').remove()",
        "document.querySelector('.cards').remove()",
        "document.documentElement.dataset.theme = 'dark'",
        "document.querySelector('main').style.marginLeft = '80px'",
    ],
    ids=["style", "navigation", "facts", "chart", "table", "pictures", "colours", "place"],
)
def test_a_fault_is_seen(visit: Visit, page_file: Path, fault: str):
    page = opened(visit, page_file)
    page.evaluate(fault)
    assert similarity(shot_of(page), stored("light")) < LEAST


@pytest.mark.parametrize("font", ["DejaVu Sans", "Liberation Serif"])
def test_another_font_is_no_fault(visit: Visit, page_file: Path, font: str):
    page = opened(visit, page_file)
    page.add_style_tag(content=f"body {{ font-family: '{font}' !important; }}")
    assert similarity(shot_of(page), stored("light")) >= LEAST

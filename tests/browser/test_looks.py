"""How pages look: a small grey picture of a fixed page, compared with the one that is stored.

Structural similarity of pictures that are eight times smaller does not depend on fonts and their smoothing; words may
change. It shows that a page lost its style, its colour scheme, its navigation or a part, or that parts moved. The
stored pictures are made anew by ``LEAM_PICTURES=write pytest tests/browser/test_looks.py``; look at them then.
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

from browser.conftest import DESKTOP, PHONE, Visit
from leam.metrics.statistics import Estimate
from leam.report.charts import SERIES, Panel, Rows, Series
from leam.report.page import html_page
from leam.report.parts import Cards, Cell, Drawing, Facts, Fold, Picture, Table, Text, number
from leam.report.pictures import jpeg
from leam.report.section import Box

PICTURES = Path(__file__).parent / "pictures"
SMALLER = 8
# Another font gives 0.94; the faults below give 0.11 to 0.73.
LEAST = 0.8

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


def picture_of(page: Page) -> np.ndarray:
    """The page with its chart drawn, in grey, eight times smaller."""
    page.locator(".chart.live").wait_for()
    return shot_of(page)


def shot_of(page: Page) -> np.ndarray:
    page.evaluate("scrollTo(0, 0)")
    shot = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("L")
    small = shot.resize((shot.width // SMALLER, shot.height // SMALLER), Image.Resampling.BOX)
    return np.asarray(small)


def similarity(one: np.ndarray, other: np.ndarray) -> float:
    """Structural similarity of the part that both have; what one has alone counts as different."""
    height = min(len(one), len(other))
    found = structural_similarity(one[:height], other[:height], data_range=255)
    return float(found) * height / max(len(one), len(other))


@pytest.fixture(params=["desktop", "phone", "dark"])
def looked(request, visit: Visit, page_file: Path) -> tuple[Page, Path]:
    viewport = PHONE if request.param == "phone" else DESKTOP
    scheme = "dark" if request.param == "dark" else "light"
    page = visit(page_file, viewport=viewport, color_scheme=scheme)
    page.locator(".chart").scroll_into_view_if_needed()
    return page, PICTURES / f"{request.param}.png"


def test_a_page_looks_as_it_did(looked: tuple[Page, Path]):
    page, stored = looked
    found = picture_of(page)
    if os.environ.get("LEAM_PICTURES") == "write":
        stored.parent.mkdir(exist_ok=True)
        Image.fromarray(found).save(stored, optimize=True)
    assert similarity(found, np.asarray(Image.open(stored))) >= LEAST


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
    page = visit(page_file)
    page.locator(".chart").scroll_into_view_if_needed()
    before = picture_of(page)
    page.evaluate(fault)
    after = shot_of(page)
    assert similarity(before, after) < LEAST


def test_another_font_is_no_fault(visit: Visit, page_file: Path):
    page = visit(page_file)
    page.locator(".chart").scroll_into_view_if_needed()
    page.add_style_tag(content="body { font-family: 'DejaVu Sans', serif !important; }")
    found = picture_of(page)
    assert similarity(found, np.asarray(Image.open(PICTURES / "desktop.png"))) >= LEAST

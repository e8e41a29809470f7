"""The page of an explanation in a browser: on a screen and a phone, light and dark."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from axe_playwright_python.sync_playwright import Axe

from browser.conftest import DESKTOP, PHONE, Visit
from leam.explain.explainer import Explainer
from leam.explain.explanation import explain_faces, explain_pair
from leam.faces.detection import find_face
from leam.parsers import load_parser
from leam.report.explanation import explanation_page
from tiny import TinyNet, wrap


@pytest.fixture(scope="module")
def pages(portrait, detector, tmp_path_factory) -> dict[str, Path]:
    """The pages of a face and of a pair."""
    torch.manual_seed(0)
    explainer, parser = Explainer(wrap(TinyNet(32), 32, threshold=0.5)), load_parser()
    face = find_face(portrait, detector)
    other = find_face(np.ascontiguousarray(face.picture[:, ::-1]), detector)
    made = {
        "face": explain_faces([face], explainer, parser)[0],
        "pair": explain_pair(face, other, explainer, parser)[0],
    }
    folder, found = tmp_path_factory.mktemp("pages"), {}
    for name, explanation in made.items():
        found[name] = folder / f"{name}.html"
        found[name].write_text(explanation_page(explanation), encoding="utf-8")
    return found


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_and_nothing_is_wider_than_the_screen(
    visit: Visit, pages: dict[str, Path], scheme: str, viewport: dict[str, int]
):
    for path in pages.values():
        page = visit(path, color_scheme=scheme, viewport=viewport)
        root = "document.documentElement"
        assert page.evaluate(f"{root}.scrollWidth - {root}.clientWidth") == 0
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()


def test_a_link_leads_to_the_layers(visit: Visit, pages: dict[str, Path]):
    page = visit(pages["face"])
    page.get_by_role("link", name="Layers", exact=True).first.click()
    box = page.locator("section", has=page.get_by_role("heading", name="Layers"))
    assert box.evaluate("one => one.getBoundingClientRect().top < innerHeight")
    assert box.locator("img").count() == 2

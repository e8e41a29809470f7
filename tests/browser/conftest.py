"""A real browser, and pages to open in it. The tests skip where there is no Chromium."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from handmade import NAMES, make_plan, make_summary, only_built_in, write_finished
from leam.report.page import render_page
from leam.report.section import Context
from leam.study.run_data import RunData

DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}
HERE = Path(__file__).parent

Visit = Callable[..., Page]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests of one process share a browser and the rendered pages."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("browser"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if found is None:
        pytest.skip("Chromium not found")
    with sync_playwright() as playwright:
        # Containers of CI have no user namespaces for the sandbox; the pages are our own.
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    """The report of the study that is written by hand."""
    folder = tmp_path_factory.mktemp("browser")
    plan = make_plan(folder)
    run = write_finished(plan, folder / "run")
    working = plan.only(NAMES)
    with pytest.MonkeyPatch.context() as patch:
        only_built_in(patch)
        context = Context(working, make_summary(plan.settings), RunData(working, run))
        page = folder / "report.html"
        page.write_text(render_page(context), encoding="utf-8")
    return page


@pytest.fixture
def visit(browser) -> Iterator[Visit]:
    """Opens a page. At the end, nothing may have been reported or asked from a network."""
    contexts, reported = [], []

    def of(path: Path, anchor: str = "", **options: Any) -> Page:
        context = browser.new_context(
            **{"viewport": DESKTOP, "reduced_motion": "reduce", **options}
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda said: reported.append(said.text))
        page.on("pageerror", lambda error: reported.append(str(error)))
        page.on("dialog", lambda dialog: (reported.append(dialog.message), dialog.dismiss()))
        page.on(
            "request",
            lambda request: (
                request.url.startswith(("file:", "data:", "blob:")) or reported.append(request.url)
            ),
        )
        page.goto(path.as_uri() + anchor)
        return page

    yield of
    for context in contexts:
        context.close()
    assert reported == []

"""A finished run folder and its page, written by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from handmade import NAMES, make_plan, make_summary, only_built_in, write_finished
from handmade_people import write_people
from leam.report import html as html_module
from leam.report import page as page_module
from leam.report.section import Context
from leam.results.summary import Summary
from leam.study.plan import Plan
from leam.study.run_data import RunData
from leam.study.store import RunFolder
from reading import Box, read_page


def leave_out_charts(patch: pytest.MonkeyPatch) -> None:
    """Pages are quick to render where their charts are left empty."""
    patch.setattr(page_module, "write_figures", lambda *_: None)
    for name in ("_svg", "_spec"):
        patch.setattr(html_module, name, lambda *_: "")


@pytest.fixture
def _without_charts(monkeypatch) -> None:
    leave_out_charts(monkeypatch)


@pytest.fixture(autouse=True)
def _only_built_in(monkeypatch) -> None:
    only_built_in(monkeypatch)


@pytest.fixture(scope="session")
def plan(tmp_path_factory) -> Plan:
    return make_plan(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="session")
def write_run(plan) -> Callable[[Path], RunFolder]:
    """Writes a finished run folder."""

    def write(path: Path) -> RunFolder:
        folder = write_finished(plan, path)
        write_people(folder, plan, NAMES)
        folder.write_manifest()
        return folder

    return write


@pytest.fixture(scope="session")
def folder(write_run, tmp_path_factory) -> RunFolder:
    """A finished run folder. Tests read it and change nothing in it."""
    return write_run(tmp_path_factory.mktemp("report") / "run")


@pytest.fixture(scope="session")
def summary(plan) -> Summary:
    return make_summary(plan.settings)


@pytest.fixture(scope="session")
def context(plan, summary, folder) -> Context:
    working = plan.only(NAMES)
    return Context(working, summary, RunData(working, folder))


@pytest.fixture(scope="session")
def boxes(folder) -> dict[str, Box]:
    """The boxes of the rendered page, its charts left empty: they are tested by their marks."""
    with pytest.MonkeyPatch.context() as patch:
        leave_out_charts(patch)
        only_built_in(patch)
        return read_page(page_module.render_report(folder).read_text(encoding="utf-8"))

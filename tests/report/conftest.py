"""A finished run folder and its page, written by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from handmade import NAMES, PEOPLE, SIDE, detections, explained, grey_of, make_summary, margins
from leam.recognizers.card import Card
from leam.report import page as page_module
from leam.report.section import SECTIONS, Context
from leam.results.summary import Summary
from leam.study.plan import Plan, PlannedImage, PlannedModel, Settings
from leam.study.run_data import RunData
from leam.study.store import RunFolder
from reading import Box, read_page


def only_built_in(patch: pytest.MonkeyPatch) -> None:
    """Leave out the sections that other installed packages add."""
    list(SECTIONS)
    kept = {n: s for n, s in SECTIONS._things.items() if s.__module__.startswith("leam.report.")}
    patch.setattr(SECTIONS, "_things", kept)
    patch.setattr(SECTIONS, "_entry_points", {})


@pytest.fixture
def _without_charts(monkeypatch) -> None:
    """Pages are quick to render where their charts are left empty."""
    monkeypatch.setattr(page_module, "_svg", lambda _chart: "")


@pytest.fixture(autouse=True)
def _only_built_in(monkeypatch) -> None:
    only_built_in(monkeypatch)


@pytest.fixture(scope="session")
def plan(tmp_path_factory) -> Plan:
    """Thirteen people with two pictures each in two slices; each person's pictures have a grey of their own."""
    pictures = tmp_path_factory.mktemp("pictures")
    images = []
    for person in PEOPLE:
        for number in range(2):
            path = pictures / f"{person}{number}.png"
            cv2.imwrite(str(path), np.full((112, 112, 3), grey_of(person), dtype=np.uint8))
            images.append(
                PlannedImage(
                    image=f"{person}/{number}.png", person=person, path=str(path), sha256=None
                )
            )
    cards = [
        Card(
            name=name,
            input_size=(SIDE, SIDE),
            license=None if name == "beta" else f"licence of {name}",
            source="example.org" if name == "alpha" else None,
        )
        for name in (*NAMES, "delta")
    ]
    return Plan(
        versions={"leam": "1.2.3", "torch": "4.5"},
        plugins={"fill grey": "plug 0.1"},
        source="faces",
        settings=Settings(
            top=0.02,
            fill="mean",
            fills=("mean", "blur"),
            curve=(0.01, 0.05),
            second_parser="compact",
            subset=4,
            transfer=True,
            groups=("gender", "age"),
        ),
        models=tuple(
            PlannedModel(card=card, sha256=f"{place}" * 64) for place, card in enumerate(cards)
        ),
        images=tuple(images),
        people_per_slice=8,
    )


@pytest.fixture(scope="session")
def write_run(plan) -> Callable[[Path], RunFolder]:
    """Writes a finished run folder."""

    def write(path: Path) -> RunFolder:
        folder = RunFolder(path)
        folder.start(plan)
        for index, part in enumerate(plan.slices):
            folder.write_shard("detect", index, detections(len(part)))
            for place, name in enumerate(NAMES):
                folder.write_shard(f"explain/{name}", index, explained(part, place))
        for place, name in enumerate(NAMES):
            folder.write_table(f"specificity/{name}", [margins(place)])
        folder.write_text("summary.json", make_summary(plan.settings).to_json())
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
        patch.setattr(page_module, "_svg", lambda _chart: "")
        only_built_in(patch)
        return read_page(page_module.render_report(folder).read_text(encoding="utf-8"))

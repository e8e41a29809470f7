"""Run folders that somebody changed: resumed or reported, or refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hostile import FUZZ, damaged, endures, everything_in
from leam.report import render_report
from leam.study.plan import Plan
from leam.study.store import RunFolder
from small import study, write_faces

pytestmark = pytest.mark.slow

WILD = st.sampled_from(
    [None, True, 0, -1, 10**30, 1e308, "", "x" * 1000, "<b>", "$\\bad{$", "../../x", [], {}]
)


@st.composite
def changed(draw: st.DrawFn, text: str) -> bytes:
    """A JSON file in which values somewhere became others, or are gone."""
    data = json.loads(text)
    for _ in range(draw(st.integers(1, 3))):
        node = data
        while True:
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(node[key], dict | list) and draw(st.booleans()):
                node = node[key]
                continue
            if isinstance(node, dict) and draw(st.booleans()):
                del node[key]
            else:
                node[key] = draw(WILD)
            break
    return json.dumps(data).encode()


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A run folder to be changed, alone in its own folder."""
    faces, out = tmp_path_factory.mktemp("small"), tmp_path_factory.mktemp("hostile") / "run"
    write_faces(faces)
    study(faces, out)
    return out


def report(out: Path, name: str, content: bytes) -> None:
    """Report a run with one file changed, and put the file back."""
    before = (out / name).read_bytes()
    outside = {n: c for n, c in everything_in(out.parent).items() if n != "run/report.html"}
    (out / name).write_bytes(content)
    try:
        with endures():
            render_report(RunFolder(out))
    finally:
        (out / name).write_bytes(before)
    assert {n: c for n, c in everything_in(out.parent).items() if n != "run/report.html"} == outside


@FUZZ
@given(data=st.data())
def test_a_changed_plan(place, data):
    text = (place / "run.json").read_text()
    content = data.draw(changed(text) | damaged(text.encode()))
    (place / "run.json").write_bytes(content)
    try:
        with endures():
            plan = RunFolder(place).plan()
            assert isinstance(plan, Plan)
            assert plan.slices is not None
    finally:
        (place / "run.json").write_text(text)
    assert [entry.name for entry in place.parent.iterdir()] == ["run"]


@settings(FUZZ, max_examples=max(6, FUZZ.max_examples // 10))
@given(data=st.data())
def test_a_report_of_changed_files(place, data):
    """Each report takes a second: fewer examples."""
    names = sorted(
        str(path.relative_to(place))
        for path in place.rglob("*")
        if path.suffix in {".json", ".npz", ".parquet"}
    )
    name = data.draw(st.sampled_from(names))
    whole = (place / name).read_bytes()
    kinds = damaged(whole)
    if name.endswith(".json"):
        kinds = changed(whole.decode()) | kinds
    report(place, name, data.draw(kinds))

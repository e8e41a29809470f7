"""Run folders that somebody changed: resumed or reported, or refused in one line."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hostile import FUZZ, damaged, endures, everything_in
from leam.errors import InputError
from leam.report import page, render_report
from leam.results.shards import digest
from leam.study.plan import Plan
from leam.study.store import RunFolder
from small import study, write_faces

pytestmark = pytest.mark.slow

WILD = st.sampled_from(
    [
        None,
        True,
        0,
        -1,
        10**30,
        1e308,
        "",
        "x" * 1000,
        "<b>",
        "$\\bad{$",
        "../../x",
        [],
        {},
        [[]],
        "\x1b[2J",
    ]
)
DEEP = st.sampled_from(
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b"9" * 100_000,
        b"null",
        b"[]",
        b"1",
    ]
)
# Files of a run that LEAM reads again, though the study may not have written all of them.
OPTIONAL = ("lost.json", "kept.json", "devices.json", "written.json", "manifest.json")


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
                # A copy: the next change may be within it.
                node[key] = deepcopy(draw(WILD))
            break
    return json.dumps(data).encode()


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    write_faces(folder)
    return folder


@pytest.fixture(scope="module", autouse=True)
def _without_figures() -> Iterator[None]:
    """Figures are the charts of the page once more, and drawing them takes most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page, "write_figures", lambda *_: None)
        yield


@pytest.fixture(scope="module")
def place(tmp_path_factory, faces) -> Path:
    """A run folder to be changed, alone in its own folder."""
    out = tmp_path_factory.mktemp("hostile") / "run"
    study(faces, out)
    return out


def report(out: Path, name: str, content: bytes) -> None:
    """Report a run with one file changed, and put the files back."""
    before = everything_in(out)
    (out / name).write_bytes(content)
    try:
        with endures():
            render_report(RunFolder(out))
        after = everything_in(out)
        # The list of what was written has the hashes of the new pages.
        changed = {one for one in after if after[one] != before.get(one)}
        assert changed <= {name, "report.html", "people.html", "written.json"}
    finally:
        restored(out, before)
    assert [entry.name for entry in out.parent.iterdir()] == ["run"]


@st.composite
def other_arrays(draw: st.DrawFn, path: Path) -> bytes:
    """A shard whose hashes are right, but whose arrays are not those of its slice."""
    with np.load(path) as found:
        arrays = {name: found[name] for name in found.files}
    of = json.loads(str(arrays.pop("of")))
    kind = draw(st.sampled_from(["values", "shorter", "longer", "dtype", "axes", "fewer", "none"]))
    names = draw(st.sets(st.sampled_from(sorted(arrays)), min_size=1)) if arrays else set()
    number = draw(st.sampled_from([0, -1, 10**6]))
    for name in names:
        array = arrays[name]
        if kind == "values":
            arrays[name] = np.full_like(array, "x" if array.dtype.kind == "U" else number % 2**7)
            if array.dtype.kind == "f":
                arrays[name][...] = np.nan
        elif kind == "dtype":
            arrays[name] = np.zeros(array.shape, np.complex64)
        elif kind == "axes":
            arrays[name] = array[None]
        elif kind == "fewer":
            del arrays[name]
    if kind in {"shorter", "longer"}:
        # Of all arrays alike, so that they fit each other.
        arrays = {
            name: array[:-1] if kind == "shorter" else np.concatenate([array, array[-1:]])
            for name, array in arrays.items()
            if array.ndim
        }
    if kind == "none":
        arrays = {}
    of["sha256"] = {name: digest(array) for name, array in arrays.items()}
    stream = io.BytesIO()
    np.savez(stream, of=np.array(json.dumps(of)), **arrays)
    return stream.getvalue()


@FUZZ
@given(data=st.data())
def test_a_changed_plan(place, data):
    text = (place / "run.json").read_text()
    content = data.draw(changed(text) | damaged(text.encode()) | DEEP)
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
        kinds = changed(whole.decode()) | kinds | DEEP
    if name.endswith(".npz"):
        kinds = other_arrays(place / name) | kinds
    report(place, name, data.draw(kinds))


def restored(out: Path, files: dict[str, bytes]) -> None:
    """Put all files of a run back as they were."""
    for name in everything_in(out).keys() - files.keys():
        (out / name).unlink()
    for name, content in files.items():
        if not (out / name).exists() or (out / name).read_bytes() != content:
            (out / name).write_bytes(content)


@settings(FUZZ, max_examples=max(6, FUZZ.max_examples // 20))
@given(data=st.data())
def test_a_study_with_changed_files_is_resumed(place, faces, data):
    """Each takes seconds: fewer examples."""
    before = everything_in(place)
    names = [name for name in before if name.endswith((".json", ".npz", ".parquet"))]
    name = data.draw(st.sampled_from([*names, *OPTIONAL]))
    whole = before.get(name, b"{}")
    kinds = damaged(whole)
    if name.endswith(".json"):
        kinds = changed(whole.decode()) | kinds | DEEP
    if name.endswith(".npz"):
        kinds = other_arrays(place / name) | kinds
    (place / name).write_bytes(data.draw(kinds))
    try:
        with endures():
            study(faces, place)
    finally:
        restored(place, before)


@pytest.mark.parametrize(
    "content", [b"[" * 100_000, b'{"a":' * 100_000, b"[]", b"null", b"3", b'{"a": 3}', b'{"0": {}}']
)
@pytest.mark.parametrize("name", ["run.json", "summary.json", *OPTIONAL])
def test_files_that_are_deep_or_of_other_types(place, faces, name, content):
    before = everything_in(place)
    (place / name).write_bytes(content)
    try:
        for act in (lambda: render_report(RunFolder(place)), lambda: study(faces, place)):
            with endures():
                act()
    finally:
        restored(place, before)


@pytest.mark.parametrize("name", ["run.json", "summary.json"])
def test_files_that_are_too_large_are_not_parsed(place, monkeypatch, name):
    before = (place / name).read_bytes()
    monkeypatch.setenv("LEAM_MEMORY_LIMIT", "3MB")
    (place / name).write_bytes(before + b" " * 1_000_000)
    try:
        with pytest.raises(InputError, match=f"{name}: needs more than 3 MB"):
            render_report(RunFolder(place))
    finally:
        (place / name).write_bytes(before)

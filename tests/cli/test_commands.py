"""The command line, run as a user runs it: in a process of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from leam.cli import main
from leam.demo import portraits
from leam.version import __version__

Result = subprocess.CompletedProcess[str]


def leam(*arguments: object, cwd: Path | None = None) -> Result:
    """Run the command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "leam", *map(str, arguments)],
        capture_output=True, text=True, timeout=300, cwd=cwd, check=False,
        env={**os.environ, "COLUMNS": "160", "NO_COLOR": "1"},
    )  # fmt: skip


@pytest.fixture
def quick(monkeypatch, capsys):
    """Run the command in this process, which spares the seconds that imports take."""

    def run(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["leam", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "160")
        monkeypatch.setenv("NO_COLOR", "1")
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code or 0
        written = capsys.readouterr()
        return subprocess.CompletedProcess(
            list(map(str, arguments)), code, written.out, written.err
        )

    return run


def complaint(result: Result) -> str:
    """The one line a user's mistake is answered with."""
    assert result.returncode == 1, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    return lines[0]


COMMANDS = [
    "explain",
    "parse",
    "study",
    "report",
    "demo",
    "models",
    "models layers",
    "models check",
]


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help(quick, command):
    result = quick(*command.split(), "--help")
    assert result.returncode == 0
    assert "Usage" in result.stdout
    if command:
        assert (
            f"leam {command}" in result.stdout.split("Usage", 1)[1].split("\n", 1)[1]
        )  # an example


def test_version_and_models(quick):
    assert leam("--version").stdout.strip() == __version__
    assert "dlib_resnet" in quick("models").stdout


def test_explain_writes_everything_and_it_agrees(tmp_path, portrait):
    out = tmp_path / "Zoë's face"
    result = leam("explain", portrait, "--out", out, "--top", 0.02)
    assert result.returncode == 0, result.stderr
    assert sorted(p.name for p in out.iterdir()) == [
        "explanation.json",
        "layers.png",
        "maps.npz",
        "overlay.png",
    ]
    record = json.loads((out / "explanation.json").read_text())
    with np.load(out / "maps.npz", allow_pickle=False) as maps:
        assert maps["critical"].sum() == record["critical_pixels"] == 450
        assert maps["overall"].sum() == pytest.approx(1, abs=1e-4)
        assert maps["overall"][maps["critical"]].min() >= maps["overall"][~maps["critical"]].max()
        assert (
            len([name for name in maps if name.startswith("layer/")]) == len(record["layers"]) == 27
        )
    assert record["model"] == "dlib_resnet"
    assert len(record["sha256"]) == 64
    assert sum(row["share"] for row in record["regions"].values()) == pytest.approx(1, abs=1e-5)
    with Image.open(out / "overlay.png") as picture:
        assert picture.width > 1000
    first = next(iter(record["regions"]))
    assert first in result.stdout


def test_explain_the_similarity_of_two_faces_on_both(quick, tmp_path):
    one, two = portraits().values()
    result = quick(
        "explain", one, "--with", two, "--out", tmp_path / "pair", "--layers", "blocks.1*,conv"
    )
    assert result.returncode == 0, result.stderr
    records = [
        json.loads((tmp_path / "pair" / p.stem / "explanation.json").read_text())
        for p in (one, two)
    ]
    assert records[0]["similarity"] == pytest.approx(records[1]["similarity"])
    assert records[0]["similarity"] < records[0]["threshold"]  # two people
    assert [record["target"] for record in records] == ["reference", "reference"]
    assert records[0]["layers"][-1]["name"] == "conv"


def test_one_bad_picture_does_not_stop_the_others(quick, tmp_path, portrait):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"x")
    result = quick("explain", bad, portrait, "--out", tmp_path / "out")
    assert "bad.jpg: not a picture" in complaint(result)
    assert (tmp_path / "out" / "astronaut" / "overlay.png").is_file()


def test_mistakes_of_explain(quick, tmp_path, portrait):
    grey = tmp_path / "grey.png"
    Image.new("RGB", (100, 100), "grey").save(grey)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    out = tmp_path / "out"
    for arguments, message in (
        ((grey, "--out", out), "grey.png: no face found"),
        ((tmp_path / "none.jpg", "--out", out), "none.jpg: no such file"),
        ((portrait, "--out", tmp_path / "full"), "exists and is not empty"),
        ((portrait, "--out", out, "--model", "nobody"), "nobody: no such recognizer"),
        ((portrait, "--out", out, "--layers", "conv9"), "layer conv9: no such layer"),
        ((portrait, "--out", out, "--layers", "fc"), "layer fc: has no spatial extent"),
        ((portrait, "--out", out, "--weighting", "best"), "best: no such weighting"),
        ((portrait, "--out", out, "--parser", "best"), "best: no such parser"),
        ((portrait, "--out", out, "--top", 0), "top fraction 0.0"),
        ((portrait, "--out", out, "--target", "reference"), "name the other picture with --with"),
    ):
        assert message in complaint(quick("explain", *arguments))


def test_parse_writes_labels_overlay_and_areas(tmp_path, portrait):
    bad = tmp_path / "bad.jpg"
    bad.write_text("no picture")
    folder = tmp_path / "parsed"
    result = leam("parse", portrait, bad, "--parser", "compact", "--out", folder)
    assert complaint(result).endswith("bad.jpg: not a picture that can be read")
    assert "nose" in result.stdout
    (inside,) = folder.iterdir()
    assert {path.name for path in inside.iterdir()} == {"areas.json", "labels.png", "overlay.png"}
    assert json.loads((inside / "areas.json").read_text())["parser"] == "compact"


def test_mistakes_of_parse(tmp_path, portrait):
    known = complaint(leam("parse", portrait, "--parser", "nobody", "--out", tmp_path / "new"))
    assert "nobody: no such parser; known are" in known
    full = complaint(leam("parse", portrait, "--out", tmp_path.parent))
    assert full.endswith("choose another --out, or add --force")


def test_study_and_report(quick, monkeypatch, tmp_path):
    one, two = portraits().values()
    for person, path in (("Ann B", one), ("Zoë", two)):
        (tmp_path / "faces" / person).mkdir(parents=True)
        for number in range(2):
            picture = Image.open(path).convert("RGB")
            picture.rotate(3 * number).save(tmp_path / "faces" / person / f"{number}.jpg")
    (tmp_path / "faces" / "Zoë" / "cut.jpg").write_bytes(
        (tmp_path / "faces" / "Zoë" / "0.jpg").read_bytes()[:2000]
    )
    run = tmp_path / "run"
    result = leam("study", "faces", "--out", "run", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "2 people, 4 faces, 1 pictures skipped" in result.stdout
    page = (run / "report.html").read_text()
    assert "cut.jpg" in page
    assert not re.search(r"(src|href)=.(?!data:|#)[^\s>]", page)  # nothing is fetched from anywhere
    (run / "report.html").unlink()
    monkeypatch.chdir(tmp_path)
    assert quick("report", run, "--no-faces").returncode == 0
    anonymous = (run / "report.html").read_text()
    assert "mean faces only" in anonymous
    assert "most specific" in page
    assert "most specific" not in anonymous
    assert "another top" in complaint(quick("study", "faces", "--out", "run", "--top", 0.05))


def test_a_long_study_in_one_process_tells_of_idle_cores(quick, monkeypatch, tmp_path):
    for person, path in portraits().items():
        (tmp_path / "faces" / person).mkdir(parents=True)
        for number in range(2):
            (tmp_path / "faces" / person / f"{number}{path.suffix}").write_bytes(path.read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    monkeypatch.setattr("leam.cli.study._LONG", 5)
    hint = "one of 3 cores is at work; --workers 3 takes all"
    assert hint not in quick("study", "faces", "--out", "run").stderr
    monkeypatch.setattr("leam.cli.study._LONG", 4)
    assert hint in quick("study", "faces", "--out", "run").stderr


def test_mistakes_of_study(quick, monkeypatch, tmp_path, portrait):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "mine.txt").write_text("mine")
    (tmp_path / "faces" / "Ann").mkdir(parents=True)
    (tmp_path / "faces" / "Ann" / "a.png").write_bytes(portrait.read_bytes())
    for arguments, message in (
        (("empty", "--out", "run"), "empty: no pictures found"),
        (("nowhere", "--out", "run"), "nowhere: no such folder or table"),
        (("faces", "--out", "foreign"), "foreign: exists and holds no study"),
        (("faces", "--out", "run"), "no person with two usable pictures"),
        (("faces", "--out", "run2", "--models", ","), "wanted is at least one"),
        (("faces", "--out", "run2", "--target", "reference"), "target:"),
        (("faces", "--out", "run2", "--preset", "all"), "--preset all: known are quick, paper"),
        (("faces", "--out", "run2", "--parser", "best"), "best: unknown; known are"),
        (("faces", "--out", "run2", "--group", "age"), "group age: no such column"),
        (("faces", "--out", "run2", "--people-table", "no.csv"), "no.csv: not a readable CSV"),
    ):
        assert message in complaint(quick("study", *arguments))
    assert "holds no study" in complaint(quick("report", tmp_path / "foreign"))


def test_damaged_run_folders_and_unwritable_ones(quick, monkeypatch, tmp_path, portrait):
    for person, path in portraits().items():
        (tmp_path / "faces" / person).mkdir(parents=True)
        for number in range(2):
            (tmp_path / "faces" / person / f"{number}{path.suffix}").write_bytes(path.read_bytes())
    monkeypatch.chdir(tmp_path)
    assert quick("study", "faces", "--out", "run").returncode == 0
    (tmp_path / "run" / "summary.json").write_text('{"a": 1}')
    assert "does not hold what the report shows" in complaint(quick("report", "run"))
    (tmp_path / "run" / "run.json").write_text("no plan")
    assert "not a plan of this version" in complaint(quick("report", "run"))
    (tmp_path / "file").write_text("in the way")
    assert "file" in complaint(quick("explain", portrait, "--out", "file/below"))


def test_demo(quick, tmp_path):
    result = quick("demo", "--out", tmp_path / "demo")
    assert result.returncode == 0, result.stderr
    assert "Two people prove nothing" in result.stdout
    assert (tmp_path / "demo" / "study" / "report.html").is_file()
    assert (tmp_path / "demo" / "explain" / "Grace Hopper" / "layers.png").is_file()
    assert quick("demo", "--out", tmp_path / "demo").returncode == 0  # again, over its own output

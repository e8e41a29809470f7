"""``leam compare``."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from compared import PEOPLE, make_run

CARDS = Path(__file__).resolve().parents[2] / "examples" / "cards"


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Two studies of the same people."""
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "a", names=("alpha", "beta"))
    make_run(tmp_path / "b", names=("alpha", "beta"), shift=0.1, seed=5, fill="mean")


def test_two_studies(leam, runs, tmp_path):
    result = leam("compare", "a", "b", "--out", "out")
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[:2] == [
        "first: a; second: b",
        "paired by person: 20 people are in both studies; differences are second minus first",
    ]
    assert any(
        line.split()[:2] == ["nose,", "%"] and line.rstrip().endswith("differs") for line in lines
    )
    assert any(
        line.startswith("not compared, settings differ: fill: black, mean: ") for line in lines
    )
    assert lines[-2:] == [
        "A difference is shown in 10 of 16 figures (Holm's correction).",
        "report: out/compare.html",
    ]
    assert "Two studies compared" in (tmp_path / "out" / "compare.html").read_text()
    record = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert (record["compare_version"], record["kind"]) == (1, "runs")
    # The folder is not overwritten unasked.
    assert "exists and is not empty" in leam("compare", "a", "b", "--out", "out").stderr
    again = leam("compare", "a", "b", "--out", "out", "--force", "--json", "--models", "beta")
    found = json.loads(again.stdout)
    assert found.pop("report") == "out/compare.html"
    assert found == json.loads((tmp_path / "out" / "compare.json").read_text())
    assert {one["recognizer"] for one in found["differences"]} == {"beta"}


def test_the_table_of_studies_fits_a_terminal(leam, runs, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    printed = leam("compare", "a", "b", "--out", "out").stdout
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", printed).splitlines()
    assert max(map(len, lines)) <= 80
    # Each row has one line.
    rows = [line for line in lines if line.rstrip().endswith(("differs", "no difference shown"))]
    assert len(rows) == 16


def test_mistakes_of_compare(leam, runs, complaint, monkeypatch, tmp_path, portrait):
    make_run(tmp_path / "other", PEOPLE, method="corrrise")
    for arguments, message in (
        (("a",), "a: expected the folders of two finished studies, or pictures"),
        (("a", "b", "other"), "a, b, other: expected the folders of two finished studies"),
        (("a", portrait), "expected the folders of two finished studies"),
        (("a", "other"), "nothing can be compared: method: leam, corrrise"),
        (("a", "./a"), "a and a: the same study twice"),
        (("a", "./a", "--quiet", "--verbose"), "a and a: the same study twice"),
        (
            ("a", "b", "--method", "leam", "--card", "x.toml", "--top", 0.5, "--device", "cuda"),
            "--card, --method, --top, --device: only for pictures, not for finished studies; leave ",
        ),
        (
            ("a", "b", "--rotate", "none"),
            "--rotate: only for pictures, not for finished studies; leave ",
        ),
        (("a", "b", "--models", "gamma"), "a: none of these recognizers; available: alpha, beta"),
        (("nowhere.jpg", "--models", "x,y"), "nowhere.jpg: no such file"),
        ((portrait,), "name at least two recognizers with --models A,B"),
        ((portrait, "--models", "dlib_resnet"), "name at least two recognizers"),
        ((portrait, "--models", "dlib_resnet,nobody"), "nobody: no such recognizer"),
        ((portrait, "--models", "a,b", "--method", "best"), "best: no such attribution method"),
        ((portrait, "--models", "a,b", "--top", 3), "--top 3.0: "),
    ):
        assert message in complaint(leam("compare", *arguments, "--out", "new")), arguments
    assert not (tmp_path / "new").exists()
    for arguments in (("a", "b"), (portrait, "--models", "dlib_resnet,mobileface_v3")):
        result = leam("compare", *arguments, "--out", "b", "--force")
        assert "--out b: the folder of a study; choose another folder" in complaint(result)
    assert not (tmp_path / "b" / "compare.json").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("assets")
def test_recognizers_on_a_picture(leam, tmp_path, monkeypatch, faces):
    monkeypatch.chdir(tmp_path)
    pictures = [one / "0.jpg" for one in sorted(faces.iterdir()) if (one / "0.jpg").exists()]
    names = "dlib_resnet,mobileface_v3"
    cards = ("--cards", CARDS)
    result = leam("compare", *pictures, "--models", names, *cards, "--out", "out")
    assert result.returncode == 0, result.stderr
    assert "% of the critical pixels by region" in result.stdout
    assert result.stdout.splitlines()[-1] == "report: out/compare.html"
    written = {one.name for one in (tmp_path / "out").iterdir()}
    assert {"compare.html", "compare.json", "maps.png", "maps.svg", "maps.pdf"} <= written
    record = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert (record["kind"], record["recognizers"]) == ("recognizers", names.split(","))
    assert record["faces"][0]["critical"][0][0] == pytest.approx(1)
    page = (tmp_path / "out" / "compare.html").read_text()
    assert "Recognizers compared" in page

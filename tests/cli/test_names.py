"""Names of files that are not UTF-8, or contain control characters: usable everywhere, escaped where they are shown."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from leam.demo import portraits
from small import write_faces

pytestmark = pytest.mark.slow

ODD = {"latin-1": os.fsdecode(b"gr\xfcn\xff"), "control": "a\x1b[31m\tb\x07\x9b2J"}
HIDDEN = ("\x1b", "\x07", "\x9b", "\udcff")


@pytest.fixture(params=ODD)
def odd(request, tmp_path) -> Path:
    """A folder with such a name."""
    folder = tmp_path / ODD[request.param]
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system takes no such name")
    return folder


@pytest.fixture
def works(leam):
    """Run a command that succeeds, and give what it prints on standard output."""

    def run(*arguments: object, status: int = 0, notes: int = 0) -> str:
        result = leam(*arguments)
        assert result.returncode == status, result.stderr
        assert not any(mark in result.stdout + result.stderr for mark in HIDDEN)
        assert status == 0 or len(result.stderr.strip().splitlines()) == notes + 1
        return result.stdout

    return run


def card(folder: Path) -> Path:
    path = folder / "mine.toml"
    path.write_text('name = "mine"\narchitecture = "onnx"\nfile = "none.onnx"\n')
    return path


def test_explanations_and_parsings(odd, works, log_file):
    picture = shutil.copy(next(iter(portraits().values())), odd / f"{odd.name}.jpg")
    found = json.loads(works("explain", picture, "--out", odd / "e", "--json"))
    assert (odd / "e" / "explanation.json").is_file()
    assert json.dumps(found).isascii()
    works("explain", picture, picture, "--out", odd / "pair")
    json.loads(works("parse", picture, "--out", odd / "p", "--json"))
    works("parse", picture, "--out", odd / "p2")
    assert (odd / "p" / "areas.json").is_file()
    works("explain", odd / "none.jpg", "--out", odd / "none", status=1)
    works("parse", odd / "none.jpg", "--out", odd / "none", status=1)


def test_models(odd, works):
    works("models", "--cards", odd, status=1)
    works("models", "check", card(odd), status=1)
    works("models", "layers", odd / "none.toml", status=1)
    works("models", "--cards", odd)
    assert "mine" in json.loads(works("models", "--cards", odd, "--json"))
    (odd / "pairs.csv").write_text("left,right,same\na.jpg,b.jpg,1\nb.jpg,c.jpg,0\n")
    works("models", "check", "dlib_resnet", "--pairs", odd / "pairs.csv", status=1, notes=1)


def test_studies(odd, works):
    faces, out = odd / "faces", odd / "run"
    write_faces(faces)
    people = sorted(one.name for one in faces.iterdir())
    rows = "".join(f"{person},x\n" for person in people)
    (odd / "people.csv").write_text(f"person,group\n{rows}")
    (odd / "mine.toml").write_text("top = 0.2\n")
    works(
        *("study", faces, "--out", out, "--people-table", odd / "people.csv"),
        *("--preset", odd / "mine.toml"),
    )
    shown = json.loads(works("study", faces, "--out", out, "--people-table", odd / "people.csv",
                             "--preset", odd / "mine.toml", "--json"))  # fmt: skip
    assert shown["summary"]["recognizers"]
    works("report", out)
    works("report", out, "--no-faces", "--json")
    works("redact", out)
    works("redact", out, "--out", odd / "public", "--json")
    for name in ("run", "run-redacted", "public"):
        page = (odd / name / "report.html").read_text(encoding="utf-8")
        assert not any(mark in page for mark in HIDDEN)
        log = odd / name / "log.txt"
        assert not log.exists() or not any(mark in log.read_text() for mark in HIDDEN)
    works("report", odd / "none", status=1)
    works("redact", odd / "none", status=1)
    works("study", odd / "none", "--out", odd / "other", status=1)
    works("study", faces, "--out", odd / "mine.toml", status=1)
    works("study", faces, "--out", odd / "o", "--preset", odd / "none.toml", status=1)
    works("study", faces, "--out", odd / "o", "--people-table", odd / "none.csv", status=1)


def test_people_with_such_names(tmp_path, works):
    """Names that are not UTF-8 are refused, since tables cannot hold them; control characters are escaped."""
    write_faces(tmp_path / "faces")
    first, *_ = sorted((tmp_path / "faces").iterdir())
    try:
        named = first.rename(first.with_name(ODD["control"]))
    except OSError:
        pytest.skip("this file system takes no such name")
    works("study", tmp_path / "faces", "--out", tmp_path / "run")
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert not any(mark in page for mark in HIDDEN)
    try:
        named.rename(named.with_name(ODD["latin-1"]))
    except OSError:
        return
    works("study", tmp_path / "faces", "--out", tmp_path / "other", status=1)

"""``leam redact``, and ``leam study --keep``."""

from __future__ import annotations

import json

import numpy as np
import pytest

from leam.cli.redact import say_left


@pytest.mark.slow
def test_redact_and_keep(leam, complaint, monkeypatch, tmp_path, faces):
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "run"
    done = leam("study", faces, "--out", "run", "--keep", "embeddings")
    assert done.returncode == 0, done.stderr
    (parsed,) = run.glob("shards/parse/**/*.npz")
    with np.load(parsed) as arrays:
        assert set(arrays.files) == {"of", "reason"}
    again = complaint(leam("study", faces, "--out", "run", "--keep", "embeddings"))
    assert "only the embeddings were kept: maps, landmarks and parsings are gone" in again
    result = leam("redact", "run")
    assert result.stdout.splitlines() == [
        f"redacted: {tmp_path / 'run-redacted'}",
        f"report: {tmp_path / 'run-redacted/report.html'}",
    ]
    assert "exists; choose another --out" in complaint(leam("redact", "run"))
    (run / "mine.txt").write_text("Hopper")
    result = leam("redact", "run", "--in-place", "--json")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == {
        "folder": "run", "report": "run/report.html", "left": ["mine.txt"],
    }  # fmt: skip
    assert "Hopper" not in (run / "run.json").read_text()
    assert leam("report", "run").returncode == 0
    assert "Hopper" not in (run / "report.html").read_text()


def test_what_is_left_is_named(capsys):
    say_left(["a.txt", "two\nlines"])
    assert capsys.readouterr().out.splitlines() == [
        "not part of the study, and not changed (they may show people): 2 files",
        "  a.txt",
        r"  two\nlines",
    ]
    say_left([])
    assert capsys.readouterr().out == ""


def test_mistakes(leam, complaint, tmp_path, faces):
    assert "no such file or folder" in complaint(leam("redact", tmp_path / "nothing"))
    assert "holds no study" in complaint(leam("redact", tmp_path))
    both = leam("redact", tmp_path, "--in-place", "--out", tmp_path / "new")
    assert "leave --out out" in complaint(both)
    wrong = leam("study", faces, "--out", tmp_path / "run", "--keep", "faces")
    assert "available: maps, embeddings, nothing" in complaint(wrong)
    assert not (tmp_path / "run").exists()

"""leam models, its check, and a user's cards on the command line."""

import json
import sys
from pathlib import Path

import pytest

from leam.cli import main

EXAMPLES = Path(__file__).resolve().parents[1] / "examples" / "cards"


@pytest.fixture
def leam(monkeypatch, capsys, tmp_path):
    """Run the command in this process; gives its exit code, standard output and standard error."""
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("LEAM_CACHE", str(tmp_path / "cache"))

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["leam", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code or 0
        written = capsys.readouterr()
        return code, written.out, written.err

    return run


def test_the_list_says_what_is_at_hand(leam, assets):
    code, text, _ = leam("models", "--cards", EXAMPLES)
    lines = {line.split()[0]: line for line in text.splitlines()[1:] if not line.startswith("  ")}
    assert code == 0
    assert "at hand" in lines["mobileface_v3"]
    assert "to fetch, no sha256" in lines["facenet_casia"]


def test_the_list_as_json(leam, assets):
    listed = json.loads(leam("models", "--cards", EXAMPLES, "--json")[1])
    assert Path(listed["mobileface_v2"]["weights"]).is_file()
    assert listed["sface"]["weights"] is None
    assert listed["edgeface_s_gamma_05"]["doubts"] == [
        "no sha256: a changed file would not be noticed"
    ]


def test_a_check_of_a_card(leam, assets):
    code, text, _ = leam("models", "check", EXAMPLES / "mobileface_v3.toml")
    assert code == 0
    assert "545,664" in text
    assert "mods_4/Conv  32 x 56x56" in text


def test_a_check_with_pairs(leam, assets, tmp_path):
    lines = (assets / "lfw" / "pairs.csv").read_text().splitlines()
    (tmp_path / "pairs.csv").write_text("\n".join(lines[:9]))
    code, text, _ = leam(
        "models", "check", "dlib_resnet", "--json",
        "--pairs", tmp_path / "pairs.csv", "--faces", assets / "lfw" / "people",
    )  # fmt: skip
    found = json.loads(text)
    assert code == 0
    assert found["parameters"] == 5_614_592
    assert found["verification"]["pairs"] == 8
    assert found["verification"]["accuracy"] > 0.8


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("models", "check", "nobody"), "nobody: no such recognizer"),
        (("models", "check", "dlib_resnet", "--pairs", "p.csv"), "--pairs and --faces go together"),
        (("models", "check", "missing.toml"), "missing.toml: not a readable card"),
        (("models", "--cards", "nowhere"), "nowhere: no such folder"),
        (("study", "faces", "--out", "run", "--card", "mine.txt"), "mine.txt: no such recognizer"),
    ],
)
def test_mistakes_are_one_line(leam, tmp_path, monkeypatch, arguments, complaint):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "faces" / "ada").mkdir(parents=True)
    (tmp_path / "faces" / "ada" / "1.jpg").write_bytes(b"")
    code, _, error = leam(*arguments)
    assert code == 1
    assert complaint in error
    assert len(error.strip().splitlines()) == 1

"""Short tables of results."""

from __future__ import annotations

import pytest

from handmade import make_summary
from leam.cli.printing import print_check, print_findings, print_summary
from leam.report.parts import Finding, Findings
from leam.study.model_check import ModelCheck, Verification
from leam.study.plan import Settings
from leam.study.store import RunFolder

MIXED = (
    "unit of drops: cosine similarity for alpha, beta; Euclidean distance for gamma. "
    "Compare drops within a row only"
)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["alpha", "beta"], "unit of drops: cosine similarity"),
        (["gamma"], "unit of drops: Euclidean distance"),
        (["alpha", "beta", "gamma"], MIXED),
    ],
)
def test_cosines_and_distances_are_told_apart(tmp_path, monkeypatch, capsys, names, expected):
    summary = make_summary(Settings())
    chosen = {name: summary.recognizers[name] for name in names}
    summary = summary.model_copy(update={"recognizers": chosen})
    monkeypatch.setattr("leam.study.summary.read_summary", lambda _folder: summary)
    print_summary(RunFolder(tmp_path))
    assert expected in capsys.readouterr().out.splitlines()


FOUND = Findings(
    [
        Finding(
            "One relies on the nose.",
            "regions",
            "supported",
            30,
            "margin over the strongest control: edges: 0.1",
            "supported on 2 of 2",
        ),
        Finding("1 % match falsely.", "error_rates", "", 12),
        Finding("It is not clear.", "regions", "inconclusive (n = 4)", 4),
    ],
    ["Whether it is so: not measured (``--preset paper`` measures it)."],
)


def test_findings_are_printed_with_verdict_number_and_control(capsys):
    print_findings(FOUND)
    assert capsys.readouterr().out.splitlines() == [
        "",
        "What was found",
        "1. One relies on the nose.",
        "   supported; n = 30; supported on 2 of 2; margin over the strongest control: edges: 0.1",
        "2. 1 % match falsely.",
        "   n = 12",
        "3. It is not clear.",
        "   inconclusive (n = 4)",
        "",
        "What could not be said",
        "- Whether it is so: not measured (`--preset paper` measures it).",
        "",
    ]
    print_findings(Findings([], []))
    assert capsys.readouterr().out.strip() == ""


def test_findings_are_wrapped_to_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    print_findings(FOUND)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 40
    assert lines[3:5] == [
        "   supported; n = 30; supported on 2 of",
        "   2; margin over the strongest control:",
    ]


@pytest.mark.parametrize(
    ("kind", "threshold", "row"),
    [
        ("cosine", 0.25, "threshold 0.2500"),
        ("euclidean", -0.6, "distance threshold 0.6000 (in a card: threshold = -0.6000)"),
    ],
)
def test_the_threshold_of_a_distance_is_a_distance(capsys, kind, threshold, row):
    verification = Verification(1.0, threshold, 8, {}, ())
    found = ModelCheck("one", 10, 128, 1.0, (), (), verification)
    print_check(found, kind, "cpu", "float32")
    assert row in [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def test_excluded_pictures_of_a_check_are_named(capsys):
    exclusions = {f"{n}.png": f"{n}.png: no such file" for n in range(7)}
    found = ModelCheck("one", 10, 128, 1.0, (), (), Verification(1.0, 0.5, 8, exclusions, ()))
    print_check(found, "cosine", "cpu", "float32")
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "excluded pictures 7" in lines
    assert [line for line in lines if line.startswith("excluded ")][1:] == [
        *(f"excluded {n}.png: no such file" for n in range(5)),
        "excluded and 2 more, which --json lists",
    ]

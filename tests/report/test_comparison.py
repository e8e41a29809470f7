"""The pages and the figure of comparisons say what was found, and nothing else."""

from __future__ import annotations

import re

import numpy as np
import pytest

from compared import PEOPLE, make_run
from leam.compare.recognizers import (
    ComparedFace,
    ComparedRecognizer,
    FaceComparison,
    RecognizerComparison,
)
from leam.compare.runs import compare_runs
from leam.explain.explanation import RegionRecord
from leam.figures import figure_bytes
from leam.report.comparison import (
    agreement_rows,
    difference_chart,
    difference_rows,
    reasons,
    recognizers_figure,
    recognizers_page,
    runs_page,
    share_rows,
    verdict_counts,
)
from leam.report.drawing import chart_svg
from reading import read_page


@pytest.fixture
def found(tmp_path):
    first = make_run(tmp_path / "a", names=("alpha", "beta"))
    second = make_run(
        tmp_path / "b", names=("alpha",), shift=0.1, seed=5, fill="mean", rotate="auto"
    )
    return compare_runs(first, second)


def test_the_rows_of_two_studies(found):
    rows = difference_rows(found)
    assert rows[0][:2] == ("alpha", "nose, %")
    nose = found.differences[0]
    assert rows[0][2] == (
        f"{100 * nose.first.mean:.1f} [{100 * nose.first.low:.1f}, {100 * nose.first.high:.1f}]"
    )
    assert rows[0][6:] == ("20", "differs")
    bc = rows[[row[1] for row in rows].index("bc, one person")]
    assert bc[4].startswith("0.1")
    assert verdict_counts(found) == "A difference is shown in 5 of 8 figures (Holm's correction)."


def test_few_people_are_counted_as_inconclusive(tmp_path):
    few = compare_runs(make_run(tmp_path / "a", PEOPLE[:5]), make_run(tmp_path / "b", PEOPLE[:5]))
    assert (
        verdict_counts(few)
        == "A difference is shown in 0 of 10 figures (Holm's correction); 10 are inconclusive."
    )


def test_what_was_not_compared_is_listed_by_reason(found, tmp_path):
    assert reasons(found) == {
        "settings differ: fill: black, mean": [
            "similarity drop (alpha)",
            "drop - scattered (alpha)",
        ],
        f"only in {tmp_path / 'a'}": ["beta"],
    }


def test_the_page_of_two_studies(found, tmp_path):
    boxes = read_page(runs_page(found))
    assert list(boxes) == ["summary", "differences", "not_compared", "studies"]
    assert (
        boxes["summary"].texts[0] == "A difference is shown in 5 of 8 figures (Holm's correction)."
    )
    assert [row[1] for row in boxes["summary"].tables[0][1:]] == [
        "nose, %", "bc, one person", "bc, one - two", "drop, another picture's mask",
        "drop, that mask - population",
    ]  # fmt: skip
    assert len(boxes["differences"].charts) == 4
    assert len(boxes["differences"].tables[0]) == 9
    assert boxes["not_compared"].tables[0][1] == (
        "settings differ: fill: black, mean", "similarity drop (alpha), drop - scattered (alpha)",
    )  # fmt: skip
    assert "Settings differ: rotate: none, auto." in boxes["studies"].texts
    assert "person 0" not in runs_page(found)


def test_nothing_is_listed_where_everything_was_compared(tmp_path):
    found = compare_runs(make_run(tmp_path / "a"), make_run(tmp_path / "b"))
    assert "not_compared" not in read_page(runs_page(found))


def test_the_page_says_why_dependent_studies_are_inconclusive(tmp_path):
    first, second = make_run(tmp_path / "a"), make_run(tmp_path / "b")
    second.keep("nothing")
    found = compare_runs(first, second)
    assert verdict_counts(found).endswith("; 10 are inconclusive.")
    assert "so that it is not known whether the studies share people" in runs_page(found)


def test_the_chart_is_drawn_around_zero(found):
    shares = [one for one in found.differences if one.unit == "part of the critical pixels"]
    (panel,) = difference_chart(shares, shares[0].unit).panels
    assert (panel.rows, panel.scale, panel.line) == (["nose", "eyes"], 100, 0)
    assert panel.series[0].estimates == [one.difference for one in shares]
    assert panel.axis == "second minus first, points of the critical pixels"
    svg = chart_svg(difference_chart(shares, shares[0].unit))
    # A line from top to bottom, which is no line of the grid.
    lines = re.findall(r'<line[^>]+x2="0" y2="(-?[\d.]+)" stroke="var\(--(\w+)', svg)
    assert [abs(float(y)) > 20 for y, colour in lines if colour != "line"] == [True]


@pytest.fixture
def face() -> tuple[RecognizerComparison, ComparedFace]:
    def one(nose: float, *, hat: bool = False) -> ComparedRecognizer:
        regions = {
            "nose": RegionRecord(share=nose, mass=0.1, area=0.1),
            "skin": RegionRecord(share=1 - nose, mass=0.9, area=0.85),
        }
        if hat:
            regions["hat"] = RegionRecord(share=0, mass=0, area=0.05)
        return ComparedRecognizer(sha256="0", regions=regions)

    record = FaceComparison(
        image="/photos/ada.jpg",
        recognizers={"alpha": one(0.6), "beta": one(0.2, hat=True)},
        critical=[[1.0, 0.25], [0.25, None]],
        maps=[[1.0, 0.5], [0.5, 1.0]],
    )
    whole = RecognizerComparison(
        method="leam", parser="landmarks", top=0.01, recognizers=["alpha", "beta"], faces=[record]
    )
    maps = np.random.default_rng(0).random((2, 16, 16)).astype(np.float32)
    chip = np.full((16, 16, 3), 90, dtype=np.uint8)
    return whole, ComparedFace("ada.jpg", chip, maps / maps.sum(axis=(1, 2), keepdims=True), record)


def test_the_rows_of_a_face(face):
    assert share_rows(face[1]) == [
        ("alpha", "60.0 (10.0)", "40.0 (85.0)", "–"),
        ("beta", "20.0 (10.0)", "80.0 (85.0)", "0.0 (5.0)"),
    ]
    assert share_rows(face[1], areas=False)[0] == ("alpha", "60.0", "40.0", "–")
    assert agreement_rows(*face) == [
        ("alpha", "1.00 (1.00)", "0.25 (0.50)"),
        ("beta", "0.25 (0.50)", "– (1.00)"),
    ]
    assert agreement_rows(*face, maps=False)[0] == ("alpha", "1.00", "0.25")


def test_the_page_of_recognizers(face):
    boxes = read_page(recognizers_page(face[0], [face[1], face[1]]))
    assert [box.title.rstrip("#") for box in boxes.values()] == ["ada.jpg", "ada.jpg"]
    first = boxes["face-1"]
    assert len(first.pictures) == 3
    assert first.tables[0][0] == ("recognizer", "nose", "skin", "hat")
    assert any("Two random masks have 0.01" in text for text in first.texts)
    assert any("One scale for all maps" in text for text in first.texts)


def test_the_figure_names_recognizers_regions_and_the_scale(face):
    text = figure_bytes(recognizers_figure(*face), "svg").decode()
    for expected in (
        "ada.jpg · 2 recognizers",
        "alpha",
        "nose 60 %",
        "beta",
        "nose 20 %",
        "one scale",
    ):
        assert expected in text

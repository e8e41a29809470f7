"""The report's section on error rates."""

from __future__ import annotations

import pytest

from leam.metrics.statistics import NOTHING, Estimate
from leam.report.drawing import chart_svg
from leam.report.parts import Drawing, Heading, Table, Text
from leam.report.sections.error_rates import (
    ErrorRates,
    error_chart,
    group_chart,
    roc_chart,
)
from leam.results.summary import RecognizerSummary
from leam.study.stages.error_rates import ErrorRateFigures, conclusion


def some(mean: float, n: int = 30) -> Estimate:
    return Estimate(mean, mean * 0.8, mean * 1.2, n)


def gap(low: float, high: float, p: float | None) -> ErrorRateFigures.Gap:
    difference = Estimate((low + high) / 2, low, high, 40)
    return ErrorRateFigures.Gap(
        rate="fmr", first="f", second="m", difference=difference, ratio=some(2), p=p, p_adjusted=p
    )


def group(people: int, rate: float) -> ErrorRateFigures.Group:
    return ErrorRateFigures.Group(
        people=people, genuine=50, impostors=600, fmr=some(rate), fnmr=some(2 * rate)
    )


def figures(**changes: object) -> ErrorRateFigures:
    column = ErrorRateFigures.Column(
        groups={"f": group(20, 0.01), "m": group(30, 0.03)},
        too_few={"x": 3},
        unknown=2,
        gaps=[gap(-0.03, -0.01, 0.001)],
        worst_to_best={"fmr": 3.0, "fnmr": None},
        garbe=0.25,
        fdr=0.98,
    )
    values = {
        "people": 55,
        "genuine": 100,
        "impostors": 5000,
        "drawn": False,
        "acquired": some(0.8),
        "least_fmr": 0.01,
        "eer": some(0.04),
        "eer_threshold": 0.3,
        "at_fmr": {
            "0.1": ErrorRateFigures.Point(threshold=0.2, fmr=some(0.1), fnmr=some(0.01)),
        },
        "threshold_source": "given",
        "operating": ErrorRateFigures.Point(threshold=0.35, fmr=some(0.02), fnmr=some(0.05)),
        "curve": ErrorRateFigures.Curve(
            threshold=[0.1, 0.2, 0.3, 0.4], fmr=[1, 0.1, 0.02, 0.001], fnmr=[0, 0.01, 0.05, 0.2]
        ),
        "columns": {"gender": column},
    }
    return ErrorRateFigures(**(values | changes))


@pytest.fixture
def parts(context, monkeypatch):
    def of(similarity: str = "cosine", **changes: object) -> list:
        one = RecognizerSummary(
            similarity=similarity, sha256="0", figures={"error_rates": figures(**changes)}
        )
        summary = context.summary.model_copy(update={"recognizers": {"alpha": one}})
        monkeypatch.setattr(context, "summary", summary)
        return list(ErrorRates().parts(context))

    return of


def text(parts: list) -> str:
    return " ".join(one.text for one in parts if isinstance(one, Text))


def test_the_operating_point_comes_first(parts):
    found = parts()
    table = next(one for one in found if isinstance(one, Table))
    assert table.rows[0] == (
        "alpha", "similarity 0.35", "given",
        "2.000 [1.600, 2.400]", "5.00 [4.00, 6.00]", "4.00 [3.20, 4.80]", "55", "100", "5000",
    )  # fmt: skip
    assert "down to 0.01" in text(found)
    assert "found in 80.0" in text(found)
    assert [one.alt[-5:] for one in found if isinstance(one, Drawing)][:2] == ["(DET)", "(ROC)"]


def test_a_distance_is_called_a_distance(parts):
    point = figures().operating.model_copy(update={"threshold": -0.6})
    found = parts("euclidean", operating=point, at_fmr={"0.1": point})
    operating, stated = [one for one in found if isinstance(one, Table)][:2]
    assert operating.rows[0][1] == stated.rows[0][2] == "distance 0.6"


def test_a_face_in_every_picture_has_no_interval(parts):
    assert "found in all pictures" in text(parts(acquired=Estimate(1.0, 1.0, 1.0, 43)))


def test_drawn_impostors_and_too_few_of_them_are_named(parts):
    table = next(one for one in parts(drawn=True, least_fmr=None) if isinstance(one, Table))
    assert table.rows[0][-1] == "5000 (drawn)"
    assert "support no false match rate" in text(parts(least_fmr=None))


def test_groups(parts):
    found = parts()
    assert [one.text for one in found if isinstance(one, Heading)] == ["By gender"]
    assert "x (n = 3)" in text(found)
    assert "Not compared, since their value is not known: 2 people." in text(found)
    tables = {one.folded: one for one in found if isinstance(one, Table)}
    assert tables["Rates"].rows[1][:2] == ("alpha", "m")
    assert tables["Gaps"].rows[0][-1] == "more for m"
    assert tables["Summary measures"].rows[0] == ("alpha", "3.00", "–", "0.250", "0.9800")


@pytest.mark.parametrize(
    ("low", "high", "p", "said"),
    [
        (0.01, 0.03, 0.01, "more for f"),
        (0.01, 0.03, 0.2, "inconclusive (n = 40)"),
        (-0.01, 0.03, 0.01, "inconclusive (n = 40)"),
        (0.01, 0.03, None, "cannot be said with these numbers (n = 40)"),
    ],
)
def test_a_conclusion_needs_the_interval_and_the_test(low, high, p, said):
    assert conclusion(gap(low, high, p)) == said


def test_charts_show_what_the_comparisons_support():
    lines = error_chart({"alpha": figures()}).panels[0].lines
    assert (lines[0].x, lines[0].y) == ([0.1, 0.02], [0.01, 0.05])
    assert "false match rate" in chart_svg(error_chart({"alpha": figures()}))
    lines = roc_chart({"alpha": figures()}).panels[0].lines
    assert (lines[0].x, lines[0].y) == ([1, 0.1, 0.02], [1, 0.99, 0.95])
    rows = group_chart({"alpha": figures().columns["gender"]})
    assert [series.label for series in rows.panels[0].series] == ["f", "m"]
    assert rows.panels[1].series[1].estimates[0].mean == pytest.approx(0.06)


def test_one_group_is_not_compared(parts):
    column = figures().columns["gender"]
    single = column.model_copy(update={"groups": {"f": group(20, 0.01)}, "gaps": []})
    found = parts(columns={"gender": single})
    assert "no two groups" in text(found)
    assert not any(isinstance(one, Drawing) and "gender" in one.alt for one in found)


def test_a_rate_that_was_not_measured_is_missing():
    assert conclusion(gap(0.1, 0.2, 0.01).model_copy(update={"difference": NOTHING})) == (
        "cannot be said with these numbers (n = 0)"
    )

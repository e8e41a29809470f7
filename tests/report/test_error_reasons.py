"""The report's section on the regions that carry errors."""

from __future__ import annotations

import pytest

from leam.metrics.statistics import NOTHING, Estimate
from leam.report.drawing import chart_svg
from leam.report.parts import Drawing, Fold, Heading, Table, Text
from leam.report.sections.error_reasons import (
    ErrorReasons,
    conclusion,
    contribution_chart,
    gap_chart,
)
from leam.results.summary import RecognizerSummary
from leam.study.stages.error_reasons import ErrorReasonFigures

REGIONS = ["nose", "eyes"]


def some(mean: float, n: int = 30) -> Estimate:
    return Estimate(mean, mean - 0.01, mean + 0.01, n)


def gap(
    mean: float = 0.1, p: float | None = 0.0005, kind: str = "impostor", region: str = "nose"
) -> ErrorReasonFigures.Gap:
    return ErrorReasonFigures.Gap(
        comparisons=kind,
        first="f",
        second="m",
        region=region,
        difference=some(mean, 40),
        standardised=mean * 50,
        p=p,
        p_adjusted=p,
    )


def kind(start: float, errors: int = 12) -> ErrorReasonFigures.Kind:
    """Contributions that begin with this number: errors, then correct comparisons, then differences."""
    values = [
        {region: some(start + step + place / 10) for place, region in enumerate(REGIONS)}
        for step in (0, 0.02, 0.04)
    ]
    return ErrorReasonFigures.Kind(
        errors=errors,
        similarity=0.5,
        matched_similarity=0.5,
        contribution=values[0],
        matched=values[1],
        difference=values[2],
    )


def figures(**changes: object) -> ErrorReasonFigures:
    gaps = [
        gap(0.02, 0.4, "genuine"),
        gap(0.03, 0.002, "genuine", "eyes"),
        gap(0.1, 0.0005),
        gap(-0.04, 0.0005, region="eyes"),
    ]
    values = {
        "threshold": 0.3,
        "regions": REGIONS,
        "false_matches": kind(0.1),
        "false_non_matches": kind(0.5, 7),
        "columns": {"gender": gaps},
    }
    return ErrorReasonFigures(**(values | changes))


@pytest.fixture
def parts(context, monkeypatch):
    def of(names: tuple[str, ...] = ("alpha",), **changes: object) -> list:
        one = RecognizerSummary(
            similarity="cosine", sha256="0", figures={"error_reasons": figures(**changes)}
        )
        summary = context.summary.model_copy(update={"recognizers": dict.fromkeys(names, one)})
        monkeypatch.setattr(context, "summary", summary)
        return list(ErrorReasons().parts(context))

    return of


def text(parts: list) -> str:
    return " ".join(one.text for one in parts if isinstance(one, Text))


def tables(parts: list) -> dict[str, Table]:
    return {one.folded: one for one in parts if isinstance(one, Table)}


def test_it_says_what_a_contribution_is_and_what_it_cannot_say(parts):
    found = text(parts())
    assert "if the region is hidden in both pictures (fill: " in found
    assert "not why" in found
    assert "do not add up" in found


def test_contributions_are_in_their_places(parts):
    found = parts()
    assert sum(isinstance(one, Drawing) for one in found) == 2
    rows = tables(found)["Contributions"].rows
    assert rows[1] == (
        "False matches (12)",
        "eyes",
        "0.200 [0.190, 0.210]",
        "0.220 [0.210, 0.230]",
        "0.240 [0.230, 0.250]",
        "30",
    )
    assert rows[2][:3] == ("False non-matches (7)", "nose", "0.500 [0.490, 0.510]")


def test_differences_of_few_people_cannot_be_said(parts):
    few = kind(0.1)
    few.contribution["nose"] = Estimate(0.1, None, None, 5)
    few.difference["nose"] = Estimate(0.1, None, None, 35)
    rows = tables(parts(false_matches=few))["Contributions"].rows
    assert rows[0][4] == "cannot be said with these numbers (n = 5)"


def test_the_largest_gap_comes_first(parts):
    found = parts()
    assert [one.text for one in found if isinstance(one, Heading)] == ["By gender"]
    assert "Largest gap: nose, more for f in impostor comparisons (0.100 [0.090, 0.110])." in text(
        found
    )
    assert tables(found)["Gaps in contributions"].rows[3] == (
        "impostor",
        "f – m",
        "eyes",
        "-0.040 [-0.050, -0.030]",
        "-2.0",
        "0.0005",
        "more for m",
    )


def test_without_a_gap_none_is_named(parts):
    gaps = [one.model_copy(update={"p_adjusted": 0.001}) for one in figures().columns["gender"]]
    found = text(parts(columns={"gender": gaps}))
    assert "No gap can be concluded" in found
    assert "Largest gap" not in found
    assert "no two groups" in text(parts(columns={"gender": []}))


@pytest.mark.parametrize(
    ("mean", "p", "said"),
    [
        (0.1, 0.0009, "more for f"),
        (-0.1, 0.0009, "more for m"),
        (0.1, 0.001, "inconclusive (n = 40)"),
        (0.005, 0.0005, "inconclusive (n = 40)"),
        (0.1, None, "cannot be said with these numbers (n = 40)"),
    ],
)
def test_a_conclusion_needs_the_interval_and_the_test(mean, p, said):
    assert conclusion(gap(mean, p)) == said


def test_a_gap_that_was_not_measured_is_missing():
    assert conclusion(gap().model_copy(update={"difference": NOTHING})) == (
        "cannot be said with these numbers (n = 0)"
    )


def test_errors_that_did_not_occur_are_named_and_not_drawn(parts):
    none = kind(0.1, 0)
    found = parts(false_matches=none)
    assert "False matches: none at this threshold." in text(found)
    chart = next(one.chart for one in found if isinstance(one, Drawing))
    assert [panel.title for panel in chart.panels] == [
        "False non-matches (7) beside correct non-matches"
    ]
    found = parts(false_matches=none, false_non_matches=none, columns={})
    assert not any(isinstance(one, Drawing) for one in found)


def test_charts():
    chart = contribution_chart(figures(), "drop")
    assert [series.estimates[1].mean for series in chart.panels[0].series] == pytest.approx(
        [0.2, 0.22]
    )
    assert "False matches (12)" in chart_svg(chart)
    chart = gap_chart(REGIONS, figures().columns["gender"], "drop")
    assert [panel.title for panel in chart.panels] == [
        "Genuine comparisons",
        "Impostor comparisons",
    ]
    assert [one.mean for one in chart.panels[1].series[0].estimates] == [0.1, -0.04]
    assert "f minus m" in chart_svg(chart)


def test_many_pairs_of_groups_are_a_table_alone(parts):
    gaps = [
        one.model_copy(update={"second": second})
        for second in "wxyz"
        for one in figures().columns["gender"]
    ]
    found = parts(columns={"kind": gaps})
    assert sum(isinstance(one, Drawing) for one in found) == 1
    assert len(tables(found)["Gaps in contributions"].rows) == 16


def test_several_recognizers_are_folded(parts):
    folds = [one for one in parts(("alpha", "beta")) if isinstance(one, Fold)]
    assert [(one.title, one.unfolded) for one in folds] == [("alpha", True), ("beta", False)]

"""The document of an audit: its sentences follow from the figures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest

import shards
from leam.metrics.error_rates import Comparisons
from leam.metrics.statistics import NOTHING, Estimate
from leam.results.summary import Exclusion, RecognizerSummary, Summary
from leam.study.audit import (
    AUDIT_VERSION,
    AuditDocument,
    audit_of,
    findings,
    overall_findings,
    region_finding,
)
from leam.study.comparisons import Compared
from leam.study.run_data import RunData
from leam.study.stages.error_rates import ErrorRateFigures
from leam.study.stages.error_reasons import ErrorReasonFigures, HiddenRegions
from leam.study.stages.worst_comparisons import WorstComparisons, WorstFigures, worst
from leam.study.store import RunFolder
from planned import planned

SCHEMA = Path(__file__).parents[2] / "docs" / "audit.schema.json"


def some(mean: float, n: int = 30) -> Estimate:
    return Estimate(mean, mean * 0.8, mean * 1.2, n)


def rates(p: float | None = 0.001, **changes: object) -> ErrorRateFigures:
    gap = ErrorRateFigures.Gap(
        rate="fnmr", first="f", second="m", difference=Estimate(0.02, 0.01, 0.03, 50),
        ratio=Estimate(2.0, 1.5, 2.5, 50), p=p, p_adjusted=p,
    )  # fmt: skip
    group = ErrorRateFigures.Group(
        people=20, genuine=50, impostors=600, fmr=some(0.01), fnmr=some(0.02)
    )
    column = ErrorRateFigures.Column(
        groups={"f": group, "m": group}, too_few={"x": 3}, unknown=0, gaps=[gap],
        worst_to_best={"fmr": 1.0, "fnmr": 2.0}, garbe=0.1, fdr=0.99,
    )  # fmt: skip
    values = {
        "people": 43, "genuine": 100, "impostors": 5000, "drawn": False, "acquired": some(0.8),
        "least_fmr": 0.01, "eer": some(0.04), "eer_threshold": 0.3, "at_fmr": {},
        "threshold_source": "the recognizer's card",
        "operating": ErrorRateFigures.Point(threshold=-0.6, fmr=some(0.01), fnmr=some(0.05)),
        "curve": ErrorRateFigures.Curve(threshold=[0.1], fmr=[1], fnmr=[0]),
        "columns": {"gender": column},
    }  # fmt: skip
    return ErrorRateFigures(**(values | changes))


def test_rates_come_first_with_their_intervals_and_the_threshold_in_words():
    first, *_ = findings("one", rates(), "euclidean")
    assert first.text == (
        "one: at the threshold (distance 0.6, the recognizer's card), 1 % [0.8, 1.2] of the comparisons of different "
        "people match falsely, and 5 % [4, 6] of those of one person do not match (43 people)."
    )
    assert "similarity -0.6" in next(findings("one", rates(), "cosine")).text
    nothing = ErrorRateFigures.Point(threshold=None, fmr=NOTHING, fnmr=NOTHING)
    said = next(findings("one", rates(operating=nothing), "cosine")).text
    assert "all comparisons are rejected" in said
    assert "an unknown part" in said


@pytest.mark.parametrize(
    ("p", "said"),
    [
        (
            0.001,
            (
                "one: the false non-match rate of f differs from that of m by +2 % [+1, +3], 2 [1.5, 2.5] times "
                "(corrected p 0.001, n = 50 people)."
            ),
        ),
        (0.2, "one: no difference between the groups of gender is shown with these numbers."),
        (None, "one: no difference between the groups of gender is shown with these numbers."),
    ],
)
def test_a_gap_is_stated_only_where_it_is_shown(p, said):
    _, second, third = findings("one", rates(p), "cosine")
    assert second.text == said
    assert second[1:] == (
        "error_rates",
        "supported" if p == 0.001 else "inconclusive (n = 40)",
        50 if p == 0.001 else 40,
    )
    assert third[1:] == ("error_rates", "inconclusive (n = 3)", 3)
    assert third.text == (
        "one: nothing can be said about gender x with these numbers (n = 3, fewer than 10)."
    )


@pytest.mark.parametrize(("mean", "word"), [(0.1, "more"), (-0.1, "less")])
def test_the_region_with_the_largest_gap_is_named(mean, word):
    gap = ErrorReasonFigures.Gap(
        comparisons="impostor", first="f", second="m", region="lips", standardised=4.0,
        difference=Estimate(mean, mean - 0.01, mean + 0.01, 50), p=0.0005, p_adjusted=0.0005,
    )  # fmt: skip
    found = region_finding("one", "gender", gap)
    assert found[1:] == ("error_reasons", "supported", 50)
    assert found.text == (
        "one: between the groups of gender, the region lips differs most: in impostor comparisons of f it contributes "
        f"{word} to the similarity than in those of m (corrected p 0.0005, n = 50 people)."
    )


def document(found: ErrorRateFigures, **changes: object) -> AuditDocument:
    plan = planned("aabb", audit=True).model_copy(update=changes)
    one = RecognizerSummary(similarity="cosine", sha256="0", figures={"error_rates": found})
    reasons = ["no face was found", "is empty", "no face was found"]
    summary = Summary(
        versions={"leam": "1"}, settings={"seed": 0}, people=2, images=4, failed=[], figures={},
        exclusions=[Exclusion(image=str(n), reason=one) for n, one in enumerate(reasons)],
        recognizers={"one": one},
    )  # fmt: skip
    return audit_of(plan, summary)


def test_the_document_counts_exclusions_by_reason_and_says_what_it_cannot():
    found = document(rates())
    assert found.data.exclusions == {"no face was found": 2, "is empty": 1}
    assert "below 0.01 cannot be said with 5000" in found.limits[0]
    assert "not a forecast" not in " ".join(found.limits)
    assert "every two of different people" in found.protocol[0]
    assert "| gender: f | 20 | 1 % [0.8, 1.2] | 2 % [1.6, 2.4] |" in found.model_card["one"]
    assert json.loads(found.to_json())["audit_version"] == AUDIT_VERSION
    jsonschema.validate(json.loads(found.to_json()), json.loads(SCHEMA.read_text()))
    assert AuditDocument.model_validate_json(found.to_json()) is not None


def test_limits_of_few_comparisons_and_of_a_threshold_set_on_them():
    found = document(rates(least_fmr=None, threshold_source="set at a false match rate of 0.1"))
    assert "5000 impostor comparisons support no false match rate" in found.limits[0]
    assert "not a forecast" in found.limits[1]


def test_the_pairs_of_a_list_are_named_as_such():
    assert "the 2 pairs of nowhere" in document(rates(), pairs=((0, 1), (0, 2))).protocol[0]
    assert "a random sample" in document(rates(drawn=True)).protocol[0]


def test_no_text_says_that_a_recognizer_complies():
    text = document(rates()).to_json().lower()
    assert "complian" not in text
    assert "complies" not in text


def test_the_worst_errors_show_each_person_once():
    first, second = np.array([0, 0, 1, 2, 3, 4, 5]), np.array([1, 2, 2, 3, 3, 4, 5])
    scores = np.array([0.9, 0.8, 0.7, 0.4, 0.1, 0.3, 0.9])
    pairs = Comparisons(scores, first, second, 6)
    found = Compared(
        pairs,
        list("abcdef"),
        np.arange(0),
        np.zeros((0, 2), np.float32),
        np.zeros((7, 2), int),
        False,
    )
    matches, non_matches = worst(found, 0.5)
    assert matches.tolist() == [0]
    assert non_matches.tolist() == [4, 5]


def test_the_regions_that_turn_a_decision_are_named_smallest_first(tmp_path):
    """Hiding the nose or the skin makes both pictures equal; the skin is larger."""
    plan = planned("aabb", 4, audit=True, threshold=0.5)
    folder = RunFolder(tmp_path)
    embedding = np.array([[1, 0], [0.9, 0.1], [0, 1], [1, 0.2]], dtype=np.float32)
    hidden = np.stack([np.ones((4, 2)), embedding, np.ones((4, 2))], axis=1).astype(np.float32)
    folder.write_shard("explain/one", 0, replace(shards.explained(range(4)), embedding=embedding))
    area = np.tile(np.array([0.5, 0.1, 0.1], dtype=np.float32), (4, 1))
    names = np.array(["skin", "eyes", "nose"])
    folder.write_shard("error_reasons/one", 0, HiddenRegions(np.arange(4), names, hidden, area))
    found = WorstComparisons().summarise(RunData(plan, folder), "one")
    assert isinstance(found, WorstFigures)
    (missed,) = found.false_non_matches
    assert (missed.first, missed.second) == ("b/2", "b/3")
    assert missed.turning == ["nose", "skin"]
    assert missed.contribution["eyes"] == pytest.approx(0, abs=1e-6)
    worst_match = found.false_matches[0]
    assert (worst_match.first, worst_match.second) == ("a/1", "b/3")
    one, other = (row / np.linalg.norm(row) for row in embedding[[1, 3]])
    assert worst_match.similarity == pytest.approx(one @ other, abs=1e-6)


def several(*p: float | None, regions: tuple[str, ...] = ()) -> Summary:
    """The summary of recognizers ``r0``, ``r1``, ... whose gaps have these p-values."""
    recognizers = {}
    for n, one in enumerate(p):
        point = ErrorRateFigures.Point(threshold=0.3, fmr=some(0.001), fnmr=some(0.01 * (n + 1)))
        figures: dict[str, object] = {"error_rates": rates(one, operating=point)}
        if regions:
            gap = ErrorReasonFigures.Gap(
                comparisons="impostor", first="f", second="m", region=regions[n], standardised=4.0,
                difference=Estimate(0.1, 0.09, 0.11, 43), p=0.0005, p_adjusted=0.0005,
            )  # fmt: skip
            kind = ErrorReasonFigures.Kind(
                errors=0,
                similarity=None,
                matched_similarity=None,
                contribution={},
                matched={},
                difference={},
            )
            figures["error_reasons"] = ErrorReasonFigures(
                threshold=0.3, regions=["eyes", "nose"], false_matches=kind, false_non_matches=kind,
                columns={"gender": [gap]},
            )  # fmt: skip
        recognizers[f"r{n}"] = RecognizerSummary(similarity="cosine", sha256="0", figures=figures)
    return Summary(
        versions={"leam": "1"}, settings={}, people=43, images=90, failed=[], figures={},
        exclusions=[], recognizers=recognizers,
    )  # fmt: skip


def test_several_recognizers_are_summed_up():
    first, gaps, small, regions = overall_findings(
        several(0.001, 0.001, 0.2, regions=("eyes", "eyes", "nose"))
    )
    assert first.text == (
        "At the thresholds of the 3 recognizers, the false match rate is 0.1 % (r0) to 0.1 % (r0) and the false "
        "non-match rate is 1 % (r0) to 3 % (r2); 43 people."
    )
    assert gaps.text == (
        "The false non-match rate of f is higher than that of m for 2 of 3 recognizers (2 to 2 times) and lower for 0; "
        "for 1 no difference is shown."
    )
    assert (gaps.verdict, gaps.n) == ("supported", 50)
    assert small.text.startswith("Nothing can be said about gender x with these numbers (n = 3")
    assert regions.text == (
        "The region whose contribution differs most between the groups of gender, with the number of recognizers out "
        "of 3: eyes (2), nose (1)."
    )


def test_gaps_that_no_recognizer_shows_are_inconclusive():
    _, gaps, _ = overall_findings(several(0.2, None))
    assert gaps.text == (
        "For none of the 2 recognizers is a difference between the groups of gender shown."
    )
    assert gaps.verdict == "inconclusive (n = 40)"


def test_one_recognizer_is_not_summed_up():
    assert not list(overall_findings(several(0.001)))

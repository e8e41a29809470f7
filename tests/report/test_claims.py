"""What the report says about the paper's claims follows from a study's figures."""

from __future__ import annotations

from typing import Any

import pytest

from handmade import e, groups, make_summary, paired
from leam.metrics.statistics import Estimate
from leam.report.claims import HELD, NOT_HELD, NOT_MEASURED, PARTLY, Row, paper_claims
from leam.results.summary import Summary
from leam.study.plan import Settings
from leam.study.stages.agreement import AgreementFigures
from leam.study.stages.groups import GroupFigures
from leam.study.stages.occlusion import OcclusionFigures
from leam.study.stages.regions import RegionFigures
from leam.study.stages.specificity import SpecificityFigures
from leam.study.stages.transfer import TransferFigures

NOTHING = Estimate(None, None, None, 0)


@pytest.fixture
def summary() -> Summary:
    return make_summary(Settings())


def changed(summary: Summary, stage: str, change: Any) -> Summary:
    """The summary with each recognizer's figures of a stage changed by a function of them and their place."""
    recognizers = {
        name: one.model_copy(
            update={"figures": {**one.figures, stage: change(one.figures[stage], place)}}
        )
        for place, (name, one) in enumerate(summary.recognizers.items())
    }
    return summary.model_copy(update={"recognizers": recognizers})


def of_study(summary: Summary, **figures: object) -> Summary:
    return summary.model_copy(update={"figures": {**summary.figures, **figures}})


def claim(summary: Summary, beginning: str) -> Row:
    (row,) = [row for row in paper_claims(summary) if row.claim.startswith(beginning)]
    return row


@pytest.mark.parametrize(
    ("lows", "verdict"), [((1, 2, 3), HELD), ((1, 0, -1), PARTLY), ((0, -1, -2), NOT_HELD)]
)
def test_a_claim_holds_for_all_for_some_or_for_none(summary, lows, verdict):
    def margin(figures: OcclusionFigures, place: int) -> OcclusionFigures:
        one = paired(0, None, None).model_copy(
            update={"difference": Estimate(1, lows[place], 2, 9)}
        )
        return figures.model_copy(update={"margins": {"scattered": one}})

    row = claim(changed(summary, "occlusion", margin), "similarity drop, most")
    assert row.verdict == verdict
    assert row.here == "0.1000 – 0.1660"


def test_an_interval_that_reaches_chance_holds_no_claim(summary):
    def auc(value: float) -> Any:
        def change(figures: SpecificityFigures, _place: int) -> SpecificityFigures:
            critical = figures.operands["critical"].model_copy(update={"auc": e(value)})
            return figures.model_copy(
                update={"operands": {**figures.operands, "critical": critical}}
            )

        return change

    assert claim(changed(summary, "specificity", auc(0.56)), "bc of genuine").verdict == HELD
    assert claim(changed(summary, "specificity", auc(0.54)), "bc of genuine").verdict == NOT_HELD


def test_a_nose_counts_by_its_own_area(summary):
    def nose(figures: RegionFigures, place: int) -> RegionFigures:
        area = (0.1, 0.16, 0.3)[place]
        one = figures.regions["nose"].model_copy(update={"share": e(0.2), "area": e(area)})
        return RegionFigures(regions={"nose": one})

    row = claim(changed(summary, "regions", nose), "nose")
    assert (row.here, row.verdict) == ("20.0", PARTLY)
    assert row.reason == "more than its area for 1 of 3 recognizers; within the paper's range for 3"


def test_what_was_not_measured_is_said(summary):
    bare = summary.model_copy(update={"figures": {}})
    for beginning in ("layers", "recognizers", "masks", "occlusion"):
        assert claim(bare, beginning).verdict == NOT_MEASURED
    bare = changed(bare, "regions", lambda *_: RegionFigures(regions={}))
    bare = changed(
        bare, "occlusion", lambda f, _: f.model_copy(update={"margins": {}, "controls": {}})
    )
    for beginning in ("nose", "similarity drop, most"):
        assert claim(bare, beginning).verdict == NOT_MEASURED
    assert claim(bare, "nose").here == "–"
    assert claim(bare, "similarity drop, random").here == "–"


def test_recognizers_agree_where_masks_are_more_alike_than_by_chance(summary):
    found = summary.get(AgreementFigures)
    assert found is not None
    low = Estimate(0.2, 0.01, 0.3, 9)
    critical = [[low] * 3 for _ in range(3)]
    row = claim(
        of_study(summary, agreement=found.model_copy(update={"critical": critical})), "recognizers"
    )
    assert row.verdict == NOT_HELD
    assert row.reason.startswith("above chance (0.01) for 0 of 3 pairs")
    critical[2][0] = e(0.9)
    assert (
        claim(
            of_study(summary, agreement=found.model_copy(update={"critical": critical})),
            "recognizers",
        ).verdict
        == NOT_HELD
    )
    critical[0][2] = e(0.9)
    row = claim(
        of_study(summary, agreement=found.model_copy(update={"critical": critical})), "recognizers"
    )
    assert row.verdict == PARTLY


@pytest.mark.parametrize(("between", "verdict"), [(0.1, HELD), (0.19, PARTLY), (0.3, NOT_HELD)])
def test_layers_differ_where_they_diverge_more_than_recognizers(summary, between, verdict):
    found = summary.get(AgreementFigures)
    assert found is not None
    changed_one = found.model_copy(update={"divergence": e(between)})
    assert claim(of_study(summary, agreement=changed_one), "layers").verdict == verdict


def test_masks_transfer_where_they_beat_random_ones(summary):
    found = summary.get(TransferFigures)
    assert found is not None
    row = claim(summary, "masks")
    assert row.verdict == PARTLY
    assert row.reason.endswith("for 2 of 3 recognizers")
    none = found.model_copy(update={"targets": {}})
    assert claim(of_study(summary, transfer=none), "masks").verdict == NOT_MEASURED


def one_gap(first: str, second: str, p_adjusted: float, matched_p: float) -> GroupFigures:
    row = groups().columns["gender"].gaps[0]
    matched = row.matched.model_copy(update={"d": 0.2, "p": 0.001, "p_adjusted": matched_p})
    gap = row.model_copy(
        update={
            "first": first,
            "second": second,
            "d": 0.3,
            "p": 0.001,
            "p_adjusted": p_adjusted,
            "matched": matched,
        }
    )
    column = groups().columns["gender"].model_copy(update={"gaps": [gap]})
    return GroupFigures(columns={"gender": column})


@pytest.mark.parametrize(
    ("first", "p_adjusted", "verdict", "d"),
    [
        ("female", 0.01, HELD, "d 0.30"),
        ("male", 0.01, NOT_HELD, "d -0.30"),
        ("female", 0.06, NOT_HELD, "d 0.30"),
    ],
)
def test_a_gap_counts_for_whom_it_is_larger_and_by_its_corrected_p(
    summary, first, p_adjusted, verdict, d
):
    second = {"female": "male", "male": "female"}[first]
    row = claim(
        of_study(summary, groups=one_gap(first, second, p_adjusted, 0.2)), "occlusion is more"
    )
    assert (row.verdict, row.here) == (verdict, d)
    assert "matched on pose for 0," in row.reason
    held = claim(of_study(summary, groups=one_gap("female", "male", 0.2, 0.04)), "occlusion is")
    assert "matched on pose for 1, d 0.20" in held.reason

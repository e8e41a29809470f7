"""What the report says about the paper's claims follows from a study's figures."""

from __future__ import annotations

import pytest

from handmade import changed, e, groups, make_summary, of_study, without
from leam.metrics.statistics import Estimate
from leam.report.claims import Row, paper_claims
from leam.results.figures import PairedDifference
from leam.results.summary import Summary
from leam.study.plan import Settings
from leam.study.stages.agreement import AgreementFigures
from leam.study.stages.effect import EffectFigures
from leam.study.stages.groups import GroupFigures
from leam.study.stages.regions import RegionFigures
from leam.study.stages.specificity import SpecificityFigures
from leam.study.stages.transfer import TransferFigures


@pytest.fixture
def summary() -> Summary:
    return make_summary(Settings())


FAMILIES = {"alpha": "one", "beta": "one", "gamma": "two"}


def claim(summary: Summary, beginning: str, families: dict[str, str] = FAMILIES) -> Row:
    (row,) = [row for row in paper_claims(summary, families) if row.claim.startswith(beginning)]
    return row


def margin(mean: float, low: float, high: float, n: int = 30) -> PairedDifference:
    return PairedDifference(difference=Estimate(mean, low, high, n), p=None, d=None)


ABOVE, BELOW, AROUND = margin(0.2, 0.1, 0.3), margin(-0.2, -0.3, -0.1), margin(0, -0.1, 0.1)


def with_margins(summary: Summary, *margins: dict[str, PairedDifference]) -> Summary:
    """The summary with these margins of the similarity drop, by recognizer and control."""
    return changed(
        summary,
        "occlusion",
        lambda figures, place: figures.model_copy(update={"margins": margins[place]}),
    )


@pytest.mark.parametrize(
    ("margins", "verdict", "counts"),
    [
        ((ABOVE, ABOVE, ABOVE), "supported", "3 of 3 recognizers, 2 of 2 families"),
        # A family has the verdict of most of its members, and two families that differ have no majority.
        ((ABOVE, ABOVE, AROUND), "inconclusive (n = 30)", "2 of 3 recognizers, 1 of 2 families"),
        ((ABOVE, AROUND, ABOVE), "inconclusive (n = 30)", "2 of 3 recognizers, 1 of 2 families"),
        ((BELOW, BELOW, BELOW), "not supported", "0 of 3 recognizers, 0 of 2 families"),
    ],
)
def test_a_claim_has_the_verdict_of_most_families(summary, margins, verdict, counts):
    found = with_margins(summary, *({"edges": one} for one in margins))
    row = claim(found, "similarity drop, most")
    assert (row.verdict, row.here) == (
        verdict,
        "0.1000 – 0.1330 (cosine); 0.1660 (Euclidean distance)",
    )
    assert row.reason.startswith(f"supported on {counts}; ")


def test_unrelated_recognizers_are_families_of_their_own(summary):
    found = with_margins(summary, {"edges": ABOVE}, {"edges": ABOVE}, {"edges": BELOW})
    row = claim(found, "similarity drop, most", {})
    assert (row.verdict, row.reason[:52]) == (
        "supported",
        "supported on 2 of 3 recognizers, 2 of 3 families; 2.",
    )


def test_the_strongest_control_stands_beside_a_claim(summary):
    margins = {"scattered": ABOVE, "edges": AROUND, "population": BELOW, "other_person": BELOW}
    row = claim(with_margins(summary, margins, margins, margins), "similarity drop, most")
    # Masks of the same method on other faces are no controls of this claim.
    assert (row.control, row.verdict) == (
        "edges: 0.0000 (cosine); 0.0000 (Euclidean distance)",
        "inconclusive (n = 30)",
    )
    both = with_margins(summary, {"edges": AROUND}, {"edges": ABOVE}, {"centre": BELOW})
    assert claim(both, "similarity drop, most").control == (
        "edges (2), centre (1): 0.0000 – 0.2000 (cosine); -0.2000 (Euclidean distance)"
    )


def test_without_a_control_nothing_is_concluded(summary):
    row = claim(with_margins(summary, {}, {}, {}), "similarity drop, most")
    assert (row.control, row.verdict) == ("none measured", "inconclusive (n = 0)")
    bare = summary.model_copy(update={"figures": {}})
    for beginning in ("layers", "recognizers", "masks of one", "occlusion"):
        row = claim(bare, beginning)
        assert (row.control, row.verdict) == ("none measured", "inconclusive (n = 0)")
        assert not row.reason.startswith("supported")
    bare = changed(bare, "regions", lambda *_: RegionFigures(regions={}))
    assert claim(bare, "nose").here == "–"
    assert claim(bare, "nose").verdict == "inconclusive (n = 0)"


@pytest.mark.parametrize(
    ("edges", "verdict"),
    [
        ((0.02, 0.01, 0.03), "supported"),
        ((0.01, 0.0, 0.02), "inconclusive (n = 30)"),
        ((-0.1, -0.2, -0.01), "not supported"),
    ],
)
def test_maps_of_persons_must_beat_those_of_edges(summary, edges, verdict):
    def change(figures: SpecificityFigures, _place: int) -> SpecificityFigures:
        differences = {"edges": Estimate(*edges, 30), "areas": e(0.3)}
        controls = {
            name: figures.controls[name].model_copy(update={"difference": one})
            for name, one in differences.items()
        }
        return figures.model_copy(update={"controls": controls})

    row = claim(changed(summary, "specificity", change), "bc of genuine")
    assert (row.verdict, row.control) == (verdict, f"edges: {edges[0]:.4f}")


def test_the_effect_of_person_maps_is_that_of_the_most_pictures(summary):
    row = claim(summary, "masks are specific", {})
    assert "other pictures in each mask: 3;" in row.reason
    assert row.control == "other: 2.1000 – 2.1330 (cosine); 2.1660 (Euclidean distance)"
    fewer = changed(
        summary,
        "person_maps",
        lambda figures, _: figures.model_copy(
            update={
                "counts": {
                    count: one.model_copy(update={"people": 9 if count == "3" else 20})
                    for count, one in figures.counts.items()
                }
            }
        ),
    )
    assert "other pictures in each mask: 1;" in claim(fewer, "masks are specific", {}).reason


def test_the_effect_on_a_persons_other_picture_is_compared_with_three_controls(summary):
    summary = without(summary, "person_maps")

    def change(figures: EffectFigures, place: int) -> EffectFigures:
        fill = figures.fills["mean"]
        drops = {
            "other_picture_other_person": e(0.3),
            "other_picture_population": e(0.2 if place else 0.01),
            "other_picture_beyond_edges": e(0.4),
        }
        contrasts = {
            name: one.model_copy(update={"drop": drops.get(name, one.drop)})
            for name, one in fill.contrasts.items()
        }
        for name in drops.keys() - contrasts.keys():
            contrasts[name] = EffectFigures.Contrast(
                drop=drops[name], p=None, d=e(0), per_energy=e(0)
            )
        changed_one = fill.model_copy(update={"contrasts": contrasts})
        return figures.model_copy(update={"fills": {"mean": changed_one}})

    row = claim(changed(summary, "effect", change), "masks are specific", {})
    assert (row.control, row.verdict) == (
        "population: 0.0100 – 0.2000 (cosine); 0.2000 (Euclidean distance)",
        "supported",
    )
    assert row.reason.startswith("supported on 2 of 3 recognizers, 2 of 3 families; ")


def test_a_nose_counts_beyond_its_area_and_edges(summary):
    def nose(figures: RegionFigures, _place: int) -> RegionFigures:
        one = figures.regions["nose"].model_copy(
            update={"share": e(0.2), "margins": {"area": e(0.3), "edges": e(0.04)}}
        )
        return RegionFigures(regions={"nose": one})

    row = claim(changed(summary, "regions", nose), "nose")
    assert (row.here, row.control, row.verdict) == (
        "20.0",
        "edges: 0.0400",
        "inconclusive (n = 12)",
    )
    assert row.reason.endswith("within the paper's range for 3 of 3 recognizers")


def test_recognizers_of_other_families_agree_more_than_random_masks(summary):
    found = summary.get(AgreementFigures)
    assert found is not None
    critical = [[e(0.9)] * 3 for _ in range(3)]
    # Of one family: does not count.
    critical[0][1] = critical[1][0] = e(0.0)
    same = of_study(summary, agreement=found.model_copy(update={"critical": critical}))
    row = claim(same, "recognizers")
    assert (row.verdict, row.control) == ("supported", "random masks: 0.8900")
    assert claim(same, "recognizers", {}).verdict == "inconclusive (n = 12)"
    low = [[Estimate(0.2, 0.01, 0.3, 12)] * 3 for _ in range(3)]
    same = of_study(summary, agreement=found.model_copy(update={"critical": low}))
    assert claim(same, "recognizers").verdict == "inconclusive (n = 12)"


@pytest.mark.parametrize(
    ("one", "verdict"),
    [(ABOVE, "supported"), (AROUND, "inconclusive (n = 30)"), (BELOW, "not supported")],
)
def test_layers_are_compared_with_layers_of_other_recognizers(summary, one, verdict):
    found = summary.get(AgreementFigures)
    assert found is not None
    layers = {n: d.model_copy(update={"margin": one}) for n, d in found.layers_of.items()}
    row = claim(
        of_study(summary, agreement=found.model_copy(update={"layers_of": layers})), "layers"
    )
    assert row.verdict == verdict
    assert "diverge by 0.200 bits" in row.reason
    assert "same relative depth by 0.210, at different depths by 0.220" in row.reason


def test_masks_transfer_where_they_beat_random_ones(summary):
    found = summary.get(TransferFigures)
    assert found is not None
    row = claim(summary, "masks of one")
    assert row.verdict == "inconclusive (n = 12)"
    assert row.reason.startswith("supported on 2 of 3 recognizers, 1 of 2 families")
    none = found.model_copy(update={"targets": {}})
    assert claim(of_study(summary, transfer=none), "masks of one").verdict == "inconclusive (n = 0)"


def one_gap(first: str, second: str, plain: Estimate, matched: Estimate) -> GroupFigures:
    row = groups().columns["gender"].gaps[0]
    by_pose = row.matched.model_copy(update={"d": 0.2, "difference": matched})
    changes = {"first": first, "second": second, "d": 0.3, "difference": plain, "matched": by_pose}
    column = (
        groups().columns["gender"].model_copy(update={"gaps": [row.model_copy(update=changes)]})
    )
    return GroupFigures(columns={"gender": column})


@pytest.mark.parametrize(
    ("first", "plain", "matched", "verdict", "control"),
    [
        ("female", (0.3, 0.1, 0.5), (0.2, 0.1, 0.3), "supported", "matched on pose: 0.2000"),
        ("female", (0.3, 0.1, 0.5), (0.2, -0.1, 0.5), "inconclusive (n = 25)", "matched on pose: 0.2000"),
        ("male", (0.3, 0.1, 0.5), (0.2, 0.1, 0.3), "not supported", "all people: -0.3000"),
    ],
)  # fmt: skip
def test_a_gap_must_remain_among_matched_people(summary, first, plain, matched, verdict, control):
    second = {"female": "male", "male": "female"}[first]
    figures = one_gap(first, second, Estimate(*plain, 60), Estimate(*matched, 25))
    row = claim(of_study(summary, groups=figures), "occlusion is more")
    assert (row.verdict, row.control) == (verdict, control)
    assert row.here == ("d 0.30" if first == "female" else "d -0.30")
    assert "(pairs: 25), in the same unit; 3 pairs remain" in row.reason


def test_the_drop_is_claimed_under_each_other_fill(summary):
    rows = [row for row in paper_claims(summary, FAMILIES) if "under the fill" in row.claim]
    assert [row.claim.rpartition(" ")[2] for row in rows] == ["mean", "blur"]
    assert [row.verdict for row in rows] == ["supported", "not supported"]
    assert all(row.control.startswith("moved: ") for row in rows)
    same = make_summary(Settings(fill="blur"))
    assert [row.claim for row in paper_claims(same, FAMILIES) if "under the fill" in row.claim] == [
        rows[0].claim
    ]


def test_maps_of_others_are_no_controls_of_the_drop_under_a_fill(summary):
    def change(figures, _):
        return figures.model_copy(
            update={"margins": {"mean": {"population": e(-1), "moved": e(1)}}}
        )

    (row,) = [
        row
        for row in paper_claims(changed(summary, "curves", change), FAMILIES)
        if "under the fill" in row.claim
    ]
    assert row.verdict == "supported"

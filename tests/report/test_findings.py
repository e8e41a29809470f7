"""The sentences on a study follow from its figures, with the verdicts of the claims."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pytest

from handmade import changed, e, make_summary, of_study, without
from leam.metrics.statistics import Estimate
from leam.report.claims import paper_claims
from leam.report.findings import study_findings
from leam.report.page import render_report
from leam.report.parts import Finding, Findings
from leam.results.figures import PairedDifference
from leam.results.summary import Failure, Summary
from leam.study.audit import AuditFinding
from leam.study.plan import Settings
from leam.study.stages.agreement import AgreementFigures
from leam.study.stages.regions import RegionFigures

ABOVE, BELOW, AROUND = (
    Estimate(0.2, 0.1, 0.3, 30),
    Estimate(-0.2, -0.3, -0.1, 30),
    Estimate(0, -0.1, 0.1, 30),
)
VERDICTS = {"supported": ABOVE, "not supported": BELOW, "inconclusive (n = 30)": AROUND}


@pytest.fixture
def summary() -> Summary:
    return make_summary(Settings())


@pytest.fixture
def found(plan):
    """The findings on a summary."""

    def study(summary: Summary, **settings: object) -> Findings:
        changed_plan = plan.model_copy(
            update={"settings": plan.settings.model_copy(update=settings)}
        )
        stated = summary.model_copy(update={"settings": {**summary.settings, **settings}})
        return study_findings(changed_plan, stated)

    return study


def on(found: Findings, section: str) -> Finding:
    (one,) = [one for one in found.said if one.section == section]
    return one


def only(summary: Summary, *names: str) -> Summary:
    return summary.model_copy(update={"recognizers": {n: summary.recognizers[n] for n in names}})


def regions(*of_recognizers: Mapping[str, float]) -> Any:
    """A change that gives each recognizer these shares of regions with an area of 0.04, above every control."""

    def change(_figures: RegionFigures, place: int) -> RegionFigures:
        one = {
            region: RegionFigures.Region(
                share=e(share), area=e(0.04), mass=e(0.1), density=e(1), edges=e(0.02 + place / 100),
                random_weights=e(0.01), margins={"edges": ABOVE, "area": Estimate(0.4, 0.3, 0.5, 30)},
            )
            for region, share in of_recognizers[place].items()
        }  # fmt: skip
        return RegionFigures(regions=one)

    return change


NOSES = ({"nose": 0.5, "eyes": 0.1}, {"nose": 0.4, "eyes": 0.3}, {"nose": 0.2, "eyes": 0.3})


def test_the_region_that_most_recognizers_rely_on(summary, found):
    one = on(found(changed(summary, "regions", regions(*NOSES))), "regions")
    assert asdict(one) == {
        "text": "2 of 3 recognizers rely most on the nose: 20 – 50 % of the critical pixels on 4.0 % of the area; "
        "control edges: 2.0 – 4.0 %.",
        "section": "regions",
        "verdict": "supported",
        "n": 30,
        "control": "margin over the strongest control: edges: 0.2000",
        "counts": "supported on 3 of 3 recognizers, 3 of 3 families",
    }
    all_of_them = on(found(changed(summary, "regions", regions(*NOSES[:2], NOSES[0]))), "regions")
    assert all_of_them.text.startswith("All three recognizers rely most on the nose: 40 – 50 % ")


def test_few_recognizers_are_named_in_words(summary, found):
    few = changed(summary, "regions", regions(*NOSES))
    both = on(found(only(few, "alpha", "beta")), "regions")
    assert both.text.startswith("Both recognizers rely most on the nose: 40 – 50 % ")
    single = on(found(only(few, "alpha")), "regions")
    assert single.text.startswith("The recognizer alpha relies most on the nose: 50 % ")
    assert single.counts == ""


def test_recognizers_that_rely_on_different_regions(summary, found):
    different = regions({"nose": 0.5}, {"eyes": 0.3, "nose": 0.1}, {"lips": 0.2})
    one = on(found(changed(summary, "regions", different)), "regions")
    assert one.text.startswith(
        "Recognizers rely most on different regions, the nose (1), the eyes (1), the lips (1): 20 – 50 % of "
    )


def test_a_large_region_needs_more_than_its_area(summary, found):
    def change(figures: RegionFigures, place: int) -> RegionFigures:
        skin = figures.regions["nose"].model_copy(update={"share": e(0.5), "area": e(0.45)})
        return RegionFigures(regions={**figures.regions, "skin": skin})

    few = changed(changed(summary, "regions", regions(*NOSES)), "regions", change)
    assert " rely most on the nose: " in on(found(few), "regions").text


def test_a_region_without_share_or_area_is_nobodys_favourite(summary, found):
    def change(figures: RegionFigures, place: int) -> RegionFigures:
        unknown = figures.regions["nose"].model_copy(update={"share": e(None)})
        return RegionFigures(regions={"ears": unknown, **figures.regions})

    assert (
        " the nose: "
        in on(
            found(changed(changed(summary, "regions", regions(*NOSES)), "regions", change)),
            "regions",
        ).text
    )


def judged_as(summary: Summary, margin: Estimate) -> Summary:
    """The summary with this margin over every control of every claim."""
    by = PairedDifference(difference=margin, p=None, d=None)

    def of_regions(figures: RegionFigures, _place: int) -> RegionFigures:
        margins = {"edges": margin, "area": margin}
        return RegionFigures(
            regions={
                name: one.model_copy(update={"margins": margins})
                for name, one in figures.regions.items()
            }
        )

    def of_effect(figures: Any, _place: int) -> Any:
        contrast = next(iter(figures.fills["mean"].contrasts.values())).model_copy(
            update={"drop": margin}
        )
        names = (
            *figures.fills["mean"].contrasts,
            "other_picture_other_person",
            "other_picture_beyond_edges",
        )
        fill = figures.fills["mean"].model_copy(
            update={"contrasts": dict.fromkeys(names, contrast)}
        )
        return figures.model_copy(update={"fills": {"mean": fill}})

    summary = without(summary, "person_maps")
    for stage, change in (
        ("regions", of_regions),
        ("occlusion", lambda one, _: one.model_copy(update={"margins": {"edges": by}})),
        (
            "specificity",
            lambda one, _: one.model_copy(
                update={
                    "controls": {
                        n: c.model_copy(update={"difference": margin})
                        for n, c in one.controls.items()
                    }
                }
            ),
        ),
        ("effect", of_effect),
    ):
        summary = changed(summary, stage, change)
    agreement = summary.get(AgreementFigures)
    assert agreement is not None
    ends = [None if one is None else one + 0.01 for one in (margin.mean, margin.low, margin.high)]
    critical = [[Estimate(*ends, margin.n)] * 3 for _ in range(3)]
    layers = {
        name: one.model_copy(update={"margin": by}) for name, one in agreement.layers_of.items()
    }
    return of_study(
        summary, agreement=agreement.model_copy(update={"critical": critical, "layers_of": layers})
    )


BEGINNINGS = {
    "regions": (
        "All three recognizers rely most on the hat: ",
        "No more critical pixels lie in the hat than the control edges explains: ",
        "It is not clear whether more critical pixels lie in the hat than the controls explain: ",
    ),
    "occlusion": (
        "Hiding the critical pixels lowers the similarity more than hiding other pixels: by ",
        "Hiding the critical pixels lowers the similarity no more than hiding those of the control edges: by ",
        "It is not clear whether hiding the critical pixels lowers the similarity more than hiding other pixels: by ",
    ),
    "specificity": (
        "Critical masks tell people apart better than the controls: their ",
        "Critical masks tell people apart no better than the control edges: their ",
        "It is not clear whether critical masks tell people apart better than the controls: their ",
    ),
    "effect": (
        "A person's mask works better on another picture of the person than masks of others: hiding ",
        "A person's mask works no better on another picture of the person than the control other person: hiding ",
        "It is not clear whether a person's mask works better on another picture of the person than masks of others: ",
    ),
    "agreement": (
        "Recognizers agree on the critical pixels more than by chance: the bc ",
        "Recognizers agree on the critical pixels no more than by chance: the bc ",
        "It is not clear whether recognizers agree on the critical pixels more than by chance: the bc ",
    ),
    "layers": (
        "Layers of one recognizer differ more than layers of two recognizers: the ",
        "Layers of one recognizer differ no more than layers of two recognizers: the ",
        "It is not clear whether layers of one recognizer differ more than layers of two recognizers: the ",
    ),
}  # fmt: skip


@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("section", BEGINNINGS)
def test_the_words_follow_from_the_verdict(summary, found, section, place):
    verdict, margin = list(VERDICTS.items())[place]
    one = on(found(judged_as(summary, margin)), section)
    assert one.text.startswith(BEGINNINGS[section][place])
    assert (one.verdict, one.n) == (verdict, 30)


@pytest.mark.parametrize("margin", VERDICTS.values())
def test_no_finding_contradicts_the_claims(plan, summary, found, margin):
    """The same verdict, control and number of recognizers as in the table of claims."""
    summary = judged_as(summary, margin)
    rows = {row.claim: row for row in paper_claims(summary, {})}
    claims = {
        "occlusion": "similarity drop, most relevant 1 % hidden",
        "specificity": "bc of genuine pairs of maps, above that of impostor pairs",
        "effect": "masks are specific to the person, by their effect on new pictures",
        "agreement": "recognizers prioritise similar regions overall",
        "layers": "layers of a recognizer differ in focus, more than recognizers do",
    }
    for section, claim in claims.items():
        one, row = on(found(summary), section), rows[claim]
        said = f"margin over the strongest control: {row.control}".replace("_", " ")
        assert (one.verdict, one.control) == (row.verdict, said)
        assert row.reason.startswith(one.counts)
    nose = on(
        found(
            changed(
                summary,
                "regions",
                lambda one, _: RegionFigures(regions={"nose": one.regions["nose"]}),
            )
        ),
        "regions",
    )
    assert nose.verdict == rows["nose, % of the critical pixels"].verdict


def test_each_finding_leads_to_its_figures(folder, boxes, plan, summary):
    found = study_findings(plan, make_summary(plan.settings))
    assert [one.section for one in found.said] == [
        "regions", "occlusion", "specificity", "person_maps", "agreement", "layers",
    ]  # fmt: skip
    assert {one.section for one in found.said} <= boxes.keys()
    page = (folder.path / "report.html").read_text()
    assert next(iter(boxes)) == "findings"
    for one in found.said:
        assert f'href="#{one.section}"' in page
        assert one.text in boxes["findings"].texts


def test_the_figures_of_the_sentences(plan, boxes):
    found = study_findings(plan, make_summary(plan.settings))
    assert [one.text for one in found.said] == [
        (
            "It is not clear whether more critical pixels lie in the hat than the controls explain: "
            "30 – 37 % of the critical pixels on 7.5 – 9.2 % of the area; control edges: 6.0 – 7.3 %."
        ),
        (
            "Hiding the critical pixels lowers the similarity more than hiding other pixels: by 0.100"
            " – 0.133 (cosine); 0.166 (Euclidean distance), for 2 % of the pixels and the fill mean; "
            "control scattered: 0.050 – 0.067 (cosine); 0.083 (Euclidean distance). The same under "
            "other fills: blur not supported."
        ),
        (
            "It is not clear whether critical masks tell people apart better than the controls: their"
            " Bhattacharyya coefficient (bc) is 0.12 – 0.19 for two pictures of one person and 0.11 –"
            " 0.18 for two people, AUC 0.60 – 0.67; control edges: AUC 0.40 – 0.47."
        ),
        (
            "A person's mask works better on another picture of the person than masks of others: "
            "hiding its pixels lowers the similarity by 2.200 – 2.233 (cosine); 2.266 (Euclidean "
            "distance), under the fill mean."
        ),
        (
            "Recognizers agree on the critical pixels more than by chance: the bc of the critical "
            "masks of two recognizers is 0.12 – 0.23, 1 for equal masks and 0.02 for random ones; that of two people "
            "by one recognizer is 0.11 – 0.18."
        ),
        (
            "It is not clear whether layers of one recognizer differ more than layers of two "
            "recognizers: the regions of two layers of one recognizer diverge by 0.200 bits, those of"
            " two recognizers at the same depth by 0.210 bits."
        ),
    ]
    assert found.unsaid == [
        (
            "How stable maps are: no control was measured; the rank correlation with the map of the "
            "mirrored picture is 0.70 – 0.77."
        ),
        "delta failed, and nothing is said about it.",
    ]
    said = [text for text in boxes["findings"].texts if text == "What could not be said"]
    assert said


def test_what_was_not_measured_is_not_judged(summary, found):
    quick = summary
    for stage in ("effect", "person_maps", "stability", "curves"):
        quick = without(quick, stage)
    quick = only(quick, "alpha").model_copy(update={"figures": {}, "failed": []})
    few = found(quick)
    assert [one.section for one in few.said] == ["regions", "occlusion", "specificity"]
    assert few.unsaid == [
        (
            "Whether a person's mask works better on another picture of the person than masks of "
            "others and how stable maps are: not measured (``--preset paper`` measures it)."
        ),
        (
            "Whether recognizers agree on the critical pixels more than by chance and whether layers "
            "of one recognizer differ more than layers of two recognizers: needs several recognizers."
        ),
    ]


def test_nothing_at_all_was_measured(summary, found):
    bare = summary
    for stage in next(iter(summary.recognizers.values())).figures:
        bare = without(bare, stage)
    nothing = found(bare.model_copy(update={"figures": {}}))
    assert nothing.said == []
    assert (
        "Whether more critical pixels lie in the region that a recognizer relies on most than"
        in nothing.unsaid[0]
    )
    assert nothing.unsaid[0].endswith("tell people apart better than the controls: not measured.")


def test_a_claim_without_control_is_not_judged(summary, found):
    bare = changed(summary, "occlusion", lambda one, _: one.model_copy(update={"margins": {}}))
    assert "occlusion" not in [one.section for one in found(bare).said]
    (line,) = [one for one in found(bare).unsaid if "hiding" in one]
    assert line.endswith("more than hiding other pixels: no control was measured.")


def test_other_methods_have_no_layers(summary, found):
    agreement = summary.get(AgreementFigures)
    assert agreement is not None
    flat = of_study(summary, agreement=agreement.model_copy(update={"layers_of": {}}))
    (line,) = [one for one in found(flat, method="corrrise").unsaid if "layers" in one]
    assert line.endswith("layers of two recognizers: the method corrrise has no layer maps.")


def test_recognizers_of_one_family_say_nothing_on_agreement(plan, summary):
    cards = [one.card.model_copy(update={"family": "one"}) for one in plan.models]
    kin = plan.model_copy(
        update={
            "models": tuple(
                m.model_copy(update={"card": c}) for m, c in zip(plan.models, cards, strict=True)
            )
        }
    )
    (line,) = [one for one in study_findings(kin, summary).unsaid if "agree" in one]
    assert line.endswith("more than by chance: needs recognizers of several families.")


@pytest.mark.parametrize(
    ("people", "expected"),
    [
        (1, "1 person is too few for a conclusion: every verdict needs at least 10."),
        (9, "9 people are too few for a conclusion: every verdict needs at least 10."),
        (10, None),
    ],
)
def test_few_people_give_no_conclusion(summary, found, people, expected):
    few = judged_as(summary, Estimate(0.2, 0.1, 0.3, people)).model_copy(update={"people": people})
    lines = found(few)
    word = f"inconclusive (n = {people})" if people < 10 else "supported"
    assert {one.verdict for one in lines.said} == {word}
    assert {one.n for one in lines.said} == {people}
    assert [line for line in lines.unsaid if "too few" in line] == ([expected] if expected else [])


def test_recognizers_that_failed_are_named(summary, found):
    failed = [Failure(recognizer=name, reason="/secret/place") for name in ("delta", "epsilon")]
    lines = found(summary.model_copy(update={"failed": failed})).unsaid
    assert lines[-1] == "delta and epsilon failed, and nothing is said about them."
    assert found(summary.model_copy(update={"failed": []})).unsaid[-1].startswith("How stable")


@pytest.mark.usefixtures("_without_charts")
def test_the_findings_without_faces_are_the_same_and_name_nobody(folder, boxes, plan):
    page = render_report(folder, faces=False).read_text()
    (section,) = re.findall(r'<section id="findings">.*?</section>', page, re.DOTALL)
    for one in study_findings(plan, make_summary(plan.settings)).said:
        assert one.text.replace("'", "&#39;") in section
    assert not any(image.image in section or image.path in section for image in plan.images)


def test_the_findings_of_an_audit(summary, plan, monkeypatch):
    audited = [
        AuditFinding("alpha: 1 % match falsely.", "error_rates", "", 43),
        AuditFinding("alpha: women differ.", "error_reasons", "supported", 50),
        AuditFinding("alpha: nothing can be said.", "error_rates", "inconclusive (n = 3)", 3),
    ]
    monkeypatch.setattr("leam.report.findings.audit_findings", lambda _: audited)
    audit = plan.model_copy(update={"settings": plan.settings.model_copy(update={"audit": True})})
    found = study_findings(audit, summary)
    assert [(one.text, one.section, one.verdict, one.n) for one in found.said] == audited
    assert [one.control for one in found.said] == ["", "tested against exchanged group labels", ""]
    assert found.unsaid == ["delta failed, and nothing is said about it."]

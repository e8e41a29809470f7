"""What a study found, in a few sentences that follow from its figures by fixed rules.

Verdicts, controls and numbers of people are those of :mod:`leam.report.claims`. The words follow from the verdict: a
claim is stated if it is *supported*, denied if it is *not supported*, and called unclear otherwise. A claim that was
not measured, or has no control, is listed among what could not be said.

The region that a recognizer relies on most is the one whose share of the critical pixels exceeds its share of the
picture by the largest amount. The figures choose it, so the interval of its margin is somewhat optimistic.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from leam.explain.methods import LEAM
from leam.metrics.statistics import FEWEST, Estimate
from leam.report.claims import (
    PERSON_FILL,
    Margins,
    agreement_margins,
    by_unit,
    drop_margins,
    families_of,
    fill_margins,
    judged,
    layer_margins,
    mask_agreements,
    means,
    other_fills,
    person_effects,
    person_margins,
    region_margins,
    span,
    specificity_margins,
    units_of,
)
from leam.report.parts import Finding, Findings, listed, plain
from leam.results.summary import Summary
from leam.study.audit import audit_findings, overall_findings
from leam.study.plan import Plan
from leam.study.stages.agreement import AgreementFigures
from leam.study.stages.occlusion import OcclusionFigures
from leam.study.stages.regions import RegionFigures
from leam.study.stages.specificity import SpecificityFigures
from leam.study.stages.stability import StabilityFigures

_WORDS = (
    "one", "two", "three", "four", "five", "six",
    "seven", "eight", "nine", "ten", "eleven", "twelve",
)  # fmt: skip
_SEVERAL = "needs several recognizers"
_PAPER = "not measured (``--preset paper`` measures it)"
_NOT_MEASURED = "not measured"
_NO_CONTROL = "no control was measured"
# Controls of the shares of regions that have figures of their own; the area is part of the sentence.
_REGION_CONTROLS = ("edges", "random_weights")


@dataclass(frozen=True)
class _Claim:
    """A claim that a study may be able to judge.

    Attributes:
        claim: The claim, after "whether".
        supported: How the sentence begins if the claim is supported.
        denied: How it begins if the claim is not supported; ``{control}`` stands for the strongest control.
        figures: How the sentence ends.
        section: Name of the section that shows the figures.
        margins: The margins over the controls, by recognizer.
        reason: Why it cannot be judged if there are no margins.
        controls: The figures of controls, by control.
        more: A further sentence.
        similarities: The margins are similarities, whose unit depends on the recognizer.
    """

    claim: str
    supported: str
    denied: str
    figures: str
    section: str
    margins: Margins
    reason: str
    controls: Mapping[str, str] = field(default_factory=dict)
    more: str = ""
    similarities: bool = False


def study_findings(plan: Plan, summary: Summary) -> Findings:
    """What a study or an audit found, and what it could not say.

    Args:
        plan: The plan, with or without the recognizers that failed.
        summary: Its summary.
    """
    if plan.settings.audit:
        return Findings(list(_audited(summary)), list(_failed(summary)))
    families, said, unsaid = families_of(plan), [], dict[str, list[str]]()
    for claim in _claims(summary, families):
        if (finding := _finding(claim, families, units_of(summary))) is not None:
            said.append(finding)
        else:
            unsaid.setdefault(claim.reason, []).append(f"whether {claim.claim}")
    unsaid.setdefault(_stability(summary), []).append("how stable maps are")
    reasons = [_sentence(f"{listed(claims)}: {reason}") for reason, claims in unsaid.items()]
    return Findings(said, [*_few(summary), *reasons, *_untrained(summary), *_failed(summary)])


def _claims(summary: Summary, families: Mapping[str, str]) -> Iterator[_Claim]:
    """The claims, the most important first."""
    yield _region(summary)
    yield _hiding(summary, families)
    yield _overlap(summary)
    yield _effect(summary)
    yield _agreement(summary, families)
    yield _layers(summary)


def _finding(
    claim: _Claim, families: Mapping[str, str], units: Mapping[str, str]
) -> Finding | None:
    """A claim with its verdict; None if no control was measured."""
    found = judged(claim.margins, families, units if claim.similarities else None)
    if found.strongest is None:
        return None
    control, figures = found.strongest.replace("_", " "), claim.figures
    if found.strongest in claim.controls:
        figures += f"; control {control}: {claim.controls[found.strongest]}"
    beginning = {
        "supported": claim.supported,
        "not supported": claim.denied.format(control=control),
        "inconclusive": f"it is not clear whether {claim.claim}",
    }[found.tally.word]
    return Finding(
        _sentence(f"{beginning}: {figures}") + claim.more,
        claim.section,
        str(found.tally),
        found.tally.n,
        f"margin over the strongest control: {found.control.replace('_', ' ')}",
        found.counts if found.tally.recognizers > 1 else "",
    )


def _region(summary: Summary) -> _Claim:
    figures = summary.each(RegionFigures)
    favourites = {name: region for name, one in figures.items() if (region := _favourite(one))}
    counts = Counter(favourites.values()).most_common()
    region, count = counts[0] if counts else ("", 0)
    if 2 * count > len(favourites):
        where, beginning = f"the {region}", f"{_rely(count, list(favourites))} most on the {region}"
        margins = region_margins(summary, region)
        chosen = [figures[name].regions[region] for name in margins]
    else:
        named = ", ".join(f"the {name} ({times})" for name, times in counts)
        where = "the region that a recognizer relies on most"
        beginning = f"recognizers rely most on different regions, {named}"
        margins = {name: figures[name].regions[one].margins for name, one in favourites.items()}
        chosen = [figures[name].regions[one] for name, one in favourites.items()]
    return _Claim(
        claim=f"more critical pixels lie in {where} than the controls explain",
        supported=beginning,
        denied=f"no more critical pixels lie in {where} than the control {{control}} explains",
        figures=f"{_percents(one.share for one in chosen)} of the critical pixels on "
        f"{_percents(one.area for one in chosen)} of the area",
        section="regions",
        margins=margins,
        reason=_NO_CONTROL if figures else _NOT_MEASURED,
        controls={
            name: _percents(getattr(one, name) for one in chosen) for name in _REGION_CONTROLS
        },
    )


def _untrained(summary: Summary) -> Iterator[str]:
    """That the shares of regions were not compared with those of random weights."""
    regions = [
        one for found in summary.each(RegionFigures).values() for one in found.regions.values()
    ]
    if regions and not means(one.random_weights for one in regions):
        yield f"Whether regions are favoured by what was learnt: the control with random weights was {_PAPER}."


def _favourite(found: RegionFigures) -> str | None:
    """The region whose share of the critical pixels exceeds its area by the largest amount."""
    excess = {
        name: one.share.mean - one.area.mean
        for name, one in found.regions.items()
        if one.share.mean is not None and one.area.mean is not None
    }
    return max(excess, key=lambda name: excess[name], default=None)


def _hiding(summary: Summary, families: Mapping[str, str]) -> _Claim:
    figures, units, settings = (
        summary.each(OcclusionFigures), units_of(summary), summary.settings
    )  # fmt: skip
    drops = by_unit({name: one.drop for name, one in figures.items()}, units, 3)
    controls = dict.fromkeys(control for one in figures.values() for control in one.controls)
    fills = [
        f"{fill} {judged(fill_margins(summary, fill), families).tally}"
        for fill in other_fills(summary)
    ]
    return _Claim(
        claim="hiding the critical pixels lowers the similarity more than hiding other pixels",
        supported="hiding the critical pixels lowers the similarity more than hiding other pixels",
        denied="hiding the critical pixels lowers the similarity no more than hiding those of the control {control}",
        figures=f"by {drops}, for {100 * settings['top']:g} % of the pixels and the fill {settings['fill']}",
        section="occlusion",
        margins=drop_margins(summary),
        reason=_NO_CONTROL if figures else _NOT_MEASURED,
        controls={
            control: by_unit(
                {n: one.controls[control] for n, one in figures.items() if control in one.controls},
                units,
                3,
            )
            for control in controls
        },
        more=f" The same under other fills: {', '.join(fills)}." if fills else "",
        similarities=True,
    )


def _overlap(summary: Summary) -> _Claim:
    figures = summary.each(SpecificityFigures).values()
    found = [one.operands["critical"] for one in figures]
    controls = dict.fromkeys(control for one in figures for control in one.controls)
    return _Claim(
        claim="critical masks tell people apart better than the controls",
        supported="critical masks tell people apart better than the controls",
        denied="critical masks tell people apart no better than the control {control}",
        figures=f"their Bhattacharyya coefficient (bc) is {span(means(one.genuine for one in found))} for two pictures "
        f"of one person and {span(means(one.impostor for one in found))} for two people, AUC "
        f"{span(means(one.auc for one in found))}",
        section="specificity",
        margins=specificity_margins(summary),
        reason=_NO_CONTROL if figures else _NOT_MEASURED,
        controls={
            control: "AUC "
            + span(means(one.controls[control].auc for one in figures if control in one.controls))
            for control in controls
        },
    )


def _effect(summary: Summary) -> _Claim:
    found, units = person_effects(summary), units_of(summary)
    works = "a person's mask works better on another picture of the person than masks of others"
    drops = by_unit({name: one.drop for name, one in found.items()}, units, 3)
    measured = {one.stage for one in found.values()}
    return _Claim(
        claim=works,
        supported=works,
        denied="a person's mask works no better on another picture of the person than the control {control}",
        figures=f"hiding its pixels lowers the similarity by {drops}, under the fill {PERSON_FILL}",
        section=max(measured, default="effect"),
        margins=person_margins(summary),
        reason=_PAPER,
        similarities=True,
    )


def _agreement(summary: Summary, families: Mapping[str, str]) -> _Claim:
    found = summary.get(AgreementFigures)
    two = means(
        one.operands["critical"].impostor for one in summary.each(SpecificityFigures).values()
    )
    # Random masks are a weak control; this says what masks share without being of the same face.
    apart = f"; that of two people by one recognizer is {span(two)}" if two else ""
    return _Claim(
        claim="recognizers agree on the critical pixels more than by chance",
        supported="recognizers agree on the critical pixels more than by chance",
        denied="recognizers agree on the critical pixels no more than by chance",
        figures=f"the bc of the critical masks of two recognizers is {span(mask_agreements(summary))}, 1 for equal "
        f"masks and {summary.settings['top']:g} for random ones{apart}",
        section="agreement",
        margins=agreement_margins(summary, families),
        reason="needs recognizers of several families" if found else _SEVERAL,
    )


def _layers(summary: Summary) -> _Claim:
    found, method = summary.get(AgreementFigures), summary.settings["method"]
    within, between = (
        (found.layers.within.mean, found.layers.between.mean) if found else (None, None)
    )
    without = f"the method {method} has no layer maps"
    return _Claim(
        claim="layers of one recognizer differ more than layers of two recognizers",
        supported="layers of one recognizer differ more than layers of two recognizers",
        denied="layers of one recognizer differ no more than layers of two recognizers",
        figures=f"the regions of two layers of one recognizer diverge by {plain(within, 3)} bits, those of two "
        f"recognizers at the same depth by {plain(between, 3)} bits",
        section="layers",
        margins=layer_margins(summary),
        reason=without if method != LEAM else _SEVERAL,
    )


def _stability(summary: Summary) -> str:
    """Why nothing is concluded on stability: it has no control."""
    found = means(one.flip_consistency for one in summary.each(StabilityFigures).values())
    if not found:
        return _PAPER
    return (
        f"{_NO_CONTROL}; the rank correlation with the map of the mirrored picture is {span(found)}"
    )


def _few(summary: Summary) -> Iterator[str]:
    if summary.people < FEWEST:
        people = "1 person is" if summary.people == 1 else f"{summary.people} people are"
        yield f"{people} too few for a conclusion: every verdict needs at least {FEWEST}."


def _failed(summary: Summary) -> Iterator[str]:
    if summary.failed:
        names = [one.recognizer for one in summary.failed]
        yield f"{listed(names)} failed, and nothing is said about {'it' if len(names) == 1 else 'them'}."


def _audited(summary: Summary) -> Iterator[Finding]:
    """The findings of an audit, whose gaps are compared with those of exchanged group labels.

    For several recognizers, these are what they have in common; ``audit.json`` has those of each.
    """
    for one in list(overall_findings(summary)) or audit_findings(summary):
        control = "tested against exchanged group labels" if one.verdict == "supported" else ""
        yield Finding(one.text, one.stage, one.verdict, one.n, control)


def _rely(count: int, names: list[str]) -> str:
    """Who relies: the recognizer, or how many of them."""
    total = len(names)
    if total == 1:
        return f"the recognizer {names[0]} relies"
    if count < total:
        return f"{count} of {total} recognizers rely"
    if total == 2:  # noqa: PLR2004
        return "both recognizers rely"
    return f"all {_WORDS[total - 1] if total <= len(_WORDS) else total} recognizers rely"


def _percents(found: Iterable[Estimate]) -> str:
    values = [100 * value for value in means(found)]
    return f"{span(values, 0 if max(values, default=0) >= 10 else 1)} %"  # noqa: PLR2004


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."

"""The document of an audit, ``audit.json``, in the order of reports of ISO/IEC 19795."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from leam.metrics.error_rates import RULE_OF_30
from leam.metrics.statistics import FEWEST, Estimate
from leam.results.figures import Model
from leam.results.summary import Summary, rounded
from leam.study.plan import Plan
from leam.study.stages.error_rates import ErrorRateFigures, conclusion
from leam.study.stages.error_reasons import ErrorReasonFigures, leading
from leam.study.stages.worst_comparisons import WorstFigures

AUDIT_VERSION = 1
"""Version of ``audit.json``; increased when a field changes its name or meaning."""

RATES = {"fmr": "false match rate", "fnmr": "false non-match rate"}
"""The error rates by field."""

SCOPE = (
    "This audit measures how often face recognizers decide wrongly on the pictures of one data set, for which groups "
    "of people, and which regions of the face carry the errors. It is a technology evaluation: it compares stored "
    "pictures, and says nothing of other pictures, cameras, people or uses. It does not state that a recognizer meets "
    "a law or a standard."
)


class AuditFinding(NamedTuple):
    """What an audit found.

    Attributes:
        text: A sentence.
        stage: The stage that measured it.
        verdict: *supported* for a gap that is shown, *inconclusive* for one that is not; empty for a measurement.
        n: Number of people.
    """

    text: str
    stage: str
    verdict: str
    n: int


class AuditData(Model):
    """The data of an audit."""

    source: str
    """The folder, table or list of pairs."""
    people: int
    """People with a usable picture; those with a single one are compared with others only."""
    pictures: int
    """Usable pictures."""
    exclusions: dict[str, int]
    """Pictures and files that were not used, by reason: failures to acquire and to enrol."""
    notes: list[str]
    """How the data set was read."""


class AuditedRecognizer(Model):
    """One recognizer."""

    licence: str | None
    """Licence of the weights, as its card states it."""
    sha256: str
    """SHA-256 of the weights."""
    similarity: str
    """``cosine``, or ``euclidean`` for the negative Euclidean distance."""
    rates: ErrorRateFigures
    """Error rates, overall and by group."""
    reasons: ErrorReasonFigures | None
    """Which regions carry the errors and the gaps."""
    worst: WorstFigures | None
    """The worst errors."""


class AuditDocument(Model):
    """An audit."""

    audit_version: int = AUDIT_VERSION
    """Version of the file format."""
    findings: list[str]
    """What was found, in sentences that follow from the figures by fixed rules."""
    scope: str
    """What is measured."""
    data: AuditData
    """The data."""
    protocol: list[str]
    """How comparisons were drawn and decided."""
    recognizers: dict[str, AuditedRecognizer]
    """The recognizers by name; those that failed are left out."""
    failed: dict[str, str]
    """Why each other recognizer failed."""
    limits: list[str]
    """What these numbers cannot say."""
    model_card: dict[str, str]
    """By recognizer: a section to paste into its model card (Markdown)."""
    versions: dict[str, str]
    """Versions of LEAM, Python and the packages that affect the figures."""
    settings: dict[str, object]
    """The settings, see ``run.json``."""

    def to_json(self) -> str:
        """The content of ``audit.json``."""
        return json.dumps(rounded(self.model_dump(mode="json")), indent=1, allow_nan=False)


def audit_of(plan: Plan, summary: Summary) -> AuditDocument:
    """The document of a finished audit.

    Args:
        plan: The plan.
        summary: Its summary.
    """
    rates = summary.each(ErrorRateFigures)
    return AuditDocument(
        findings=[one.text for one in (*overall_findings(summary), *audit_findings(summary))],
        scope=SCOPE,
        data=AuditData(
            source=plan.source,
            people=summary.people,
            pictures=summary.images,
            exclusions=dict(Counter(one.reason for one in summary.exclusions).most_common()),
            notes=summary.notes,
        ),
        protocol=list(_protocol(plan, rates)),
        recognizers={
            name: AuditedRecognizer(
                licence=plan.model(name).card.license,
                sha256=summary.recognizers[name].sha256,
                similarity=summary.recognizers[name].similarity,
                rates=one,
                reasons=summary.recognizers[name].get(ErrorReasonFigures),
                worst=summary.recognizers[name].get(WorstFigures),
            )
            for name, one in rates.items()
        },
        failed={one.recognizer: one.reason for one in summary.failed},
        limits=list(_limits(rates)),
        model_card={name: _model_card(name, one, plan) for name, one in rates.items()},
        versions=summary.versions,
        settings=summary.settings,
    )


def audit_findings(summary: Summary) -> Iterator[AuditFinding]:
    """All findings, by recognizer."""
    for name, rates in summary.each(ErrorRateFigures).items():
        one = summary.recognizers[name]
        yield from findings(name, rates, one.similarity)
        reasons = one.get(ErrorReasonFigures)
        for column, gaps in (reasons.columns if reasons else {}).items():
            if (gap := leading(gaps)) is not None:
                yield region_finding(name, column, gap)


def overall_findings(summary: Summary) -> Iterator[AuditFinding]:
    """What several recognizers have in common; nothing for one recognizer."""
    rates = summary.each(ErrorRateFigures)
    if len(rates) > 1:
        yield _range_finding(rates)
        for column in dict.fromkeys(name for one in rates.values() for name in one.columns):
            found = {
                name: one.columns[column] for name, one in rates.items() if column in one.columns
            }
            yield from _overall_gaps(column, found)
            yield from _small_groups(column, found)
            yield from _overall_regions(column, summary)


def _range_finding(rates: Mapping[str, ErrorRateFigures]) -> AuditFinding:
    points = {name: one.operating for name, one in rates.items()}
    parts = []
    for rate, label in RATES.items():
        means = {
            name: mean
            for name, one in points.items()
            if (mean := getattr(one, rate).mean) is not None
        }
        if means:
            least, most = min(means, key=means.__getitem__), max(means, key=means.__getitem__)
            parts.append(
                f"the {label} is {100 * means[least]:.3g} % ({least}) to {100 * means[most]:.3g} % ({most})"
            )
    people = max(one.people for one in rates.values())
    text = " and ".join(parts) or "no rate could be measured"
    return AuditFinding(
        f"At the thresholds of the {len(rates)} recognizers, {text}; {people} people.",
        "error_rates",
        "",
        people,
    )


def _overall_gaps(
    column: str, found: Mapping[str, ErrorRateFigures.Column]
) -> Iterator[AuditFinding]:
    """For each rate and two groups: for how many recognizers a gap is shown, and which way."""
    gaps: dict[tuple[str, str, str], list[ErrorRateFigures.Gap]] = {}
    for one in found.values():
        for gap in one.gaps:
            gaps.setdefault((gap.rate, gap.first, gap.second), []).append(gap)
    shown = False
    for (rate, first, second), several in gaps.items():
        higher = [one for one in several if conclusion(one) == f"more for {first}"]
        lower = [one for one in several if conclusion(one) == f"more for {second}"]
        if not higher and not lower:
            continue
        shown = True
        ratios = [one.ratio.mean for one in higher if one.ratio.mean is not None]
        times = f" ({min(ratios):.2g} to {max(ratios):.2g} times)" if ratios else ""
        rest = len(several) - len(higher) - len(lower)
        yield AuditFinding(
            f"The {RATES[rate]} of {first} is higher than that of {second} for {len(higher)} of {len(several)} "
            f"recognizers{times} and lower for {len(lower)}; for {rest} no difference is shown.",
            "error_rates",
            "supported",
            max(one.difference.n for one in several),
        )
    if gaps and not shown:
        people = sum(group.people for group in next(iter(found.values())).groups.values())
        yield AuditFinding(
            f"For none of the {len(found)} recognizers is a difference between the groups of {column} shown.",
            "error_rates",
            f"inconclusive (n = {people})",
            people,
        )


def _small_groups(
    column: str, found: Mapping[str, ErrorRateFigures.Column]
) -> Iterator[AuditFinding]:
    for value, people in {k: n for one in found.values() for k, n in one.too_few.items()}.items():
        yield AuditFinding(
            f"Nothing can be said about {column} {value} with these numbers (n = {people}, fewer than {FEWEST}).",
            "error_rates",
            f"inconclusive (n = {people})",
            people,
        )


def _overall_regions(column: str, summary: Summary) -> Iterator[AuditFinding]:
    """The regions whose contributions differ most between groups, with the number of recognizers."""
    reasons = summary.each(ErrorReasonFigures).values()
    gaps = [leading(one.columns[column]) for one in reasons if column in one.columns]
    named = [gap for gap in gaps if gap is not None]
    if named:
        regions = Counter(gap.region for gap in named).most_common()
        parts = ", ".join(f"{region} ({count})" for region, count in regions)
        yield AuditFinding(
            f"The region whose contribution differs most between the groups of {column}, with the number of "
            f"recognizers out of {len(gaps)}: {parts}.",
            "error_reasons",
            "supported",
            max(gap.difference.n for gap in named),
        )


def region_finding(name: str, column: str, gap: ErrorReasonFigures.Gap) -> AuditFinding:
    """Where two groups differ most in what a region contributes."""
    more = "more" if (gap.difference.mean or 0) > 0 else "less"
    return AuditFinding(
        f"{name}: between the groups of {column}, the region {gap.region} differs most: in {gap.comparisons} "
        f"comparisons of {gap.first} it contributes {more} to the similarity than in those of {gap.second} "
        f"(corrected p {gap.p_adjusted:.2g}, n = {gap.difference.n} people).",
        "error_reasons",
        "supported",
        gap.difference.n,
    )


def findings(name: str, found: ErrorRateFigures, similarity: str) -> Iterator[AuditFinding]:
    """What was found about one recognizer: its rates at the operating threshold, and the gaps that are shown.

    Args:
        name: Name of the recognizer.
        found: Its error rates.
        similarity: ``cosine`` or ``euclidean``.
    """

    def said(text: str, verdict: str, n: int) -> AuditFinding:
        return AuditFinding(f"{name}: {text}", "error_rates", verdict, n)

    point = found.operating
    yield said(
        f"at the threshold ({stated_threshold(point.threshold, similarity)}, {found.threshold_source}), "
        f"{_percent(point.fmr)} of the comparisons of different people match falsely, and {_percent(point.fnmr)} of "
        f"those of one person do not match ({found.people} people).",
        "",
        found.people,
    )
    for column, one in found.columns.items():
        shown = [gap for gap in one.gaps if conclusion(gap).startswith("more")]
        for gap in shown:
            ratio = f", {_number(gap.ratio)} times" if gap.ratio.mean is not None else ""
            yield said(
                f"the {RATES[gap.rate]} of {gap.first} differs from that of {gap.second} by "
                f"{_percent(gap.difference, signed=True)}{ratio} (corrected p {gap.p_adjusted:.3g}, "
                f"n = {gap.difference.n} people).",
                "supported",
                gap.difference.n,
            )
        if not shown and len(one.groups) > 1:
            people = sum(group.people for group in one.groups.values())
            yield said(
                f"no difference between the groups of {column} is shown with these numbers.",
                f"inconclusive (n = {people})",
                people,
            )
        for value, people in one.too_few.items():
            yield said(
                f"nothing can be said about {column} {value} with these numbers (n = {people}, fewer than {FEWEST}).",
                f"inconclusive (n = {people})",
                people,
            )


def _protocol(plan: Plan, rates: Mapping[str, ErrorRateFigures]) -> Iterator[str]:
    if plan.pairs:
        yield f"The comparisons are the {len(plan.pairs)} pairs of {plan.source}, as far as both pictures are usable."
    else:
        drawn = any(one.drawn for one in rates.values())
        impostors = "a random sample of those" if drawn else "every two"
        yield (
            f"Genuine comparisons: every two pictures of one person. Impostor comparisons: {impostors} of different "
            "people, within and across groups; groups are compared by the impostors within them."
        )
    yield "A comparison is accepted if its similarity reaches the threshold. One threshold holds for all groups."
    yield (
        "Intervals (95 %) resample people, since comparisons share people. Thresholds are set only at false match "
        f"rates with at least {RULE_OF_30} expected errors; a group needs {FEWEST} people."
    )
    yield (
        "Gaps between groups are tested by exchanging the group labels of people, corrected for the number of gaps: of "
        "rates by Benjamini and Hochberg at 0.05, of regions by Westfall and Young at 0.001."
    )


def _limits(rates: Mapping[str, ErrorRateFigures]) -> Iterator[str]:
    for name, one in rates.items():
        if one.least_fmr is None:
            yield f"{name}: {one.impostors} impostor comparisons support no false match rate."
        else:
            yield (
                f"{name}: false match rates below {one.least_fmr:g} cannot be said with {one.impostors} impostor "
                "comparisons."
            )
        if one.threshold_source.startswith("set"):
            yield (
                f"{name}: the threshold was set on these comparisons, so the false match rate there is not a forecast."
            )
    yield "Pictures of one data set share cameras, light and editors; rates on other pictures differ."
    yield "A difference between groups can come from their pictures (age, pose, light) rather than from the recognizer."


def _model_card(name: str, found: ErrorRateFigures, plan: Plan) -> str:
    point = found.operating
    threshold = stated_threshold(point.threshold, plan.model(name).card.similarity)
    about = (
        f"Data: {plan.source}; {found.people} people, {found.genuine} genuine and {found.impostors} impostor "
        f"comparisons. Threshold: {threshold} ({found.threshold_source})."
    )
    rows = [("all", found.people, point.fmr, point.fnmr)]
    for column, one in found.columns.items():
        rows += [(f"{column}: {v}", g.people, g.fmr, g.fnmr) for v, g in one.groups.items()]
    lines = [
        f"## Evaluation of {name}",
        "",
        about,
        "",
        "| group | people | FMR | FNMR |",
        "|---|---|---|---|",
        *(f"| {who} | {n} | {_percent(fmr)} | {_percent(fnmr)} |" for who, n, fmr, fnmr in rows),
        "",
        "FMR: false match rate; FNMR: false non-match rate; 95 % intervals over people.",
    ]
    return "\n".join(lines)


def stated_threshold(threshold: float | None, similarity: str) -> str:
    """A threshold in words: similarities are negative distances for recognizers that compare by distance."""
    if threshold is None:
        return "none, all comparisons are rejected"
    if similarity == "euclidean":
        return f"distance {-threshold:.4g}"
    return f"similarity {threshold:.4g}"


def _percent(found: Estimate, *, signed: bool = False) -> str:
    if found.mean is None or found.low is None or found.high is None:
        return "an unknown part"
    sign = "+" if signed else ""
    mean, low, high = (f"{100 * end:{sign}.3g}" for end in (found.mean, found.low, found.high))
    return f"{mean} % [{low}, {high}]"


def _number(found: Estimate) -> str:
    ends = (found.low, found.high)
    low, high = ("?" if end is None else f"{end:.3g}" for end in ends)
    return f"{found.mean:.3g} [{low}, {high}]"

"""The paper's claims (arXiv 2509.17457, abstract) beside a study's figures, one row per claim."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from leam.metrics.statistics import Estimate
from leam.report.parts import MISSING
from leam.results.figures import PairedDifference
from leam.results.summary import Summary
from leam.study.stages.agreement import AgreementFigures
from leam.study.stages.groups import DROP, GroupFigures
from leam.study.stages.layers import LayerFigures
from leam.study.stages.occlusion import OcclusionFigures
from leam.study.stages.regions import RegionFigures
from leam.study.stages.specificity import SpecificityFigures
from leam.study.stages.transfer import TransferFigures

HELD, PARTLY, NOT_HELD, NOT_MEASURED = "held", "held in part", "not held", "not measured"

_SEVERAL = "needs several recognizers"
_CHANCE_AUC = 0.5
_SIGNIFICANT = 0.05
# Shares of the critical pixels in the nose, over the paper's recognizers.
_PAPERS_NOSE = (0.189, 0.297)


@dataclass(frozen=True)
class Row:
    """A claim of the paper beside the figures of a study.

    Attributes:
        claim: What is claimed.
        paper: The paper's figure.
        here: The study's figure, or its range over recognizers.
        verdict: Whether the direction of the claim held: for all recognizers, for some, or for none.
        reason: What the verdict rests on.
    """

    claim: str
    paper: str
    here: str
    verdict: str
    reason: str


def paper_claims(summary: Summary) -> list[Row]:
    """Every claim of the paper's abstract beside a study's figures."""
    return [
        Row(
            "scale",
            "1000 people, 9 recognizers",
            f"{summary.people} people, {len(summary.recognizers)} recognizers",
            MISSING,
            "the paper does not name its data set, recognizers and parser",
        ),
        _layers(summary),
        _agreement(summary),
        _genuine(summary),
        _impostor(summary),
        _nose(summary),
        _drop(summary),
        _random(summary),
        _transfer(summary),
        _gender(summary),
    ]


def _layers(summary: Summary) -> Row:
    layers = _means(one.divergence for one in summary.each(LayerFigures).values())
    agreement = summary.get(AgreementFigures)
    between = agreement.divergence.mean if agreement else None
    verdict, reason = NOT_MEASURED, _SEVERAL
    if between is not None and layers:
        larger = [value > between for value in layers]
        verdict = _verdict(larger)
        reason = (
            f"the divergence between layers exceeds that between two recognizers ({between:.3f} bits) for "
            f"{sum(larger)} of {len(layers)} recognizers"
        )
    return Row(
        "layers of a recognizer differ in focus",
        "differ significantly",
        f"{_span(layers, 3)} bits between region profiles of layers",
        verdict,
        reason,
    )


def _agreement(summary: Summary) -> Row:
    claim, paper = "recognizers prioritise similar regions overall", "similar"
    found = summary.get(AgreementFigures)
    if found is None:
        return Row(claim, paper, MISSING, NOT_MEASURED, _SEVERAL)
    pairs = [
        cell
        for i, row in enumerate(found.critical)
        for j, cell in enumerate(row)
        if i < j and cell.mean is not None
    ]
    # Two random masks of this size have this Bhattacharyya coefficient.
    chance = float(summary.settings["top"])
    above = [cell.low is not None and cell.low > chance for cell in pairs]
    return Row(
        claim,
        paper,
        f"bc of critical masks {_span(_means(pairs))}",
        _verdict(above),
        f"above chance ({chance:g}) for {sum(above)} of {len(pairs)} pairs of recognizers; far below 1, masks are "
        "related but not alike",
    )


def _genuine(summary: Summary) -> Row:
    figures = [one.operands for one in summary.each(SpecificityFigures).values()]
    areas = [one["critical"].auc for one in figures]
    above = [area.low > _CHANCE_AUC for area in areas if area.low is not None]
    patterns = [one["pattern"] for one in figures if "pattern" in one]
    return Row(
        "bc of genuine pairs of maps",
        "0.32 – 0.57",
        _span(_means(one["critical"].genuine for one in figures)),
        _verdict(above),
        f"above that of impostor pairs (AUC {_span(_means(areas))}, interval above 0.5) for {sum(above)} of "
        f"{len(areas)} recognizers; compared with the mean map of all pictures of a person, including the picture "
        f"itself: {_span(_means(one.genuine for one in patterns))} for the same person, "
        f"{_span(_means(one.impostor for one in patterns))} for another person",
    )


def _impostor(summary: Summary) -> Row:
    figures = summary.each(SpecificityFigures).values()
    return Row(
        "bc of impostor pairs of maps",
        "0.04 – 0.13",
        _span(_means(one.operands["critical"].impostor for one in figures)),
        MISSING,
        "critical masks; see the row above",
    )


def _nose(summary: Summary) -> Row:
    noses = [
        one.regions["nose"] for one in summary.each(RegionFigures).values() if "nose" in one.regions
    ]
    dense = [
        nose.share.low > nose.area.mean
        for nose in noses
        if nose.share.low is not None and nose.area.mean is not None
    ]
    shares = _means(nose.share for nose in noses)
    low, high = _PAPERS_NOSE
    inside = sum(low <= share <= high for share in shares)
    return Row(
        "nose, % of the critical pixels",
        "18.9 – 29.7",
        _span([100 * share for share in shares], 1),
        _verdict(dense),
        f"more than its area for {sum(dense)} of {len(dense)} recognizers; within the paper's range for {inside}",
    )


def _drop(summary: Summary) -> Row:
    figures = list(summary.each(OcclusionFigures).values())
    margins = [one.margins["scattered"] for one in figures if "scattered" in one.margins]
    better = [_exceeds(margin) for margin in margins]
    ratios = [
        one.drop.mean / control.mean
        for one in figures
        if (control := one.controls.get("scattered")) and control.mean and one.drop.mean is not None
    ]
    return Row(
        "similarity drop, most relevant 1 % hidden",
        "0.1148",
        _span(_means(one.drop for one in figures), 4),
        _verdict(better),
        f"above that of scattered pixels for {sum(better)} of {len(margins)} recognizers; {_span(ratios, 1)} times as "
        "large (paper: 4.0)",
    )


def _random(summary: Summary) -> Row:
    found = {
        control: [
            one.controls[control]
            for one in summary.each(OcclusionFigures).values()
            if control in one.controls
        ]
        for control in ("scattered", "moved")
    }
    return Row(
        "similarity drop, random pixels hidden",
        "0.0286",
        _span(_means(found["scattered"]), 4),
        MISSING,
        "scattered pixels, which act like noise; the mask's blobs moved elsewhere: "
        f"{_span(_means(found['moved']), 4)}",
    )


def _transfer(summary: Summary) -> Row:
    claim, paper = "masks of one recognizer work on others", "they do"
    found = summary.get(TransferFigures)
    if found is None or not found.targets:
        reason = "needs --preset paper and several recognizers"
        return Row(claim, paper, MISSING, NOT_MEASURED, reason)
    targets = list(found.targets.values())
    better = [_exceeds(target.others_over_random) for target in targets]
    parts = [
        100 * target.others.mean / target.own.mean
        for target in targets
        if target.own.mean and target.others.mean is not None
    ]
    return Row(
        claim,
        paper,
        f"{_span(parts, 0)} % of the own mask's similarity drop",
        _verdict(better),
        "other recognizers' masks lower the similarity more than random ones for "
        f"{sum(better)} of {len(better)} recognizers",
    )


def _gender(summary: Summary) -> Row:
    claim, paper = "occlusion is more effective on women", "it is"
    found = summary.get(GroupFigures)
    column = found.columns.get("gender") if found else None
    rows = [
        row
        for row in (column.gaps if column else [])
        if row.of == DROP and {row.first, row.second} == {"female", "male"}
    ]
    if not rows:
        reason = "needs --group gender with female and male people"
        return Row(claim, paper, MISSING, NOT_MEASURED, reason)
    signs = [1 if row.first == "female" else -1 for row in rows]
    effects = [sign * (row.d or 0) for sign, row in zip(signs, rows, strict=True)]
    matched = [sign * (row.matched.d or 0) for sign, row in zip(signs, rows, strict=True)]
    clear = [_significant(row) and d > 0 for row, d in zip(rows, effects, strict=True)]
    still = [_significant(row.matched) and d > 0 for row, d in zip(rows, matched, strict=True)]
    return Row(
        claim,
        paper,
        f"d {_span(effects)}",
        _verdict(clear),
        f"significant (corrected p < {_SIGNIFICANT}) for {sum(clear)} of {len(rows)} recognizers; between people "
        f"matched on pose for {sum(still)}, d {_span(matched)}; {rows[0].matched_on_all.difference.n} pairs remain "
        "when matched on all covariates",
    )


def _significant(gap: GroupFigures.Gap) -> bool:
    return gap.p_adjusted is not None and gap.p_adjusted < _SIGNIFICANT


def _exceeds(found: PairedDifference) -> bool:
    return found.difference.low is not None and found.difference.low > 0


def _means(estimates: Iterable[Estimate]) -> list[float]:
    """The means that are known."""
    return [one.mean for one in estimates if one.mean is not None]


def _span(values: Sequence[float], digits: int = 2) -> str:
    """The least and the greatest of some figures."""
    if not values:
        return MISSING
    low, high = f"{min(values):.{digits}f}", f"{max(values):.{digits}f}"
    return low if low == high else f"{low} – {high}"


def _verdict(held: Sequence[bool]) -> str:
    if not held:
        return NOT_MEASURED
    return HELD if all(held) else PARTLY if any(held) else NOT_HELD

"""The paper's claims (arXiv 2509.17457, abstract) beside a study's figures, one row per claim."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from leam.metrics.controls import MAPS_OF_OTHERS
from leam.metrics.statistics import FEWEST, Estimate, Tally, tally, verdict
from leam.report.parts import MISSING, plural
from leam.results.summary import Summary
from leam.study.masks import CRITICAL
from leam.study.plan import Plan
from leam.study.stages.agreement import AgreementFigures
from leam.study.stages.curves import CurveFigures
from leam.study.stages.effect import EffectFigures
from leam.study.stages.groups import DROP, GroupFigures, judged_gap
from leam.study.stages.layers import LayerFigures
from leam.study.stages.occlusion import OcclusionFigures
from leam.study.stages.person_maps import PersonMapFigures
from leam.study.stages.regions import RegionFigures
from leam.study.stages.specificity import SpecificityFigures
from leam.study.stages.transfer import TransferFigures

Margins = Mapping[str, Mapping[str, Estimate]]
"""By recognizer and control: the claim's figure minus that of the control, paired over people."""

_SEVERAL = "needs several recognizers"
_NO_CONTROL = "none measured"
# Shares of the critical pixels in the nose, over the paper's recognizers.
_PAPERS_NOSE = (0.189, 0.297)
PERSON_FILL = "mean"
"""The fill of the claim on persons, under which edges have least to gain."""
_UNITS = {"cosine": "cosine", "euclidean": "Euclidean distance"}
# The estimate of person maps that the claim on persons uses.
_ESTIMATE = "mean"


@dataclass(frozen=True)
class Row:
    """A claim of the paper beside the figures of a study.

    Attributes:
        claim: What is claimed.
        paper: The paper's figure.
        here: The study's figure, or its range over recognizers.
        control: The strongest control, and the range of the margin over it.
        verdict: ``supported``, ``not supported`` or ``inconclusive (n = ...)``, see
            :func:`leam.metrics.statistics.tally`; a dash for figures without a claim.
        reason: What the verdict rests on.
    """

    claim: str
    paper: str
    here: str
    control: str
    verdict: str
    reason: str


@dataclass(frozen=True)
class Judged:
    """The verdict on a claim, by the rules of :mod:`leam.metrics.statistics`.

    Attributes:
        tally: The verdict over all recognizers.
        strongest: The control that is the strongest one for most recognizers; None if none was measured.
        control: The strongest controls and for how many recognizers each is, and the range of the margins over them.
    """

    tally: Tally
    strongest: str | None
    control: str

    @property
    def counts(self) -> str:
        """On how many recognizers the claim is supported; empty without recognizers."""
        return self.tally.counts if self.tally.recognizers else ""


def judged(
    margins: Margins, families: Mapping[str, str], units: Mapping[str, str] | None = None
) -> Judged:
    """The verdict on a claim about several recognizers.

    Args:
        margins: The margins over each control.
        families: Families of related recognizers, by recognizer.
        units: What the margins are, by recognizer, if they are similarities.
    """
    verdicts = {name: verdict(one) for name, one in margins.items()}
    known = {name: one for name, one in verdicts.items() if one.control is not None}
    counts = Counter(one.control for one in known.values()).most_common()
    if not known:
        return Judged(tally(verdicts, families), None, _NO_CONTROL)
    names = [f"{name}" if len(counts) == 1 else f"{name} ({count})" for name, count in counts]
    spans = by_unit({name: one.margin for name, one in known.items()}, units or {})
    return Judged(tally(verdicts, families), counts[0][0], f"{', '.join(names)}: {spans}")


def families_of(plan: Plan) -> dict[str, str]:
    """Families of related recognizers, by recognizer."""
    cards = [model.card for model in plan.models]
    return {card.name: card.family for card in cards if card.family}


def paper_claims(summary: Summary, families: Mapping[str, str]) -> list[Row]:
    """Every claim of the paper's abstract beside a study's figures.

    Args:
        summary: The study.
        families: Families of related recognizers, by recognizer.
    """
    return [
        Row(
            "scale",
            "1000 people, 9 recognizers",
            f"{summary.people} people, {plural(len(summary.recognizers), 'recognizer')}",
            MISSING,
            MISSING,
            "the paper does not name its data set, recognizers and parser",
        ),
        _layers(summary, families),
        _agreement(summary, families),
        _genuine(summary, families),
        _impostor(summary),
        _person(summary, families),
        _nose(summary, families),
        _drop(summary, families),
        *_fills(summary, families),
        _random(summary),
        _transfer(summary, families),
        _gender(summary, families),
    ]


# Where the controls of each claim are looked up.


def layer_margins(summary: Summary) -> Margins:
    """Divergence between layers of a recognizer minus that between layers of two at the same relative depth."""
    found = summary.get(AgreementFigures)
    layers = found.layers_of if found else {}
    return {name: {"two recognizers": one.margin.difference} for name, one in layers.items()}


def agreement_margins(summary: Summary, families: Mapping[str, str]) -> Margins:
    """Coefficient of critical masks minus that of random masks, for the least similar recognizer of another family."""
    found = summary.get(AgreementFigures)
    if found is None:
        return {}
    # Two random masks of this size have this Bhattacharyya coefficient.
    chance = float(summary.settings["top"])
    family = [families.get(name, name) for name in found.recognizers]
    margins: dict[str, dict[str, Estimate]] = {}
    for i, name in enumerate(found.recognizers):
        others = [
            (cell.mean, cell)
            for j, cell in enumerate(found.critical[i])
            if family[i] != family[j] and cell.mean is not None
        ]
        least = min(others, key=lambda one: one[0], default=None)
        margins[name] = {"random masks": least[1].linear(constant=-chance)} if least else {}
    return margins


def specificity_margins(summary: Summary) -> Margins:
    """AUC of critical masks minus that of each control."""
    figures = summary.each(SpecificityFigures)
    return {
        name: {control: one.difference for control, one in found.controls.items()}
        for name, found in figures.items()
    }


def person_margins(summary: Summary) -> Margins:
    """Similarity drop under a mask of other pictures of the person minus that under masks that are not the person's.

    The mask is that of the mean map of as many pictures as the study has, see :class:`PersonMapFigures`; of one other
    picture, see :class:`EffectFigures`, where people have too few. The margin over ``edges`` is by how much the
    contrast with other people exceeds that of edge maps.
    """
    return {name: one.margins for name, one in person_effects(summary).items()}


class PersonEffect(NamedTuple):
    """The effect of a mask of other pictures of the person.

    Attributes:
        drop: Similarity drop under the mask.
        margins: That drop minus the drop under each control.
        pictures: Number of pictures in the mask.
        stage: The stage that measured it.
    """

    drop: Estimate
    margins: Mapping[str, Estimate]
    pictures: int
    stage: str


def person_effects(summary: Summary) -> dict[str, PersonEffect]:
    """The effect of masks of other pictures, by recognizer; see :func:`person_margins`."""
    contrasts = {
        "other_person": "other_picture_other_person",
        "population": "other_picture_population",
        "edges": "other_picture_beyond_edges",
    }
    effects = {}
    for name, one in summary.each(EffectFigures).items():
        if PERSON_FILL in one.fills:
            found = one.fills[PERSON_FILL]
            margins = {key: found.contrasts[value].drop for key, value in contrasts.items()}
            effects[name] = PersonEffect(found.drops["other_picture"], margins, 1, "effect")
    for name, several in summary.each(PersonMapFigures).items():
        for count, figures in several.counts.items():
            fill = figures.fills.get(PERSON_FILL)
            if fill and _ESTIMATE in fill.contrasts and figures.people >= FEWEST:
                margins = {key: one.drop for key, one in fill.contrasts[_ESTIMATE].items()}
                drop = fill.drops[f"{_ESTIMATE}_own"]
                effects[name] = PersonEffect(drop, margins, int(count), "person_maps")
    return effects


def region_margins(summary: Summary, region: str) -> Margins:
    """Share of the critical mask in a region minus that of each control."""
    figures = summary.each(RegionFigures)
    return {
        name: found.regions[region].margins
        for name, found in figures.items()
        if region in found.regions
    }


def drop_margins(summary: Summary) -> Margins:
    """Similarity drop under the critical mask minus that under each control that is no map of the same method."""
    figures = summary.each(OcclusionFigures)
    return {
        name: {
            control: margin.difference
            for control, margin in found.margins.items()
            if control not in MAPS_OF_OTHERS
        }
        for name, found in figures.items()
    }


def other_fills(summary: Summary) -> list[str]:
    """The fills under which the similarity drop was also measured."""
    fills = [fill for found in summary.each(CurveFigures).values() for fill in found.margins]
    return [fill for fill in dict.fromkeys(fills) if fill != summary.settings["fill"]]


def fill_margins(summary: Summary, fill: str) -> Margins:
    """:func:`drop_margins` under another fill, on the subset."""
    return {
        name: {
            control: margin
            for control, margin in found.margins[fill].items()
            if control not in MAPS_OF_OTHERS
        }
        for name, found in summary.each(CurveFigures).items()
        if fill in found.margins
    }


def transfer_margins(summary: Summary) -> Margins:
    """Similarity drop under other recognizers' masks minus that under random ones."""
    found = summary.get(TransferFigures)
    targets = found.targets if found else {}
    return {
        name: {"scattered": target.others_over_random.difference}
        for name, target in targets.items()
    }


def gender_margins(rows: Iterable[GroupFigures.Row]) -> Margins:
    """Women's similarity drop minus men's, of all people and of people matched on pose."""
    return {
        row.recognizer: {
            name: one.difference if row.first == "female" else one.difference.linear(-1)
            for name, one in (("all people", row), ("matched on pose", row.matched))
        }
        for row in rows
    }


def _layers(summary: Summary, families: Mapping[str, str]) -> Row:
    layers = means(one.divergence for one in summary.each(LayerFigures).values())
    found = summary.get(AgreementFigures)
    reason = _SEVERAL
    if found is not None:
        kinds = found.layers
        reason = (
            f"two single layers of one recognizer diverge by {_mean(kinds.within)} bits, layers of two recognizers at "
            f"the same relative depth by {_mean(kinds.between)}, at different depths by {_mean(kinds.unrelated)}"
        )
    return _row(
        "layers of a recognizer differ in focus, more than recognizers do",
        "differ significantly",
        f"{span(layers, 3)} bits between region profiles of layers",
        layer_margins(summary),
        families,
        reason,
    )


def _agreement(summary: Summary, families: Mapping[str, str]) -> Row:
    return _row(
        "recognizers prioritise similar regions overall",
        "similar",
        f"bc of critical masks {span(mask_agreements(summary))}",
        agreement_margins(summary, families),
        families,
        "for each recognizer, the least similar one of another family; far below 1, masks are related but not alike"
        if summary.get(AgreementFigures)
        else _SEVERAL,
    )


def _genuine(summary: Summary, families: Mapping[str, str]) -> Row:
    figures = [one.operands for one in summary.each(SpecificityFigures).values()]
    patterns = [one["pattern"] for one in figures if "pattern" in one]
    return _row(
        "bc of genuine pairs of maps, above that of impostor pairs",
        "0.32 – 0.57",
        span(means(one["critical"].genuine for one in figures)),
        specificity_margins(summary),
        families,
        f"AUC {span(means(one['critical'].auc for one in figures))}; compared with the mean map of all pictures of a "
        f"person, including the picture itself: {span(means(one.genuine for one in patterns))} for the same person, "
        f"{span(means(one.impostor for one in patterns))} for another person",
    )


def _impostor(summary: Summary) -> Row:
    figures = summary.each(SpecificityFigures).values()
    return Row(
        "bc of impostor pairs of maps",
        "0.04 – 0.13",
        span(means(one.operands["critical"].impostor for one in figures)),
        MISSING,
        MISSING,
        "critical masks; see the row above",
    )


def _person(summary: Summary, families: Mapping[str, str]) -> Row:
    effects, units = person_effects(summary), units_of(summary)
    counts = sorted({one.pictures for one in effects.values()})
    return _row(
        "masks are specific to the person, by their effect on new pictures",
        MISSING,
        f"similarity drop {by_unit({name: one.drop for name, one in effects.items()}, units)}",
        person_margins(summary),
        families,
        f"other pictures in each mask: {', '.join(map(str, counts))}; fill {PERSON_FILL}"
        if effects
        else "not measured",
        units,
    )


def _nose(summary: Summary, families: Mapping[str, str]) -> Row:
    figures = summary.each(RegionFigures).values()
    shares = means(one.regions["nose"].share for one in figures if "nose" in one.regions)
    low, high = _PAPERS_NOSE
    inside = sum(low <= share <= high for share in shares)
    return _row(
        "nose, % of the critical pixels",
        "18.9 – 29.7",
        span([100 * share for share in shares], 1),
        region_margins(summary, "nose"),
        families,
        f"within the paper's range for {inside} of {len(shares)} recognizers",
    )


def _drop(summary: Summary, families: Mapping[str, str]) -> Row:
    figures, units = summary.each(OcclusionFigures), units_of(summary)
    ratios = [
        one.drop.mean / control.mean
        for one in figures.values()
        if (control := one.controls.get("scattered")) and control.mean and one.drop.mean is not None
    ]
    return _row(
        "similarity drop, most relevant 1 % hidden",
        "0.1148",
        by_unit({name: one.drop for name, one in figures.items()}, units),
        drop_margins(summary),
        families,
        f"{span(ratios, 1)} times that of scattered pixels (paper: 4.0)",
        units,
    )


def _fills(summary: Summary, families: Mapping[str, str]) -> Iterator[Row]:
    """The same claim under other fills: it holds only if no fill decides."""
    figures, units = summary.each(CurveFigures), units_of(summary)
    for fill in other_fills(summary):
        drops = {
            name: min(
                found.curves[fill][CRITICAL], key=lambda p: abs(p.fraction - found.fraction)
            ).value
            for name, found in figures.items()
        }
        yield _row(
            f"similarity drop under the fill {fill}",
            MISSING,
            by_unit(drops, units),
            fill_margins(summary, fill),
            families,
            "people of the subset",
            units,
        )


def _random(summary: Summary) -> Row:
    units = units_of(summary)
    found = {
        control: {
            name: one.controls[control]
            for name, one in summary.each(OcclusionFigures).items()
            if control in one.controls
        }
        for control in ("scattered", "moved")
    }
    return Row(
        "similarity drop, random pixels hidden",
        "0.0286",
        by_unit(found["scattered"], units),
        MISSING,
        MISSING,
        "scattered pixels, which act like noise; the pieces of the mask moved elsewhere: "
        f"{by_unit(found['moved'], units)}",
    )


def _transfer(summary: Summary, families: Mapping[str, str]) -> Row:
    found = summary.get(TransferFigures)
    targets = found.targets.values() if found else []
    parts = [
        100 * target.others.mean / target.own.mean
        for target in targets
        if target.own.mean and target.others.mean is not None
    ]
    return _row(
        "masks of one recognizer work on others",
        "they do",
        f"{span(parts, 0)} % of the own mask's similarity drop",
        transfer_margins(summary),
        families,
        "other recognizers' masks; only random ones are compared"
        if targets
        else "needs --preset paper and several recognizers",
        units_of(summary),
    )


def _gender(summary: Summary, families: Mapping[str, str]) -> Row:
    found = summary.get(GroupFigures)
    column = found.columns.get("gender") if found else None
    rows = [
        row.model_copy(update={"difference": judged_gap(column, row)})
        for row in (column.gaps if column else [])
        if column and row.of == DROP and {row.first, row.second} == {"female", "male"}
    ]
    signs = [1 if row.first == "female" else -1 for row in rows]
    effects = [sign * (row.d or 0) for sign, row in zip(signs, rows, strict=True)]
    matched = [sign * (row.matched.d or 0) for sign, row in zip(signs, rows, strict=True)]
    reason = "needs --group gender with female and male people"
    if rows:
        reason = (
            f"between people matched on pose d {span(matched)} (pairs: "
            f"{span([row.matched.difference.n for row in rows], 0)}), in the same unit; "
            f"{rows[0].matched_on_all.difference.n} pairs remain when matched on all covariates"
        )
    margins = gender_margins(rows)
    return _row(
        "occlusion is more effective on women",
        "it is",
        f"d {span(effects)}",
        margins,
        families,
        reason,
    )


def _row(
    claim: str,
    paper: str,
    here: str,
    margins: Margins,
    families: Mapping[str, str],
    reason: str,
    units: Mapping[str, str] | None = None,
) -> Row:
    """A claim with its strongest control and its verdict; margins of similarities have units."""
    found = judged(margins, families, units)
    counts = f"{found.counts}; " if found.counts else ""
    return Row(claim, paper, here, found.control, str(found.tally), counts + reason)


def units_of(summary: Summary) -> dict[str, str]:
    """What the similarities of each recognizer are, in a word or two."""
    return {name: _UNITS[one.similarity] for name, one in summary.recognizers.items()}


def by_unit(found: Mapping[str, Estimate], units: Mapping[str, str], digits: int = 4) -> str:
    """The range over recognizers: one for cosines and one for distances, which cannot be compared."""
    kinds: dict[str, list[float]] = {}
    for name, one in found.items():
        if one.mean is not None:
            kinds.setdefault(units.get(name, ""), []).append(one.mean)
    most = sorted(kinds.items(), key=lambda kind: -len(kind[1]))
    spans = [f"{span(known, digits)}{unit and f' ({unit})'}" for unit, known in most]
    return "; ".join(spans) or MISSING


def _mean(found: Estimate) -> str:
    return MISSING if found.mean is None else f"{found.mean:.3f}"


def mask_agreements(summary: Summary) -> list[float]:
    """The mean coefficient of critical masks of every two recognizers."""
    found = summary.get(AgreementFigures)
    rows = found.critical if found else []
    return means(cell for i, row in enumerate(rows) for cell in row[i + 1 :])


def means(estimates: Iterable[Estimate]) -> list[float]:
    """The means that are known."""
    return [one.mean for one in estimates if one.mean is not None]


def span(values: Sequence[float], digits: int = 2) -> str:
    """The least and the greatest of some figures."""
    if not values:
        return MISSING
    low, high = f"{min(values):.{digits}f}", f"{max(values):.{digits}f}"
    return low if low == high else f"{low} – {high}"

"""The paper's claims beside a study's own figures, row by row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Summary = Mapping[str, Any]
Figures = Sequence[float]

HELD, PARTLY, NOT_HELD, NOT_MEASURED = "held", "held in part", "not held", "not measured"


@dataclass(frozen=True)
class Row:
    """A claim of the paper (arXiv 2509.17457, abstract) and what a study has to say of it.

    Attributes:
        claim: What is claimed.
        paper: The paper's figure.
        here: The study's figure, or its range over recognizers.
        verdict: Whether the direction of the claim held: on all recognizers, on some, or on none.
        reading: What the verdict rests on.
    """

    claim: str
    paper: str
    here: str
    verdict: str
    reading: str


def paper_claims(summary: Summary) -> list[Row]:
    """Every claim of the paper's abstract beside a study's ``summary.json``."""
    models = summary["models"]
    return [
        Row(
            "scale",
            "1000 people, 9 recognizers",
            f"{summary['people']} people, {len(models)} recognizers",
            "–",
            "the data set, the recognizers and the parser of the paper are not known",
        ),
        _layers(summary),
        _agreement(summary),
        _specificity(models),
        Row(
            "overlap of maps of different people",
            "0.04 – 0.13",
            _span(_all(models, "bc", "critical", "different")),
            "–",
            "critical masks; beside the row above",
        ),
        _nose(models),
        _drop(models),
        _random(models),
        _transfer(summary),
        _gender(summary),
    ]


def _layers(summary: Summary) -> Row:
    models = summary["models"]
    layers = _all(models, "layer_divergence", "mean")
    between = summary.get("agreement", {}).get("divergence", {}).get("mean")
    verdict = NOT_MEASURED
    reading = "wants several recognizers"
    if between is not None and layers:
        verdict = _verdict(value > between for value in layers)
        reading = (
            f"layers of one recognizer diverge more than two recognizers do ({between:.3f} bits) "
            f"on {sum(value > between for value in layers)} of {len(layers)}"
        )
    here = f"{_span(layers, 3)} bits between layers' regions"
    return Row(
        "layers of one model differ in focus", "differ significantly", here, verdict, reading
    )


def _agreement(summary: Summary) -> Row:
    found = summary.get("agreement")
    claim, paper = "models prioritise similar regions overall", "similar"
    if found is None:
        return Row(claim, paper, "–", NOT_MEASURED, "wants several recognizers")
    pairs = [
        cell
        for i, row in enumerate(found["critical"])
        for j, cell in enumerate(row)
        if i < j and cell["mean"] is not None
    ]
    chance = summary["settings"]["top"]
    return Row(
        claim,
        paper,
        f"overlap of critical masks {_span([cell['mean'] for cell in pairs])}",
        _verdict(cell["low"] is not None and cell["low"] > chance for cell in pairs),
        f"above chance ({chance:g}) for {sum(c['low'] is not None and c['low'] > chance for c in pairs)} "
        f"of {len(pairs)} pairs; related, not alike, where far below 1",
    )


def _specificity(models: Summary) -> Row:
    areas = [model["bc"]["critical"]["auc"] for model in models.values()]
    known = [area for area in areas if area["low"] is not None]
    above = [area["low"] > 0.5 for area in known]  # noqa: PLR2004  chance
    return Row(
        "overlap of maps of one person",
        "0.32 – 0.57",
        _span(_all(models, "bc", "critical", "same")),
        _verdict(above),
        f"above that of different people (AUC {_span([area['mean'] for area in known])}, "
        f"interval above 0.5) on {sum(above)} of {len(areas)}; with the mean map of all the person's pictures, "
        f"itself included, {_span(_all(models, 'bc', 'pattern', 'same'))} against "
        f"{_span(_all(models, 'bc', 'pattern', 'different'))}",
    )


def _nose(models: Summary) -> Row:
    dense = [
        model["regions"]["nose"]["share"]["low"] > model["regions"]["nose"]["area"]["mean"]
        for model in models.values()
        if model["regions"].get("nose", {}).get("share", {}).get("low") is not None
    ]
    shares = _all(models, "regions", "nose", "share")
    inside = sum(0.189 <= share <= 0.297 for share in shares)  # noqa: PLR2004  the paper's range
    return Row(
        "nose, % of the critical pixels",
        "18.9 – 29.7",
        _span([100 * share for share in shares], 1),
        _verdict(dense),
        f"more than its area on {sum(dense)} of {len(dense)}; within the paper's range on {inside}",
    )


def _drop(models: Summary) -> Row:
    margins = [_margin(model, "scattered") for model in models.values()]
    known = [margin for margin in margins if margin is not None]
    better = [
        margin["difference"]["low"] is not None and margin["difference"]["low"] > 0
        for margin in known
    ]
    ratios = [
        model["occlusion"]["drop"]["mean"] / model["occlusion"]["baselines"]["scattered"]["mean"]
        for model in models.values()
        if (model["occlusion"]["baselines"].get("scattered") or {}).get("mean")
        and model["occlusion"]["drop"]["mean"] is not None
    ]
    return Row(
        "drop, most relevant 1 % hidden",
        "0.1148",
        _span(_all(models, "occlusion", "drop"), 4),
        _verdict(better) if known else NOT_MEASURED,
        f"above scattered pixels on {sum(better)} of {len(known)}; {_span(ratios, 1)} times them "
        "(the paper: 4.0)",
    )


def _random(models: Summary) -> Row:
    return Row(
        "drop, random pixels hidden",
        "0.0286",
        _span(_all(models, "occlusion", "baselines", "scattered"), 4),
        "–",
        f"scattered pixels, which act like noise; the mask's blobs moved elsewhere: "
        f"{_span(_all(models, 'occlusion', 'baselines', 'moved'), 4)}",
    )


def _transfer(summary: Summary) -> Row:
    targets = summary.get("transfer", {}).get("targets", {})
    claim, paper = "masks of one model work on others", "they do"
    if not targets:
        return Row(claim, paper, "–", NOT_MEASURED, "wants --preset paper and several recognizers")
    better = [(t["others_over_random"]["difference"]["low"] or 0) > 0 for t in targets.values()]
    parts = [
        target["others"]["mean"] / target["own"]["mean"]
        for target in targets.values()
        if target["own"]["mean"] and target["others"]["mean"] is not None
    ]
    return Row(
        claim,
        paper,
        f"{_span([100 * part for part in parts], 0)} % of the own mask's drop",
        _verdict(better),
        f"other models' masks hurt more than random ones on {sum(better)} of {len(better)}",
    )


def _gender(summary: Summary) -> Row:
    claim, paper = "occlusion is more effective on women", "it is"
    rows = [
        row
        for row in summary.get("gaps", {}).get("gender", {}).get("gaps", [])
        if row["of"] == "drop" and {row["first"], row["second"]} == {"female", "male"}
    ]
    if not rows:
        return Row(claim, paper, "–", NOT_MEASURED, "wants --group gender with female and male")
    sign = [1 if row["first"] == "female" else -1 for row in rows]
    plain = [s * (row["d"] or 0) for s, row in zip(sign, rows, strict=True)]
    matched = [s * (row["matched"]["d"] or 0) for s, row in zip(sign, rows, strict=True)]
    sure = [_sure(row) and d > 0 for row, d in zip(rows, plain, strict=True)]
    still = [_sure(row["matched"]) and d > 0 for row, d in zip(rows, matched, strict=True)]
    return Row(
        claim,
        paper,
        f"d {_span(plain)}",
        _verdict(sure),
        f"significant (corrected p < 0.05) on {sum(sure)} of {len(rows)}; between people matched on pose on "
        f"{sum(still)}, d {_span(matched)}; matched on all covariates {rows[0]['matched_on_all']['difference']['n']} "
        "pairs are left",
    )


def _sure(row: Summary) -> bool:
    return row["p_adjusted"] is not None and row["p_adjusted"] < 0.05  # noqa: PLR2004  by custom


def _margin(model: Summary, baseline: str) -> Summary | None:
    found: Summary | None = model["occlusion"]["margins"].get(baseline)
    return found


def _all(models: Summary, *path: str) -> Figures:
    """The means of an estimate over all models that have it."""
    values = []
    for model in models.values():
        found: Any = model
        for key in (*path, "mean"):
            found = (found or {}).get(key)
        if found is not None:
            values.append(float(found))
    return values


def _span(values: Figures, digits: int = 2) -> str:
    """The least and the greatest of some figures."""
    if not values:
        return "–"
    low, high = f"{min(values):.{digits}f}", f"{max(values):.{digits}f}"
    return low if low == high else f"{low} – {high}"


def _verdict(held: Iterable[bool]) -> str:
    found = list(held)
    if not found:
        return NOT_MEASURED
    return HELD if all(found) else PARTLY if any(found) else NOT_HELD

"""Error rates of each recognizer on the study's comparisons, and those of groups of people at the same threshold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from leam.metrics.error_rates import (
    Comparisons,
    ErrorCurve,
    OperatingPoint,
    eer_estimate,
    equal_error_rate,
    error_curve,
    fmr_estimate,
    fnmr_at_fmr,
    fnmr_estimate,
    least_fmr,
    threshold_at_fmr,
)
from leam.metrics.group_rates import (
    RateGap,
    fairness_discrepancy_rate,
    gap_conclusion,
    garbe,
    group_rates,
    rate_gaps,
    worst_to_best,
)
from leam.metrics.statistics import FEWEST, Estimate, finite
from leam.results.figures import Figures, Model
from leam.results.shards import Shard
from leam.study.comparisons import Compared, compared
from leam.study.explained import EXPLAIN
from leam.study.plan import Plan
from leam.study.run_data import RunData
from leam.study.stage import STAGES, Stage

# Points of the error curve that are kept for charts.
_POINTS = 200
_RATES = ("fmr", "fnmr")
# Level of a conclusion about a gap.
_LEVEL = 0.05


class ErrorRateFigures(Figures):
    """Error rates of verification (terms of ISO/IEC 19795-1). Similarities at or above a threshold are accepted."""

    class Point(Model):
        """The error rates at one threshold."""

        threshold: float | None
        """The threshold; null if only rejecting all comparisons reaches the stated rate."""
        fmr: Estimate
        """False match rate."""
        fnmr: Estimate
        """False non-match rate."""

    class Curve(Model):
        """The error rates at many thresholds, for DET and ROC curves."""

        threshold: list[float]
        """Thresholds, ascending."""
        fmr: list[float]
        """False match rates."""
        fnmr: list[float]
        """False non-match rates."""

    class Group(Model):
        """The people with the same value in a column."""

        people: int
        """Number of people."""
        genuine: int
        """Number of genuine comparisons."""
        impostors: int
        """Number of impostor comparisons of two people of the group."""
        fmr: Estimate
        """False match rate within the group."""
        fnmr: Estimate
        """False non-match rate."""

    class Gap(Model):
        """How an error rate differs between two groups."""

        rate: str
        """``fmr`` or ``fnmr``."""
        first: str
        """A group."""
        second: str
        """The other group."""
        difference: Estimate
        """First group minus second group."""
        ratio: Estimate
        """First group over second group; null if the second group has no errors."""
        p: float | None
        """Two-sided p-value of permuted group labels; null for groups of fewer than ten people."""
        p_adjusted: float | None
        """The p-value after Benjamini-Hochberg correction over all gaps of the column."""

    class Column(Model):
        """One column of the people table, or several crossed."""

        groups: dict[str, ErrorRateFigures.Group]
        """Groups of at least ten people."""
        too_few: dict[str, int]
        """People in groups that are too small to be compared."""
        unknown: int
        """People without a value."""
        gaps: list[ErrorRateFigures.Gap]
        """Gaps for each pair of groups and rate."""
        worst_to_best: dict[str, float | None]
        """Largest over smallest rate of the groups, by rate; null if the smallest is 0."""
        garbe: float | None
        """Gini aggregation rate for biometric equitability; 0 for equal rates. Null with fewer than two groups."""
        fdr: float | None
        """Fairness discrepancy rate; 1 for equal rates. Null with fewer than two groups."""

    people: int
    """Number of people."""
    genuine: int
    """Number of genuine comparisons."""
    impostors: int
    """Number of impostor comparisons."""
    drawn: bool
    """Whether the impostor comparisons are a random sample of all."""
    acquired: Estimate
    """Part of the pictures in which a usable face was found."""
    least_fmr: float | None
    """Least false match rate, as a power of ten, that the number of impostor comparisons supports; null for none."""
    eer: Estimate
    """Equal error rate."""
    eer_threshold: float | None
    """Its threshold; null if only rejecting all comparisons gives it."""
    at_fmr: dict[str, Point]
    """Error rates at thresholds that give false match rates of 0.1, 0.01, ... on these comparisons."""
    threshold_source: str
    """Where the operating threshold comes from."""
    operating: Point
    """Error rates at the operating threshold."""
    curve: Curve
    """Error rates at many thresholds."""
    columns: dict[str, Column]
    """Error rates by group at the operating threshold, by column."""


@STAGES("error_rates")
class ErrorRates(Stage[Shard]):
    """Compares the pictures of a study with each other."""

    name = "error_rates"
    title = "error rates"
    in_audit = True
    phase = "compare"
    needs = (EXPLAIN,)
    figures = ErrorRateFigures

    def applies(self, plan: Plan) -> bool:
        """Whether the study is an audit."""
        return plan.settings.audit

    def summarise(self, run: RunData, recognizer: str) -> ErrorRateFigures | None:
        """The error rates, overall and by group; None without genuine and impostor comparisons."""
        found = compared(run, recognizer)
        if found is None:
            return None
        scores, seed = found.comparisons, run.settings.seed
        curve = error_curve(scores)
        least = least_fmr(len(scores.impostors.scores))
        equal = equal_error_rate(curve)
        threshold, source = operating_threshold(run.plan, recognizer, found.comparisons)
        return ErrorRateFigures(
            people=len(found.people),
            genuine=len(scores.genuine.scores),
            impostors=len(scores.impostors.scores),
            drawn=found.drawn,
            acquired=_acquired(run),
            least_fmr=least,
            eer=eer_estimate(scores, seed),
            eer_threshold=finite(equal.threshold),
            at_fmr={f"{rate:g}": _point(fnmr_at_fmr(scores, rate, seed)) for rate in _rates(least)},
            threshold_source=source,
            operating=ErrorRateFigures.Point(
                threshold=finite(threshold),
                fmr=fmr_estimate(scores.impostors, threshold, seed),
                fnmr=fnmr_estimate(scores.genuine, threshold, seed),
            ),
            curve=_thinned(curve),
            columns={
                column: _column(run, found, column, threshold) for column in run.settings.groups
            },
        )


def operating_threshold(plan: Plan, recognizer: str, comparisons: Comparisons) -> tuple[float, str]:
    """The threshold at which a study decides, and where it comes from.

    The setting ``threshold``; else that of the recognizer's card; else the one at which these comparisons have the
    false match rate ``fmr``, or the least rate that their number supports.
    """
    card = plan.model(recognizer).card
    if plan.settings.threshold is not None:
        return plan.settings.threshold, "given"
    if card.threshold is not None:
        return card.threshold, "the recognizer's card"
    least = least_fmr(len(comparisons.impostors.scores)) or 0.1
    rate = max(plan.settings.fmr, least)
    threshold = threshold_at_fmr(error_curve(comparisons), rate)
    return threshold, f"set at a false match rate of {rate:g} on these comparisons"


def conclusion(gap: ErrorRateFigures.Gap) -> str:
    """Which group has more errors; see :func:`leam.metrics.group_rates.gap_conclusion`."""
    return gap_conclusion(gap.difference, gap.p_adjusted, (gap.first, gap.second), _LEVEL)


def values_of(run: RunData, found: Compared, column: str) -> list[str]:
    """The value of each compared person in a column; "" without one."""
    values = run.plan.people_of(column)
    return [values.get(person, "") for person in found.people]


def groups_of(run: RunData, found: Compared, column: str) -> list[str]:
    """The group of each compared person; "" without one, or if it has fewer than :data:`FEWEST` people."""
    values = values_of(run, found, column)
    sizes = Counter(values)
    return [value if sizes[value] >= FEWEST else "" for value in values]


def _acquired(run: RunData) -> Estimate:
    """The part of the pictures with a usable face, with its interval over people."""
    usable = np.concatenate([found.reason == "" for _, found in run.detections()])
    positions = np.arange(len(run.plan.images))
    return run.estimate(usable.astype(np.float64), run.owners(positions))


def _rates(least: float | None) -> Iterator[float]:
    """0.1, 0.01, ... down to the least supported rate."""
    digits = 1
    while least is not None and (rate := float(f"1e-{digits}")) >= least:
        yield rate
        digits += 1


def _point(found: OperatingPoint) -> ErrorRateFigures.Point:
    return ErrorRateFigures.Point(threshold=finite(found.threshold), fmr=found.fmr, fnmr=found.fnmr)


def _thinned(curve: ErrorCurve) -> ErrorRateFigures.Curve:
    """Points of a curve, evenly in the logarithm of the false match rate and in the false non-match rate."""
    finite_points = slice(0, len(curve.thresholds) - 1)
    fmr, fnmr = curve.fmr[finite_points], curve.fnmr[finite_points]
    steps = np.concatenate(
        [
            np.searchsorted(-fmr, -np.geomspace(fmr[fmr > 0].min(), 1, _POINTS)),
            np.searchsorted(fnmr, np.linspace(0, 1, _POINTS)),
        ]
    )
    kept = np.unique(steps.clip(0, len(fmr) - 1))
    return ErrorRateFigures.Curve(
        threshold=curve.thresholds[kept].tolist(), fmr=fmr[kept].tolist(), fnmr=fnmr[kept].tolist()
    )


def _column(
    run: RunData, found: Compared, column: str, threshold: float
) -> ErrorRateFigures.Column:
    """The error rates of the groups in a column."""
    values = Counter(values_of(run, found, column))
    unknown = values.pop("", 0)
    few = {value: size for value, size in sorted(values.items()) if size < FEWEST}
    group = groups_of(run, found, column)
    rates = group_rates(found.comparisons, group, threshold, run.settings.seed)
    gaps = rate_gaps(found.comparisons, group, threshold, run.settings.seed)
    means = {
        rate: {
            name: estimate.mean
            for name, one in rates.items()
            if (estimate := getattr(one, rate)).mean is not None
        }
        for rate in _RATES
    }
    comparable = len(rates) > 1 and all(len(one) == len(rates) for one in means.values())
    return ErrorRateFigures.Column(
        groups={name: ErrorRateFigures.Group(**vars(one)) for name, one in rates.items()},
        too_few=few,
        unknown=unknown,
        gaps=[_gap(one) for one in gaps],
        worst_to_best={
            rate: finite(worst_to_best(one)) if comparable else None for rate, one in means.items()
        },
        garbe=garbe(means["fmr"], means["fnmr"]) if comparable else None,
        fdr=fairness_discrepancy_rate(means["fmr"], means["fnmr"]) if comparable else None,
    )


def _gap(found: RateGap) -> ErrorRateFigures.Gap:
    return ErrorRateFigures.Gap(
        rate=found.rate,
        first=found.first,
        second=found.second,
        difference=found.difference,
        ratio=found.ratio,
        p=finite(found.p),
        p_adjusted=finite(found.corrected),
    )

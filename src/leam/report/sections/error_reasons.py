"""Which regions carry the errors of an audit, and the gaps between groups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from leam.metrics.group_rates import gap_conclusion
from leam.metrics.statistics import FEWEST
from leam.report.charts import Panel, Rows, Series, colours
from leam.report.parts import Drawing, Fold, Heading, Part, Table, Text, number, plain
from leam.report.section import DROP_AXES, SECTIONS, Context, Section
from leam.study.stages.error_reasons import LEVEL, ErrorReasonFigures, leading

Gaps = Sequence[ErrorReasonFigures.Gap]
Kind = ErrorReasonFigures.Kind

_TEXT = (
    "A region's contribution to a comparison is how far the similarity falls if the region is hidden in both pictures "
    "(fill: {fill}). If it is positive, the region makes the two pictures more alike for the recognizer; if it is "
    "negative, it makes them more different. Errors stand beside correct comparisons of equal similarity: what differs "
    "between the two goes with the error, not with the similarity."
)
_LIMITS = (
    "A contribution says where the recognizer finds two pictures alike, not why: identity, light, pose, glasses and "
    "picture quality have the same effect. Contributions do not add up to the similarity, because hiding a region also "
    "changes what its neighbours contribute; large regions contribute more. Hiding a region makes both pictures alike "
    "there, so contributions can be negative throughout: compare errors with correct comparisons rather than with "
    "zero. Each interval is for one region alone."
)
_GAPS = (
    "The group labels of people are exchanged at random to test each gap, and p-values are corrected for all gaps of "
    "the column. The rule: a region contributes more for one group if the corrected p-value is below {level} and the "
    "interval excludes zero. A fault in one region also moves the gaps of others, so the gap that is largest in units "
    "of its standard deviation is named first. Regions that look alike in all pictures of a group, such as blurred, "
    "dark or covered ones, contribute more to its impostor comparisons."
)
# More pairs of groups are not drawn, since their intervals would hide each other.
_MOST_PAIRS = 3
_KINDS = {
    "false_matches": ("False matches", "correct matches"),
    "false_non_matches": ("False non-matches", "correct non-matches"),
}


@SECTIONS("error_reasons")
class ErrorReasons(Section):
    """What regions contribute to errors, and how that differs between groups."""

    name = "error_reasons"
    title = "Which regions carry the errors"
    order = 6
    shows = (ErrorReasonFigures,)
    in_audit = True

    def parts(self, context: Context) -> Iterator[Part]:
        """What a contribution is, then each recognizer."""
        found = context.summary.each(ErrorReasonFigures)
        yield Text(_TEXT.format(fill=context.settings.fill))
        yield Text(_LIMITS, style="muted")
        for place, (name, one) in enumerate(found.items()):
            axis = DROP_AXES[context.summary.recognizers[name].similarity]
            shown = list(_recognizer(one, axis))
            if len(found) == 1:
                yield from shown
            else:
                yield Fold(name, shown, unfolded=place == 0, recognizer=name)


def _recognizer(found: ErrorReasonFigures, axis: str) -> Iterator[Part]:
    for kind, (errors, _) in _KINDS.items():
        if not getattr(found, kind).errors:
            yield Text(f"{errors}: none at this threshold.", style="note")
    if found.false_matches.errors or found.false_non_matches.errors:
        yield Drawing(contribution_chart(found, axis), "Contribution of each region to errors")
        yield _contributions(found)
    for column, gaps in found.columns.items():
        yield Heading(f"By {column}")
        yield from _column(found.regions, gaps, axis)


def _contributions(found: ErrorReasonFigures) -> Table:
    rows = []
    for name, (errors, _) in _KINDS.items():
        kind: Kind = getattr(found, name)
        rows += [
            (
                f"{errors} ({kind.errors})",
                region,
                number(kind.contribution[region]),
                number(kind.matched[region]),
                _difference(kind, region),
                str(kind.contribution[region].n),
            )
            for region in found.regions
        ]
    header = ("comparisons", "region", "in errors", "in correct ones", "difference", "people")
    return Table(header, rows, folded="Contributions")


def _difference(kind: Kind, region: str) -> str:
    """Errors minus correct comparisons, or that this cannot be said with these numbers."""
    found = kind.difference[region]
    if found.low is None:
        fewest = min(kind.contribution[region].n, kind.matched[region].n)
        return f"cannot be said with these numbers (n = {fewest})"
    return number(found)


def contribution_chart(found: ErrorReasonFigures, axis: str) -> Rows:
    """Contributions of regions in both kinds of errors that occurred, beside those in correct comparisons."""
    panels = []
    for name, (errors, correct) in _KINDS.items():
        kind: Kind = getattr(found, name)
        if not kind.errors:
            continue
        first, second = colours(2)
        series = [
            Series(label, [values[region] for region in found.regions], colour)
            for label, values, colour in (
                ("errors", kind.contribution, first),
                ("correct comparisons of equal similarity", kind.matched, second),
            )
        ]
        title = f"{errors} ({kind.errors}) beside {correct}"
        panels.append(Panel(found.regions, series, axis, title, line=0))
    return Rows(panels)


def _column(regions: Sequence[str], gaps: Gaps, axis: str) -> Iterator[Part]:
    if not gaps:
        yield Text(f"There are no two groups of at least {FEWEST} people.", style="note")
        return
    yield Text(_GAPS.format(level=LEVEL))
    largest = leading(gaps)
    if largest is None:
        yield Text("No gap can be concluded with these numbers.")
    else:
        yield Text(
            f"Largest gap: {largest.region}, {conclusion(largest)} in {largest.comparisons} comparisons "
            f"({number(largest.difference)})."
        )
    if len(_pairs(gaps)) <= _MOST_PAIRS:
        yield Drawing(gap_chart(regions, gaps, axis), "Gaps between groups by region")
    yield Table(
        ("comparisons", "groups", "region", "difference", "in SD", "p, corrected", "conclusion"),
        [
            (
                gap.comparisons,
                f"{gap.first} – {gap.second}",
                gap.region,
                number(gap.difference),
                plain(gap.standardised, 1),
                plain(gap.p_adjusted, 4),
                conclusion(gap),
            )
            for gap in gaps
        ],
        folded="Gaps in contributions",
    )


def conclusion(gap: ErrorReasonFigures.Gap) -> str:
    """For which group a region contributes more; see :func:`leam.metrics.group_rates.gap_conclusion`."""
    return gap_conclusion(gap.difference, gap.p_adjusted, (gap.first, gap.second), LEVEL)


def _pairs(gaps: Gaps) -> list[tuple[str, str]]:
    return list(dict.fromkeys((gap.first, gap.second) for gap in gaps))


def gap_chart(regions: Sequence[str], gaps: Gaps, axis: str) -> Rows:
    """The gaps of each region in genuine and in impostor comparisons, a series for each pair of groups."""
    pairs = _pairs(gaps)
    by_place = {(gap.comparisons, gap.first, gap.second, gap.region): gap for gap in gaps}
    panels = [
        Panel(
            regions,
            [
                Series(
                    f"{first} minus {second}",
                    [by_place[kind, first, second, region].difference for region in regions],
                    colour,
                )
                for (first, second), colour in zip(pairs, colours(len(pairs)), strict=True)
            ],
            axis,
            f"{kind.capitalize()} comparisons",
            line=0,
        )
        for kind in dict.fromkeys(gap.comparisons for gap in gaps)
    ]
    return Rows(panels)

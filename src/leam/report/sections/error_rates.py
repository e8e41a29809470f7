"""Error rates of an audit, overall and by group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from leam.metrics.error_rates import RULE_OF_30
from leam.metrics.statistics import FEWEST, Estimate
from leam.report.charts import Line, LinePanel, Lines, Panel, Rows, Series, colours
from leam.report.parts import (
    Drawing,
    Heading,
    Part,
    Table,
    Text,
    listed,
    number,
    percent,
    plain,
    plural,
)
from leam.report.section import SECTIONS, Context, Section
from leam.study.audit import RATES, stated_threshold
from leam.study.stages.error_rates import ErrorRateFigures, conclusion

Found = Mapping[str, ErrorRateFigures]

_TEXT = (
    "Comparisons of two pictures of one person (genuine) and of two people (impostor). A comparison is accepted if its "
    "similarity reaches the threshold. False match rate (FMR): accepted impostor comparisons. False non-match rate "
    "(FNMR): genuine comparisons that are not accepted. Intervals are over people, since comparisons share people."
)
_GROUPS = (
    "All groups are compared at the operating threshold of the recognizer, impostors within their group. A gap is "
    "tested by exchanging the group labels of people, and its p-value is corrected for the number of gaps. A wide "
    "interval around no difference does not show that there is none."
)
# Ticks of the error curves.
_TICKS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)


@SECTIONS("error_rates")
class ErrorRates(Section):
    """Error curves, rates at thresholds, and the rates of groups."""

    name = "error_rates"
    title = "Error rates"
    order = 5
    in_audit = True
    shows = (ErrorRateFigures,)

    def parts(self, context: Context) -> Iterator[Part]:
        """Curves and rates, then each column of the people table."""
        found = context.summary.each(ErrorRateFigures)
        yield Text(_TEXT)
        yield Table(
            (
                "recognizer",
                "threshold",
                "from",
                "FMR (%)",
                "FNMR (%)",
                "EER (%)",
                "people",
                "genuine",
                "impostor",
            ),
            [
                _operating_row(name, one, context.summary.recognizers[name].similarity)
                for name, one in found.items()
            ],
            folded="",
        )
        chart = error_chart(found)
        if any(line.x for line in chart.panels[0].lines):
            yield Drawing(chart, "Detection error trade-off (DET)")
            yield Drawing(roc_chart(found), "Receiver operating characteristic (ROC)")
        yield from _limits(found)
        yield Table(
            ("recognizer", "stated FMR", "threshold", "FMR (%)", "FNMR (%)"),
            [
                (
                    name,
                    rate,
                    stated_threshold(point.threshold, context.summary.recognizers[name].similarity),
                    number(point.fmr, 3, 100),
                    number(point.fnmr, 2, 100),
                )
                for name, one in found.items()
                for rate, point in one.at_fmr.items()
            ],
            folded="Rates at stated false match rates",
        )
        for column in context.settings.groups:
            yield from _column(
                column,
                {name: one.columns[column] for name, one in found.items() if column in one.columns},
            )


def _operating_row(name: str, found: ErrorRateFigures, similarity: str) -> tuple[str, ...]:
    return (
        name,
        stated_threshold(found.operating.threshold, similarity),
        found.threshold_source,
        number(found.operating.fmr, 3, 100),
        number(found.operating.fnmr, 2, 100),
        number(found.eer, 2, 100),
        str(found.people),
        str(found.genuine),
        f"{found.impostors}{' (drawn)' if found.drawn else ''}",
    )


def _limits(found: Found) -> Iterator[Part]:
    """The smallest rate that the comparisons support, and the pictures without a usable face."""
    least = {one.least_fmr for one in found.values()}
    if None in least:
        yield Text(
            f"Fewer than {10 * RULE_OF_30} impostor comparisons support no false match rate.",
            style="note",
        )
    else:
        smallest = max(rate for rate in least if rate is not None)
        yield Text(
            f"The comparisons support false match rates down to {smallest:g}: {RULE_OF_30} expected false matches. "
            "Lower rates cannot be measured with these pictures.",
            style="muted",
        )
    acquired = next(iter(found.values())).acquired
    # Where no picture failed, resampling people says nothing of the pictures that might.
    part = "all" if acquired.mean == 1 else f"{percent(acquired)} % of the"
    yield Text(f"A usable face was found in {part} pictures.", style="muted")


def error_chart(found: Found) -> Lines:
    """A DET curve for each recognizer: both rates on logarithmic axes, as far as the comparisons support them."""
    lines = []
    for (name, one), colour in zip(found.items(), colours(len(found)), strict=True):
        points = [(x, y) for x, y in _supported(one) if y > 0]
        fmr, fnmr = [point[0] for point in points], [point[1] for point in points]
        lines.append(Line(name, fmr, fnmr, colour, dots=False))
    ticks = _ticks(found)
    panel = LinePanel("", lines, "false match rate", ticks=ticks, labelled=ticks, logarithmic=True)
    return Lines([panel], "false non-match rate")


def roc_chart(found: Found) -> Lines:
    """An ROC curve for each recognizer: genuine comparisons that match over the false match rate."""
    lines = []
    for (name, one), colour in zip(found.items(), colours(len(found)), strict=True):
        points = _supported(one)
        matches = [1 - fnmr for _, fnmr in points]
        lines.append(Line(name, [fmr for fmr, _ in points], matches, colour, dots=False))
    ticks = _ticks(found)
    panel = LinePanel("", lines, "false match rate", ticks=ticks, labelled=ticks)
    return Lines([panel], "true match rate")


def _supported(found: ErrorRateFigures) -> list[tuple[float, float]]:
    """Both rates at the false match rates that the comparisons support."""
    least = found.least_fmr or 0.1
    return [(x, y) for x, y in zip(found.curve.fmr, found.curve.fnmr, strict=True) if x >= least]


def _ticks(found: Found) -> list[float]:
    least = min((one.least_fmr or 0.1 for one in found.values()), default=0.1)
    return [tick for tick in _TICKS if tick >= least]


def _column(column: str, found: Mapping[str, ErrorRateFigures.Column]) -> Iterator[Part]:
    if not found:
        return
    yield Heading(f"By {column}")
    first = next(iter(found.values()))
    yield from _left_out(first)
    if len(first.groups) < 2:  # noqa: PLR2004  a gap needs two groups
        yield Text(f"There are no two groups of at least {FEWEST} people.", style="note")
        return
    yield Text(_GROUPS)
    yield Drawing(group_chart(found), f"Error rates by {column}")
    yield Table(
        ("recognizer", column, "FMR (%)", "FNMR (%)", "people", "genuine", "impostor"),
        [
            (
                name,
                value,
                number(one.fmr, 3, 100),
                number(one.fnmr, 2, 100),
                *map(str, (one.people, one.genuine, one.impostors)),
            )
            for name, of_column in found.items()
            for value, one in of_column.groups.items()
        ],
        folded="Rates",
    )
    yield Table(
        ("recognizer", "rate", "groups", "difference (%)", "ratio", "p, corrected", "conclusion"),
        list(_gap_rows(found)),
        folded="Gaps",
    )
    yield Table(
        ("recognizer", "worst to best FMR", "worst to best FNMR", "GARBE", "FDR"),
        [
            (
                name,
                *(plain(one.worst_to_best[rate], 2) for rate in RATES),
                plain(one.garbe, 3),
                plain(one.fdr, 4),
            )
            for name, one in found.items()
        ],
        folded="Summary measures",
    )


def _left_out(found: ErrorRateFigures.Column) -> Iterator[Text]:
    """The groups and people that are not compared."""
    if found.too_few:
        few = listed(f"{value} (n = {size})" for value, size in found.too_few.items())
        text = f"Not compared, since fewer than {FEWEST} people support no conclusion: {few}."
        yield Text(text, style="note")
    if found.unknown:
        unknown = plural(found.unknown, "person", "people")
        yield Text(f"Not compared, since their value is not known: {unknown}.", style="note")


def _gap_rows(found: Mapping[str, ErrorRateFigures.Column]) -> Iterator[tuple[str, ...]]:
    for name, column in found.items():
        for gap in column.gaps:
            yield (
                name,
                RATES[gap.rate],
                f"{gap.first} – {gap.second}",
                number(gap.difference, 3, 100),
                number(gap.ratio, 2),
                plain(gap.p_adjusted, 4),
                conclusion(gap),
            )


def group_chart(found: Mapping[str, ErrorRateFigures.Column]) -> Rows:
    """Both rates of each group by recognizer."""
    values = list(next(iter(found.values())).groups)
    panels = [
        Panel(
            list(found),
            [
                Series(value, [_rate(one, value, rate) for one in found.values()], colour)
                for value, colour in zip(values, colours(len(values)), strict=True)
            ],
            f"{label} (%)",
            scale=100,
            limits=(0, None),
        )
        for rate, label in RATES.items()
    ]
    return Rows(panels)


def _rate(found: ErrorRateFigures.Column, value: str, rate: str) -> Estimate:
    estimate: Estimate = getattr(found.groups[value], rate)
    return estimate

"""Gaps between groups of people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from leam.metrics.statistics import FEWEST, verdict
from leam.report.charts import SERIES, Panel, Rows, Series
from leam.report.parts import Drawing, Part, Table, Text, listed, number, plain
from leam.report.section import DROP_AXES, SECTIONS, Box, Context, Section
from leam.study.stages.groups import DROP, GroupFigures, judged_gap, left_out_note

_HEADER = (
    "recognizer",
    "figure",
    "groups",
    "difference",
    "people",
    "p, corrected",
    "Cohen's d",
    "larger in the first group",
    "matched on pose",
    "pairs",
    "p, corrected",
    "d",
    "larger, matched",
    "matched on all",
    "pairs",
)


@SECTIONS("groups")
class Groups(Section):
    """Differences between groups, of all people and of matched ones."""

    name = "groups"
    order = 140
    shows = (GroupFigures,)

    def boxes(self, context: Context) -> Iterator[Box]:
        """A box per column of the people table."""
        for column, found in context.study(GroupFigures).columns.items():
            parts = list(_parts(context, found))
            if left_out := left_out_note(found):
                parts.insert(0, Text(left_out, style="note"))
            yield Box(f"By {column}", parts)


def _parts(context: Context, found: GroupFigures.Column) -> Iterator[Part]:
    if not found.gaps:
        yield Text("There are no two groups of at least five people to compare.")
        return
    sizes = ", ".join(f"{value}: {group.people} people" for value, group in found.groups.items())
    yield Text(
        f"{sizes}. The gap in similarity drop is shown for all people, and for pairs of people matched on pose: "
        "a gap caused by pose disappears when pose is matched. The numbers also have pairs matched on "
        f"{listed(found.covariates)}; they are few where the groups hardly overlap, as in hair. What a parser "
        "cannot detect, such as a beard, is not matched. Cohen's d is in units of the pooled standard deviation"
        " of all people, with and without matching. Matching leaves fewer people, so that its intervals are "
        f"wider: an inconclusive gap is not shown to be absent. Gaps of fewer than {FEWEST} people or pairs are "
        "not charted."
    )
    first, second = found.gaps[0].first, found.gaps[0].second
    drops = {
        row.recognizer: row
        for row in found.gaps
        if row.of == DROP and (row.first, row.second) == (first, second)
    }
    for kind, rows in context.by_similarity(drops).items():
        yield Drawing(
            gap_chart(rows, DROP_AXES[kind]),
            f"Difference in similarity drop, {first} minus {second}",
        )
    if len(found.groups) > 2:  # noqa: PLR2004  a pair
        yield Text(f"The chart shows {first} and {second}; the table has all pairs of groups.")
    yield Table(
        _HEADER,
        [
            (
                row.recognizer,
                "similarity drop" if row.of == DROP else f"share of {row.of}",
                f"{row.first} – {row.second}",
                number(row.difference, 4),
                str(row.difference.n),
                plain(row.p_adjusted, 4),
                plain(row.d, 2),
                str(verdict({"none": judged_gap(found, row)})),
                number(row.matched.difference, 4),
                str(row.matched.difference.n),
                plain(row.matched.p_adjusted, 4),
                plain(row.matched.d, 2),
                str(verdict({"none": row.matched.difference})),
                number(row.matched_on_all.difference, 4),
                str(row.matched_on_all.difference.n),
            )
            for row in found.gaps
        ],
    )


def gap_chart(found: Mapping[str, GroupFigures.Row], axis: str) -> Rows:
    """Differences of the similarity drop between two groups, by recognizer, in one unit."""
    one = next(iter(found.values()))
    panel = Panel(
        list(found),
        [
            Series("all people", [row.difference for row in found.values()], SERIES[0]),
            Series(
                "matched on pose", [row.matched.difference for row in found.values()], SERIES[1]
            ),
        ],
        f"{axis}, {one.first} minus {one.second}",
        line=0,
        counts=True,
    )
    return Rows([panel])

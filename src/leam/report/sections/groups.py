"""Gaps between groups of people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from leam.metrics.statistics import FEWEST, verdict
from leam.report.charts import SERIES, Panel, Rows, Series
from leam.report.parts import Drawing, Part, Table, Text, listed, number, plain
from leam.report.section import SECTIONS, Box, Context, Section
from leam.study.stages.groups import DROP, GroupFigures

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
            yield Box(f"By {column}", list(_parts(found)))


def _verdict(found: GroupFigures.Column, row: GroupFigures.Row) -> str:
    """The verdict on a gap of all people: inconclusive also if one of the groups is small."""
    smaller = min(found.groups[name].people for name in (row.first, row.second))
    n = min(row.difference.n, smaller) if smaller < FEWEST else row.difference.n
    return str(verdict({"none": replace(row.difference, n=n)}))


def _parts(found: GroupFigures.Column) -> Iterator[Part]:
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
    yield Drawing(gap_chart(found), "Difference in similarity drop between two groups")
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
                _verdict(found, row),
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


def gap_chart(found: GroupFigures.Column) -> Rows:
    """Differences of the similarity drop between the first two groups; the table has the others."""
    first, second = found.gaps[0].first, found.gaps[0].second
    rows = [
        row for row in found.gaps if row.of == DROP and (row.first, row.second) == (first, second)
    ]
    panel = Panel(
        [row.recognizer for row in rows],
        [
            Series("all people", [row.difference for row in rows], SERIES[0]),
            Series("matched on pose", [row.matched.difference for row in rows], SERIES[1]),
        ],
        f"similarity drop, {first} minus {second}",
        spread=0.26,
        line=0,
        counts=True,
    )
    return Rows([panel], row_height=0.3)

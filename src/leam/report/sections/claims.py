"""The paper's claims beside the study's figures."""

from __future__ import annotations

from collections.abc import Iterator

from leam.report.claims import families_of, paper_claims
from leam.report.parts import Cell, Part, Table, Text, verdict_style
from leam.report.section import SECTIONS, Context, Section

_TEXT = (
    "The claims of the paper's abstract (arXiv 2509.17457) and the figures of this study. The paper's formulas,"
    " layers, recognizers, data and parser are not those of this study, so figures can be compared in "
    "direction, not digit by digit. A claim is supported only if it beats its strongest control, the one with "
    "the smallest margin: if the 95 % interval of the margin over every control is above zero. It is not "
    "supported if no part of the interval of the margin over the strongest control is above zero. Otherwise, "
    "with fewer than ten people, or without a control, it is inconclusive. Related recognizers form a family, "
    "which has the verdict of more than half of its recognizers; the claim has the verdict of more than half of"
    " the families. bc is the Bhattacharyya coefficient of two maps: 1 for equal maps, 0 for maps without a "
    "common pixel."
)


@SECTIONS("claims")
class Claims(Section):
    """Which claims of the paper hold in this study."""

    name = "claims"
    title = "Compared with the paper"
    order = 20

    def parts(self, context: Context) -> Iterator[Part]:
        """One row per claim."""
        yield Text(_TEXT)
        families = families_of(context.plan)
        yield Table(
            ("claim", "paper", "this study", "strongest control: margin", "verdict", "reason"),
            [
                (
                    row.claim,
                    row.paper,
                    row.here,
                    row.control,
                    Cell(row.verdict, verdict_style(row.verdict)),
                    Cell(row.reason, "muted"),
                )
                for row in paper_claims(context.summary, families)
            ],
            folded="",
        )

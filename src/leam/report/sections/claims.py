"""The paper's claims beside the study's figures."""

from __future__ import annotations

from collections.abc import Iterator

from leam.report.claims import paper_claims
from leam.report.parts import Cell, Part, Table, Text
from leam.report.section import SECTIONS, Context, Section

_TEXT = (
    "The claims of the paper's abstract (arXiv 2509.17457) and the figures of this study. Only the abstract was "
    "available when LEAM was written: the paper's formulas, layers, recognizers, data and parser may differ from those "
    "used here, so figures can be compared in direction only. "
    "The verdict is on the direction alone. bc is the Bhattacharyya coefficient of two maps: 1 for equal maps, 0 for "
    "maps without a common pixel."
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
        yield Table(
            ("claim", "paper", "this study", "direction", "reason"),
            [
                (
                    row.claim,
                    row.paper,
                    row.here,
                    Cell(row.verdict, row.verdict.replace(" ", "-")),
                    Cell(row.reason, "muted"),
                )
                for row in paper_claims(context.summary)
            ],
            folded="",
        )

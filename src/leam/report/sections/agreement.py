"""Whether recognizers rely on the same pixels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from leam.report.charts import Matrix, Tree
from leam.report.parts import Drawing, Heading, Part, Text
from leam.report.section import SECTIONS, Context, Section
from leam.study.stages.agreement import AgreementFigures


@SECTIONS("agreement")
class Agreement(Section):
    """Agreement of every two recognizers, and clusters of recognizers."""

    name = "agreement"
    title = "Do the recognizers agree?"
    order = 120
    shows = (AgreementFigures,)

    def parts(self, context: Context) -> Iterator[Part]:
        """The matrices, ordered by cluster, and the tree."""
        found = context.study(AgreementFigures)
        yield Text(
            "Mean Bhattacharyya coefficient of two recognizers' critical masks on the same face. Similar recognizers "
            f"are listed next to each other. By chance, two masks of this size have {context.settings.top:g} of their "
            "pixels in common."
        )
        yield Drawing(
            agreement_chart(found, "critical"), "Bhattacharyya coefficients of critical masks"
        )
        yield Heading("Clusters")
        yield Drawing(
            Tree(
                found.merges,
                found.recognizers,
                "1 - Bhattacharyya coefficient of critical masks",
                min(one.n for row in found.critical for one in row),
            ),
            "Tree of recognizers by the similarity of their critical masks",
        )
        yield Heading("Whole maps")
        yield Text(
            "Rank correlation of two recognizers' whole maps: a coarse similarity, most of which comes from the face "
            "itself."
        )
        yield Drawing(agreement_chart(found, "rank"), "Rank correlations of whole maps")


def agreement_chart(found: AgreementFigures, kind: Literal["critical", "rank"]) -> Matrix:
    """The means of a matrix, its recognizers ordered by cluster."""
    cells = found.critical if kind == "critical" else found.rank
    order = [found.recognizers.index(name) for name in found.order]
    scale = "Bhattacharyya coefficient" if kind == "critical" else "rank correlation"
    shown = [[cells[i][j] for j in order] for i in order]
    return Matrix(shown, found.order, found.order, scale=scale, highest=1.0)

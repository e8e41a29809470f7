"""Whether critical masks of one recognizer matter to others."""

from __future__ import annotations

from collections.abc import Iterator

from leam.report.charts import Matrix
from leam.report.parts import Drawing, Part, Table, Text, number, plain
from leam.report.section import SECTIONS, Context, Section
from leam.study.stages.transfer import TransferFigures

_TEXT = (
    "Similarity drop of each recognizer (row) when the critical pixels of each recognizer (column) are hidden. The "
    "last column hides as many random pixels. Recognizers measure similarity in different units: compare within a row."
)


@SECTIONS("transfer")
class Transfer(Section):
    """Similarity drops under other recognizers' masks."""

    name = "transfer"
    title = "Do critical masks transfer?"
    order = 130
    shows = (TransferFigures,)

    def parts(self, context: Context) -> Iterator[Part]:
        """The matrix, and each recognizer under its own, others' and random masks."""
        found = context.study(TransferFigures)
        yield Text(_TEXT)
        yield Drawing(transfer_chart(found), "Similarity drop under every recognizer's masks")
        header = (
            "similarity drop of",
            "own mask",
            "other recognizers' masks",
            "random",
            "others minus random",
            "p",
            "people",
        )
        yield Table(
            header,
            [
                (
                    name,
                    number(one.own, 4),
                    number(one.others, 4),
                    number(one.random, 4),
                    number(one.others_over_random.difference, 4),
                    plain(one.others_over_random.p, 4),
                    str(one.own.n),
                )
                for name, one in found.targets.items()
            ],
        )


def transfer_chart(found: TransferFigures) -> Matrix:
    """Similarity drops: a row per recognizer, a column per mask."""
    values = [[cell.mean for cell in row] for row in found.drop]
    return Matrix(values, found.recognizers, found.masks, axes=("similarity drop of", "mask of"))

"""Whether critical masks of one recognizer matter to others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from leam.metrics.statistics import Estimate
from leam.report.charts import Matrix
from leam.report.parts import Drawing, Part, Table, Text, number, plain
from leam.report.section import DROP_AXES, SECTIONS, Context, Section
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
        drops = dict(zip(found.recognizers, found.drop, strict=True))
        for kind, some in context.by_similarity(drops).items():
            yield Drawing(
                transfer_chart(some, found.masks, DROP_AXES[kind]),
                f"Similarity drop under every recognizer's masks, {kind}",
            )
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


def transfer_chart(
    found: Mapping[str, Sequence[Estimate]], masks: Sequence[str], scale: str
) -> Matrix:
    """Similarity drops of one kind: a row per recognizer, a column per mask."""
    return Matrix(
        list(found.values()),
        list(found),
        masks,
        axes=("similarity drop of", "mask of"),
        scale=scale,
    )

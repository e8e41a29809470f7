"""Whether the map finds an exchanged region."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from leam.report.charts import Panel, Rows, Series, colours
from leam.report.parts import Drawing, Part, Table, Text, number
from leam.report.section import SECTIONS, Context, Section
from leam.study.stages.swap import SwapFigures

_TEXT = (
    "One region of a face is exchanged with that of another person in a similar pose. The map of the difference "
    "between the changed face and its original should rank the exchanged pixels highest."
)


@SECTIONS("swap")
class Swap(Section):
    """How well the map of a difference ranks the pixels that differ."""

    name = "swap"
    title = "Does the map find an exchanged region?"
    order = 100
    shows = (SwapFigures,)

    def parts(self, context: Context) -> Iterator[Part]:
        """The areas under the ROC curve by region."""
        found = context.summary.each(SwapFigures)
        yield Text(_TEXT)
        yield Drawing(swap_chart(found), "How well the exchanged pixels are ranked, by region")
        regions = list(next(iter(found.values())).regions)
        yield Table(
            ("recognizer", *regions, "people"),
            [
                (
                    name,
                    *(number(figures.regions[region]) for region in regions),
                    str(max(one.n for one in figures.regions.values())),
                )
                for name, figures in found.items()
            ],
        )


def swap_chart(found: Mapping[str, SwapFigures]) -> Rows:
    """Area under the ROC curve of the exchanged pixels: a dot per region."""
    regions = list(next(iter(found.values())).regions)
    series = [
        Series(region, [figures.regions[region] for figures in found.values()], colour)
        for region, colour in zip(regions, colours(len(regions)), strict=True)
    ]
    panel = Panel(
        list(found),
        series,
        "area under the ROC curve of the exchanged pixels (0.5 = chance)",
        line=0.5,
        limits=(0.45, 1.0),
    )
    return Rows([panel])

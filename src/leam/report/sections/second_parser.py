"""How far region shares depend on the face parser."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from leam.report.charts import Panel, Rows, Series, colours
from leam.report.parts import MISSING, Drawing, Part, Table, Text, percent
from leam.report.section import SECTIONS, Context, Section
from leam.study.stages.regions import RegionFigures
from leam.study.stages.second_parser import SecondParserFigures


@SECTIONS("second_parser")
class SecondParser(Section):
    """The same critical pixels, their regions named by another parser."""

    name = "second_parser"
    title = "How far region shares depend on the parser"
    order = 40
    shows = (SecondParserFigures,)

    def parts(self, context: Context) -> Iterator[Part]:
        """The differences, and the shares under both parsers."""
        settings = context.settings
        second = context.summary.each(SecondParserFigures)
        first = context.summary.each(RegionFigures)
        yield Text(
            f"The same critical pixels with regions from ``{settings.parser}`` and from ``{settings.second_parser}``: "
            "the chart shows by how much the share changes under the second parser."
        )
        yield Drawing(
            difference_chart(second), "Change of each region's share under the second parser"
        )
        rows = []
        for name, figures in second.items():
            own = first[name].regions
            for region, one in figures.regions.items():
                share = percent(own[region].share) if region in own else MISSING
                rows.append((region, name, share, percent(one.share), percent(one.moved)))
        header = (f"{settings.parser}, %", f"{settings.second_parser}, %", "difference, points")
        yield Table(("region", "recognizer", *header), rows)


def difference_chart(found: Mapping[str, SecondParserFigures]) -> Rows:
    """Share under the second parser minus share under the first, in percentage points, where there is any."""
    regions = [
        region
        for region in next(iter(found.values())).regions
        if any(figures.regions[region].moved.mean for figures in found.values())
    ]
    series = [
        Series(name, [figures.regions[region].moved for region in regions], colour)
        for (name, figures), colour in zip(found.items(), colours(len(found)), strict=True)
    ]
    panel = Panel(regions, series, "difference of shares, points", scale=100, line=0)
    return Rows([panel])

"""Which regions of the face hold the critical pixels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from leam.metrics.statistics import verdict
from leam.parsers.drawing import region_colour
from leam.report.charts import Expected, Panel, Rows, Series, colours
from leam.report.parts import Drawing, Part, Table, Text, percent
from leam.report.section import SECTIONS, Context, Section
from leam.study.stages.regions import RegionFigures

_AXIS = "% of the critical pixels"


@SECTIONS("regions")
class Regions(Section):
    """Shares of the critical pixels by region, beside the regions' areas."""

    name = "regions"
    title = "Which parts of the face hold the critical pixels"
    order = 30
    shows = (RegionFigures,)

    def parts(self, context: Context) -> Iterator[Part]:
        """The chart, and all shares, masses and areas."""
        found = context.summary.each(RegionFigures)
        yield Text(
            f"The critical pixels are the top {100 * context.settings.top:g} % of each overall map. A region that "
            "holds a larger share of them than its area receives more attention than expected by chance. Edges near "
            "the middle of the picture, which need no network, and the same network with random weights also favour "
            "some regions: a region is favoured by what the recognizer has learnt only if its share exceeds all three. "
            "Whiskers are 95 % intervals over people."
        )
        yield Drawing(region_chart(found), "Share of the critical pixels in each region")
        header = (
            "region",
            "recognizer",
            "share of critical pixels, %",
            "share of the map, %",
            "area, %",
            "edges, %",
            "random weights, %",
            "share minus strongest control, points",
            "larger than all controls",
            "people",
        )
        yield Table(
            header,
            [
                (
                    region,
                    name,
                    percent(one.share),
                    percent(one.mass),
                    percent(one.area),
                    percent(one.edges),
                    percent(one.random_weights),
                    percent(verdict(one.margins).margin),
                    str(verdict(one.margins)),
                    str(one.share.n),
                )
                for name, figures in found.items()
                for region, one in figures.regions.items()
            ],
        )


def region_chart(found: Mapping[str, RegionFigures]) -> Rows:
    """Share of the critical pixels in each region, the largest first, with the region's area as the level of chance."""
    first = next(iter(found.values()))
    means = {
        region: float(np.mean([one.regions[region].share.mean or 0 for one in found.values()]))
        for region, one in first.regions.items()
        if one.area.mean
    }
    regions = sorted(means, key=lambda region: -means[region])
    areas = [
        float(np.mean([one.regions[region].area.mean or 0 for one in found.values()]))
        for region in regions
    ]
    single = len(found) == 1
    series = [
        Series(
            "share" if single else name,
            [figures.regions[region].share for region in regions],
            [_hex(region_colour(region)) for region in regions] if single else colour,
        )
        for (name, figures), colour in zip(found.items(), colours(len(found)), strict=True)
    ]
    panel = Panel(
        regions,
        series,
        _AXIS,
        scale=100,
        bars=single,
        expected=Expected("area (chance)", areas),
        limits=(0, None),
    )
    return Rows([panel])


def _hex(colour: tuple[float, float, float]) -> str:
    return "#" + "".join(f"{round(255 * channel):02x}" for channel in colour)

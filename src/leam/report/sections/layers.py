"""Where each layer looks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from leam.metrics.statistics import Estimate
from leam.report.charts import SERIES, Panel, Reference, RegionMap, Rows, Series
from leam.report.parts import Cards, Drawing, Heading, Part, Table, Text, number, plural
from leam.report.pictures import layer_pictures
from leam.report.section import SECTIONS, Context, Section
from leam.study.stages.agreement import AgreementFigures
from leam.study.stages.layers import LayerFigures
from leam.study.stages.regions import RegionFigures


@SECTIONS("layers")
class Layers(Section):
    """How much layers differ, and the maps of each layer."""

    name = "layers"
    title = "Layer by layer"
    order = 150
    shows = (LayerFigures,)

    def parts(self, context: Context) -> Iterator[Part]:
        """The divergence between layers, then the layers of each recognizer."""
        found = context.summary.each(LayerFigures)
        agreement = context.summary.get(AgreementFigures)
        beside = "; the band is the divergence between two recognizers' overall maps"
        yield Text(
            "How differently two layers of one recognizer are spread over the regions of the face, on average over all "
            f"pairs of layers{beside if agreement else ''}."
        )
        divergence = agreement.divergence if agreement else None
        yield Drawing(
            divergence_chart(found, divergence), "Divergence between layers of each recognizer"
        )
        rows = [
            (name, number(one.divergence), str(one.divergence.n)) for name, one in found.items()
        ]
        if divergence:
            rows.append(("between two recognizers", number(divergence), str(divergence.n)))
        yield Table(("recognizer", "divergence of region profiles, bits", "people"), rows)
        yield Text(
            "Mean map of each layer on the mean face, from early to late, and the density of each layer's map in each "
            "region."
        )
        regions = context.summary.each(RegionFigures)
        for name, figures in found.items():
            means = context.means[name]
            yield Heading(f"{name}, {plural(len(means.layers), 'layer')}")
            yield Cards(layer_pictures(means, name), size="small")
            if figures.layers and name in regions:
                yield Drawing(
                    density_chart(figures, regions[name], len(means.layers)),
                    f"Density of each layer of {name} in each region",
                )


def divergence_chart(found: Mapping[str, LayerFigures], between: Estimate | None) -> Rows:
    """The divergence between layers of each recognizer, beside that between recognizers."""
    series = Series(
        "two layers of one recognizer", [one.divergence for one in found.values()], SERIES[0]
    )
    reference = None
    if between is not None and between.mean is not None:
        reference = Reference("overall maps of two recognizers", between, SERIES[1])
    panel = Panel(
        list(found),
        [series],
        "Jensen-Shannon divergence of region profiles, bits",
        reference=reference,
        limits=(0, None),
    )
    return Rows([panel], row_height=0.26)


def density_chart(figures: LayerFigures, overall: RegionFigures, layers: int) -> RegionMap:
    """Part of each layer's map in each region over the region's area; the densest regions first.

    Args:
        figures: Of the layers; layers without any map are absent.
        overall: The areas of the regions.
        layers: Number of layers.
    """
    areas = {region: one.area.mean for region, one in overall.regions.items() if one.area.mean}
    values: dict[str, list[float | None]] = {region: [None] * layers for region in areas}
    for layer in figures.layers.values():
        for region, area in areas.items():
            mass = layer.regions[region].mean if region in layer.regions else None
            if mass is not None:
                values[region][layer.depth - 1] = mass / area
    known = {region: [one for one in row if one is not None] for region, row in values.items()}
    means = {region: float(np.mean(row)) if row else 0.0 for region, row in known.items()}
    order = sorted(areas, key=lambda region: (-means[region], region))
    return RegionMap([values[region] for region in order], order, "mass / area (1 = chance)")

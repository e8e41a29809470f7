"""Where each layer looks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from leam.metrics.statistics import FEWEST, NOTHING, verdict
from leam.report.charts import MUTED, SERIES, Panel, RegionMap, Rows, Series, shared_highest
from leam.report.parts import (
    MISSING,
    Cards,
    Drawing,
    Heading,
    Part,
    Table,
    Text,
    number,
    plain,
    plural,
)
from leam.report.pictures import colour_bar, layer_pictures, scale_end
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
        if agreement is None:
            yield from _divergences(found)
        else:
            yield from _comparison(agreement)
        yield Text(
            "Mean map of each layer, from early to late, and the density of each layer's map in each "
            "region."
        )
        regions = context.summary.each(RegionFigures)
        charts = {
            name: density_chart(figures, regions[name], len(context.means[name].layers))
            for name, figures in found.items()
            if figures.layers and name in regions
        }
        # One colour scale for all recognizers, and one for their maps.
        highest = shared_highest(
            cell.mean for one in charts.values() for row in one.cells for cell in row
        )
        brightest = scale_end(layer for name in found for layer in context.means[name].layers)
        yield colour_bar(brightest)
        for name in found:
            means = context.means[name]
            yield Heading(f"{name}, {plural(len(means.layers), 'layer')}", recognizer=name)
            yield Cards(
                layer_pictures(means, name, context.plan.model(name).card.crop, brightest),
                size="small",
                recognizer=name,
            )
            if name in charts:
                yield Drawing(
                    replace(charts[name], highest=highest),
                    f"Density of each layer of {name} in each region",
                    recognizer=name,
                )


def _divergences(found: Mapping[str, LayerFigures]) -> Iterator[Part]:
    """The divergence between the layers of a single recognizer, which has nothing to be compared with."""
    yield Text(
        "How differently two layers of one recognizer are spread over the regions of the face, on average over "
        "all pairs of layers."
    )
    yield Table(
        ("recognizer", "divergence of region profiles, bits", "people"),
        [(name, number(one.divergence), str(one.divergence.n)) for name, one in found.items()],
        folded="",
    )


def _comparison(found: AgreementFigures) -> Iterator[Part]:
    """The divergence between layers of one recognizer and of two."""
    yield Text(
        "How differently two single layers are spread over the regions of the face: two layers of one "
        "recognizer at different relative depths, layers of two recognizers at the same relative depth, and at "
        f"different depths. Layers are taken at {found.depths} equal steps of relative depth. That layers differ"
        " more than recognizers is supported if the first divergence exceeds the second one. Dots with fewer "
        f"than {FEWEST} people are left out."
    )
    yield Drawing(layer_chart(found), "Divergence between layers of one recognizer and of two")
    rows = {**found.layers_of, "all recognizers": found.layers}
    yield Table(
        (
            "recognizer",
            "one recognizer, bits",
            "two, same depth",
            "two, different depths",
            "one minus two at the same depth",
            "p",
            "verdict",
            "people",
        ),
        [
            (
                name,
                number(one.within),
                number(one.between),
                number(one.unrelated),
                number(one.margin.difference),
                plain(one.margin.p, 4),
                # The claim is judged by recognizer, not by the mean of all.
                str(verdict({"two recognizers": one.margin.difference}))
                if name in found.layers_of
                else MISSING,
                str(one.within.n),
            )
            for name, one in rows.items()
        ],
        folded="",
    )


def layer_chart(found: AgreementFigures) -> Rows:
    """The divergences between layers by recognizer and kind."""
    rows = found.layers_of.values()
    panel = Panel(
        list(found.layers_of),
        [
            Series("one recognizer", [one.within for one in rows], SERIES[0]),
            Series("two, same relative depth", [one.between for one in rows], SERIES[1]),
            Series("two, different depths", [one.unrelated for one in rows], MUTED),
        ],
        "Jensen-Shannon divergence of region profiles of two layers, bits",
        limits=(0, None),
        counts=True,
    )
    return Rows([panel])


def density_chart(figures: LayerFigures, overall: RegionFigures, layers: int) -> RegionMap:
    """Part of each layer's map in each region over the region's area; the densest regions first.

    Args:
        figures: Of the layers; layers without any map are absent.
        overall: The areas of the regions.
        layers: Number of layers.
    """
    areas = {region: one.area.mean for region, one in overall.regions.items() if one.area.mean}
    cells = {region: [NOTHING] * layers for region in areas}
    names = [f"layer {depth}" for depth in range(1, layers + 1)]
    for name, layer in figures.layers.items():
        names[layer.depth - 1] = name
        for region, area in areas.items():
            mass = layer.regions.get(region, NOTHING)
            cells[region][layer.depth - 1] = mass.linear(1 / area)
    known = {
        region: [one.mean for one in row if one.mean is not None] for region, row in cells.items()
    }
    means = {region: float(np.mean(row)) if row else 0.0 for region, row in known.items()}
    order = sorted(areas, key=lambda region: (-means[region], region))
    shown = [cells[region] for region in order]
    highest = shared_highest(cell.mean for row in shown for cell in row)
    return RegionMap(shown, order, names, "mass / area (1 = chance)", highest)

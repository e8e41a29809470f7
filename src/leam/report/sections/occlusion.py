"""What hiding the critical pixels does to the similarity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from leam.report.charts import MASK_COLOURS, SERIES, Panel, Rows, Series
from leam.report.parts import Drawing, Part, Table, Text, number, plain
from leam.report.section import SECTIONS, Context, Section
from leam.study.masks import CRITICAL
from leam.study.stages.occlusion import OcclusionFigures


@SECTIONS("occlusion")
class Occlusion(Section):
    """Similarity drops under the critical mask and under each control."""

    name = "occlusion"
    title = "Do the critical pixels matter?"
    order = 60
    shows = (OcclusionFigures,)

    def parts(self, context: Context) -> Iterator[Part]:
        """The chart, and the margins with their effect sizes."""
        found = context.summary.each(OcclusionFigures)
        yield Text(
            f"The critical pixels are hidden (fill: ``{context.settings.fill}``). If the map is right, this lowers the "
            "similarity with the person's other pictures by more than hiding as many pixels elsewhere. Controls: "
            "``scattered`` hides single random pixels, which act like noise; ``moved`` hides the same blobs at random "
            "places."
        )
        yield Drawing(drop_chart(found), "Similarity drop under the critical mask and each control")
        header = (
            "recognizer",
            "mask",
            "similarity drop",
            "critical minus control",
            "p",
            "d",
            "similarity",
            "people",
        )
        yield Table(header, list(_rows(context, found)))


def _rows(context: Context, found: Mapping[str, OcclusionFigures]) -> Iterator[tuple[str, ...]]:
    for name, figures in found.items():
        kind, drop = context.summary.recognizers[name].similarity, figures.drop
        yield name, CRITICAL, number(drop, 4), "", "", "", kind, str(drop.n)
        for control, drop in figures.controls.items():
            margin = figures.margins[control]
            yield (
                name,
                control,
                number(drop, 4),
                number(margin.difference, 4),
                plain(margin.p, 4),
                plain(margin.d, 2),
                kind,
                str(drop.n),
            )


def drop_chart(found: Mapping[str, OcclusionFigures]) -> Rows:
    """Similarity drops: a bar for the critical mask and for each control."""
    controls = list(next(iter(found.values())).controls)
    series = [
        Series(
            mask,
            [
                figures.drop if mask == CRITICAL else figures.controls[mask]
                for figures in found.values()
            ],
            MASK_COLOURS.get(mask, SERIES[(place + 2) % len(SERIES)]),
        )
        for place, mask in enumerate((CRITICAL, *controls))
    ]
    panel = Panel(
        list(found), series, "drop of the similarity with the other pictures", bars=True, line=0
    )
    return Rows([panel], row_height=0.22 * len(series))

"""What hiding the critical pixels does to the similarity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from leam.metrics.controls import MAPS_OF_OTHERS
from leam.metrics.statistics import Verdict, verdict
from leam.report.charts import MASK_COLOURS, SERIES, Panel, Rows, Series
from leam.report.parts import MISSING, Drawing, Part, Table, Text, number, plain
from leam.report.section import DROP_AXES, SECTIONS, Context, Section
from leam.study.masks import CRITICAL
from leam.study.stages.occlusion import OcclusionFigures

_CONTROLS = (
    "Controls: ``scattered`` hides single random pixels, which act like noise; ``moved`` hides the pieces of the mask "
    "at random places, ``moved_on_face`` at places on the face; ``centre`` a disc in the middle; ``other_person`` "
    "another person's mask; ``population`` the mask of the mean map of all other people; ``edges`` the edges of the "
    "face, without a network; ``lowest`` the lowest pixels of the map. Pieces are connected pixels of a mask; their "
    "number and the size of the largest are medians over faces."
)


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
            "similarity with the person's other pictures by more than hiding as many pixels elsewhere. The claim is "
            "supported if the drop exceeds that of every control, with the 95 % interval of the paired difference "
            "above zero; it is shown beside its strongest control. Maps of other pictures (``other_person``, "
            "``population``) are no controls of this claim: they are compared in the section on own masks."
        )
        verdicts = {name: _verdict(one) for name, one in found.items()}
        yield Table(
            (
                "recognizer",
                "similarity drop",
                "strongest control",
                "its drop",
                "critical minus control",
                "verdict",
            ),
            [
                (
                    name,
                    number(one.drop, 4),
                    one.strongest or MISSING,
                    number(one.controls[one.strongest], 4) if one.strongest else MISSING,
                    number(verdicts[name].margin, 4),
                    str(verdicts[name]),
                )
                for name, one in found.items()
            ],
            folded="",
        )
        yield Text(_CONTROLS, style="muted")
        for kind, some in context.by_similarity(found).items():
            yield Drawing(
                drop_chart(some, DROP_AXES[kind]),
                f"Similarity drop under the critical mask and each control, {kind}",
            )
        header = (
            "recognizer",
            "mask",
            "similarity drop",
            "critical minus control",
            "p",
            "d",
            "pieces",
            "largest piece, pixels",
            "similarity",
            "people",
        )
        yield Table(header, list(_rows(context, found)))


def _verdict(figures: OcclusionFigures) -> Verdict:
    margins = figures.margins.items()
    return verdict({k: one.difference for k, one in margins if k not in MAPS_OF_OTHERS})


def _rows(context: Context, found: Mapping[str, OcclusionFigures]) -> Iterator[tuple[str, ...]]:
    for name, figures in found.items():
        kind = context.summary.recognizers[name].similarity
        for mask, drop in {CRITICAL: figures.drop, **figures.controls}.items():
            margin, pieces = figures.margins.get(mask), figures.pieces[mask]
            yield (
                name,
                mask,
                number(drop, 4),
                *(
                    (number(margin.difference, 4), plain(margin.p, 4), plain(margin.d, 2))
                    if margin
                    else ("", "", "")
                ),
                plain(pieces.count, 0),
                plain(pieces.largest, 0),
                kind,
                str(drop.n),
            )


def drop_chart(found: Mapping[str, OcclusionFigures], axis: str = DROP_AXES["cosine"]) -> Rows:
    """Similarity drops of one kind: a bar for the critical mask and for each control."""
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
    panel = Panel(list(found), series, f"{axis}, other pictures", bars=True, line=0)
    return Rows([panel])

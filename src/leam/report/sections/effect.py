"""Whether a person's own mask lowers the similarity more than masks that are not the person's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from leam.metrics.statistics import FEWEST, Estimate, verdict
from leam.report.charts import MUTED, SERIES, Panel, Rows, Series
from leam.report.parts import Drawing, Part, Table, Text, number
from leam.report.section import SECTIONS, Context, Section
from leam.study.masks import CRITICAL
from leam.study.stages.effect import FILLS, MASKS, EffectFigures

Found = Mapping[str, EffectFigures]

_TEXT = (
    "As many pixels are hidden by the person's own critical mask, by the mask of the person's other picture, of "
    "another person, of the mean map of all other people (population), and by edge maps, which need no network. If "
    "maps are person-specific, the person's mask lowers the similarity by more than another person's and than the "
    "population's, and its lead over another person's exceeds the lead that edges have. The claim is supported only if "
    "the intervals of all three margins are above zero. No fill decides alone: black changes dark pixels least, so a "
    "face's own dark features look weak; blur erases edges, so edges look strong; the mean colour lies between."
)
# The margins of each claim: by control, the contrast that compares the mask with it.
_CLAIMS = {
    "same": {
        "another person": "own_other_person",
        "population": "own_population",
        "edges": "own_beyond_edges",
    },
    "other": {
        "another person": "other_picture_other_person",
        "population": "other_picture_population",
        "edges": "other_picture_beyond_edges",
    },
}
_MASK_OF = {"same": CRITICAL, "other": "other_picture"}
_EDGES_OF = {"same": "edges_other_person", "other": "edges_other_picture_other_person"}
_CLAIM_HEADER = (
    "recognizer",
    "mask made of",
    "fill",
    "similarity drop",
    "minus another person's",
    "d",
    "minus the population's",
    "edges minus another person's edges",
    "d",
    "lead beyond that of edges",
    "verdict",
)


@SECTIONS("effect")
class PersonEffect(Section):
    """Similarity drops under own and other masks, for each fill."""

    name = "effect"
    title = "Do a person's masks work better than other masks?"
    order = 65
    shows = (EffectFigures,)

    def parts(self, context: Context) -> Iterator[Part]:
        """The verdict for each fill beside the controls, and all drops."""
        found = context.summary.each(EffectFigures)
        yield Text(_TEXT)
        yield Drawing(effect_chart(found), "Lead of the own mask over another person's mask")
        yield Text(
            f"On how many of {len(found)} recognizers the 95 % interval of a margin is above zero, and the claim is "
            "supported:"
        )
        yield Table(
            (
                "mask made of",
                "fill",
                *(f"margin over {name}" for name in _CLAIMS["same"]),
                "supported",
            ),
            list(_counts(found)),
            folded="",
        )
        yield Table(_CLAIM_HEADER, list(_claims(found)), folded="By recognizer")
        yield Text(
            "The same differences per unit of changed pixel energy (mean squared change of the chip's values, 0-1); "
            "ratios of means, with people resampled.",
            style="muted",
        )
        yield Table(
            (
                "recognizer",
                "mask made of",
                "fill",
                "minus another person's",
                "minus the population's",
                "lead beyond that of edges",
            ),
            list(_per_energy(found)),
            folded="Per unit of energy",
        )
        yield Table(
            ("recognizer", "fill", *MASKS, "people"),
            list(_drops(found)),
            folded="Similarity drops",
        )


def _counts(found: Found) -> Iterator[tuple[str, ...]]:
    for picture, contrasts in _CLAIMS.items():
        for fill in FILLS:
            margins = [
                [figures.fills[fill].contrasts[c].drop for c in contrasts.values()]
                for figures in found.values()
            ]
            above = [
                sum(one.n >= FEWEST and one.low is not None and one.low > 0 for one in column)
                for column in zip(*margins, strict=True)
            ]
            words = [verdict(dict(zip(contrasts, row, strict=True))).word for row in margins]
            counts = (*above, words.count("supported"))
            yield (_picture(picture), fill, *map(str, counts))


def _claims(found: Found) -> Iterator[tuple[str, ...]]:
    for name, figures in found.items():
        for picture, contrasts in _CLAIMS.items():
            for fill, one in figures.fills.items():
                margins = {control: one.contrasts[c] for control, c in contrasts.items()}
                other, edges = margins["another person"], one.contrasts[_EDGES_OF[picture]]
                yield (
                    name,
                    _picture(picture),
                    fill,
                    number(one.drops[_MASK_OF[picture]], 4),
                    number(other.drop, 4),
                    number(other.d, 2),
                    number(margins["population"].drop, 4),
                    number(edges.drop, 4),
                    number(edges.d, 2),
                    number(margins["edges"].drop, 4),
                    str(verdict({control: margin.drop for control, margin in margins.items()})),
                )


def _per_energy(found: Found) -> Iterator[tuple[str, ...]]:
    for name, figures in found.items():
        for picture, contrasts in _CLAIMS.items():
            for fill, one in figures.fills.items():
                ratios = (number(one.contrasts[c].per_energy, 1) for c in contrasts.values())
                yield name, _picture(picture), fill, *ratios


def _drops(found: Found) -> Iterator[tuple[str, ...]]:
    for name, figures in found.items():
        for fill, one in figures.fills.items():
            drops = (number(one.drops[mask], 4) for mask in MASKS)
            yield name, fill, *drops, str(one.drops[CRITICAL].n)


def _picture(which: str) -> str:
    return f"{which} picture"


def effect_chart(found: Found) -> Rows:
    """Paired d of the own mask against another person's, and of edges, for each fill."""

    def panel(fill: str) -> Panel:
        def values(contrast: str) -> list[Estimate]:
            return [figures.fills[fill].contrasts[contrast].d for figures in found.values()]

        series = [
            Series("own mask minus another person's", values("own_other_person"), SERIES[0]),
            Series("edges minus another person's edges", values("edges_other_person"), MUTED),
        ]
        return Panel(list(found), series, "paired d", title=fill, line=0)

    return Rows([panel(fill) for fill in FILLS])

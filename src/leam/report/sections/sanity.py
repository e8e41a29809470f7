"""Whether the map depends on what the network has learnt."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from leam.metrics.statistics import FEWEST, Estimate
from leam.report.charts import Line, LinePanel, Lines, charted, colours
from leam.report.parts import Drawing, Part, Table, Text, number
from leam.report.section import SECTIONS, Context, Section
from leam.study.stages.sanity import SanityFigures

_TEXT = (
    "Layers are randomised from the top down, and the map is compared with the true one. The map should change: what "
    "remains at 100 % comes from the picture and the architecture, not from the trained weights. Randomised layers are "
    "calibrated, so that their activations have the mean and deviation that they have in the trained network. Steps "
    f"with fewer than {FEWEST} people are in the table only."
)


@SECTIONS("sanity")
class Sanity(Section):
    """Similarity to the true map under cascading randomisation."""

    name = "sanity"
    title = "Does the map depend on the trained weights?"
    order = 90
    shows = (SanityFigures,)

    def parts(self, context: Context) -> Iterator[Part]:
        """The similarities by step, and what remains when all layers are random."""
        found = context.summary.each(SanityFigures)
        yield Text(_TEXT)
        yield Drawing(randomisation_chart(found), "Similarity to the true map by randomised layers")
        header = (
            "recognizer",
            "rank correlation, all randomised",
            "structural similarity, all randomised",
            "people",
        )
        yield Table(
            header,
            [
                (
                    name,
                    number(last.rank),
                    number(last.ssim),
                    f"invalid: {last.invalid}" if last.invalid else str(last.rank.n),
                )
                for name, last in ((name, figures.steps[-1]) for name, figures in found.items())
            ],
        )


def randomisation_chart(found: Mapping[str, SanityFigures]) -> Lines:
    """Rank correlation and structural similarity over the part of the layers that is randomised."""
    ranks = [
        _line(name, figures, [charted(step.rank) for step in figures.steps], colour)
        for (name, figures), colour in zip(found.items(), colours(len(found)), strict=True)
    ]
    similarities = [
        _line(name, figures, [charted(step.ssim) for step in figures.steps], colour)
        for (name, figures), colour in zip(found.items(), colours(len(found)), strict=True)
    ]
    people = [figures.steps[-1].rank.n for figures in found.values()]
    axis = f"% of the layers randomised, top down; {_people(people)}"
    return Lines(
        [
            LinePanel("rank correlation", ranks, axis, zero=True),
            LinePanel("structural similarity", similarities, axis, zero=True),
        ],
        "similarity to the true map",
    )


def _people(numbers: Collection[int]) -> str:
    fewest, most = min(numbers), max(numbers)
    return f"n = {fewest}" if fewest == most else f"n = {fewest} to {most}"


def _line(name: str, figures: SanityFigures, values: list[Estimate], colour: str) -> Line:
    """Values over the part of the layers that is randomised; without any, the map is the true map."""
    estimates = [Estimate(1.0, None, None, 0), *values]
    return Line(
        name,
        [0.0, *(100 * step.randomised for step in figures.steps)],
        [one.mean for one in estimates],
        colour,
        estimates=estimates,
    )

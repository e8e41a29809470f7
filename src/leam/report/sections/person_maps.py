"""Whether masks made of several pictures of a person work on other pictures of that person."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from leam.metrics.statistics import Estimate
from leam.report.charts import MUTED, SERIES, Line, LinePanel, Lines
from leam.report.parts import Drawing, Part, Table, Text, number
from leam.report.section import SECTIONS, Context, Section
from leam.study.run_data import mean_of_known
from leam.study.stages.effect import FILLS
from leam.study.stages.person_maps import EDGES, OTHER, OWN, POPULATION, PersonMapFigures

Found = Mapping[str, PersonMapFigures]

_TEXT = (
    "A person map is made of several pictures of a person. Its mask is applied only to other pictures of that person, "
    "whose similarity to the template of the map's pictures is measured. If the map shows something of the person, its "
    "mask lowers the similarity by more than another person's mask and than the population's, and its lead over "
    "another person's exceeds the lead that person maps of edges have, which need no network. The claim is supported "
    "only if the intervals of all three margins are above zero."
)
_OVERLAP = (
    "The overlap (Bhattacharyya coefficient) of the critical masks of two maps without a common picture, of the same "
    "person (genuine) and of two people (impostor). Maps of edges overlap in a similar way, so that overlap alone says "
    "nothing about a recognizer."
)


@SECTIONS("person_maps")
class PersonMaps(Section):
    """Effect and overlap of person maps over the number of pictures."""

    name = "person_maps"
    title = "Do person maps work on new pictures?"
    order = 67
    shows = (PersonMapFigures,)

    def parts(self, context: Context) -> Iterator[Part]:
        """Curves over the number of pictures, the verdicts, and the overlap."""
        found = context.summary.each(PersonMapFigures)
        yield Text(_TEXT)
        if not any(figures.counts for figures in found.values()):
            yield Text("No person has enough pictures.")
            return
        yield Drawing(effect_chart(found), "Lead of person maps over the number of pictures")
        header = (
            "recognizer",
            "pictures",
            "fill",
            "person map",
            "similarity drop",
            "minus another person's",
            "d",
            "minus the population's",
            "edges minus another person's edges",
            "lead beyond that of edges",
            "people",
            "verdict",
        )
        yield Table(header, list(_effects(found)), folded="")
        yield Text(_OVERLAP)
        yield Drawing(overlap_chart(found), "Overlap of person maps over the number of pictures")
        yield Table(
            (
                "recognizer",
                "pictures",
                "person map",
                "genuine pairs",
                "impostor pairs",
                "AUC",
                "d'",
                "people",
            ),
            [
                (
                    name,
                    count,
                    kind,
                    *(number(value) for value in (one.genuine, one.impostor, one.auc, one.d_prime)),
                    str(one.genuine.n),
                )
                for name, figures in found.items()
                for count, figure in figures.counts.items()
                for kind, one in figure.overlap.items()
            ],
            folded="Overlap",
        )


def _effects(found: Found) -> Iterator[tuple[str, ...]]:
    for name, figures in found.items():
        for count, one in figures.counts.items():
            for fill, effect in one.fills.items():
                edges = effect.contrasts[EDGES][OTHER].drop
                for kind, word in effect.verdicts.items():
                    margins = effect.contrasts[kind]
                    yield (
                        name,
                        count,
                        fill,
                        kind,
                        number(effect.drops[f"{kind}_{OWN}"], 4),
                        number(margins[OTHER].drop, 4),
                        number(margins[OTHER].d, 2),
                        number(margins[POPULATION].drop, 4),
                        number(edges, 4),
                        number(margins[EDGES].drop, 4),
                        str(margins[OTHER].drop.n),
                        word,
                    )


def effect_chart(found: Found) -> Lines:
    """Paired d over the number of pictures, a panel for each fill: means over the recognizers."""
    kinds = _kinds(found)

    def line(label: str, fill: str, kind: str, control: str, colour: str) -> Line:
        def value(one: PersonMapFigures.CountFigures) -> Estimate:
            return one.fills[fill].contrasts[kind][control].d

        bold = control == OTHER and kind != EDGES
        return _line(found, label, value, colour, 2.2 if bold else 1.2)

    panels = []
    for fill in FILLS:
        lines = [line("edges, over another person", fill, EDGES, OTHER, MUTED)]
        for kind, colour in zip(kinds, SERIES, strict=False):
            lines.append(line(f"{kind}, over another person", fill, kind, OTHER, colour))
            lines.append(line(f"{kind}, over the population", fill, kind, POPULATION, colour))
        panels.append(LinePanel(fill, lines, "pictures of the map", zero=True))
    return Lines(panels, "paired d, mean over recognizers")


def overlap_chart(found: Found) -> Lines:
    """The AUC of the overlap over the number of pictures: means over the recognizers."""
    colours = {**dict(zip(_kinds(found), SERIES, strict=False)), EDGES: MUTED}
    lines = []
    for kind, colour in colours.items():

        def value(one: PersonMapFigures.CountFigures, kind: str = kind) -> Estimate | None:
            return one.overlap[kind].auc if kind in one.overlap else None

        lines.append(_line(found, kind, value, colour, 1.2 if kind == EDGES else 2.2))
    return Lines([LinePanel("overlap", lines, "pictures of the map")], "AUC, mean over recognizers")


def _line(
    found: Found,
    label: str,
    value: Callable[[PersonMapFigures.CountFigures], Estimate | None],
    colour: str,
    width: float,
) -> Line:
    """The mean of a figure over the recognizers, for each number of pictures."""
    counts = sorted({int(count) for figures in found.values() for count in figures.counts})
    rows, people = [], []
    for figures in found.values():
        given = [figures.counts.get(str(count)) for count in counts]
        estimates = [None if one is None else value(one) for one in given]
        rows.append([np.nan if e is None or e.mean is None else e.mean for e in estimates])
        people += [e.n for e in estimates if e is not None and e.mean is not None]
    means = mean_of_known(np.array(rows), axis=0)
    points = [float(mean) if np.isfinite(mean) else None for mean in means]
    places = [float(count) for count in counts]
    return Line(label, places, points, colour, width, people=min(people, default=None))


def _kinds(found: Found) -> list[str]:
    """The estimates."""
    effects = (
        effect
        for figures in found.values()
        for one in figures.counts.values()
        for effect in one.fills.values()
    )
    return list(next(effects).verdicts)

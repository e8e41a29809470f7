"""Whether maps are person-specific."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from leam.metrics.statistics import verdict
from leam.report.charts import MUTED, SERIES, Histogram, Histograms, Panel, Rows, Series
from leam.report.parts import Cards, Drawing, Fold, Heading, Part, Table, Text, number, plain
from leam.report.pictures import colour_bar, gallery
from leam.report.section import SECTIONS, Context, Section
from leam.study.stages.specificity import SpecificityFigures

Found = Mapping[str, SpecificityFigures]

_TEXT = (
    "The Bhattacharyya coefficient (bc) of two maps: 1 for equal maps, 0 for maps without a common pixel. Genuine "
    "pairs are two pictures of the same person, impostor pairs are pictures of two people. Where genuine pairs are "
    "more alike, the maps depend on the person, or on what the person's pictures share, such as pose. The AUC is the "
    "probability that a genuine pair is more alike than an impostor pair; its chance level comes from permuted "
    "identities, with 95 % of the permutations in the interval."
)
_OPERANDS = (
    "Rows: ``critical`` compares critical masks, ``dense`` whole maps, ``density`` the densities (share divided by "
    "area) of the critical pixels in each region, ``halves`` the critical masks of mean maps over half of a person's "
    "pictures each, and ``pattern`` a picture's critical mask with that of a mean map of all pictures of the same or "
    "of another person."
)
_CONTROLS = (
    "Maps are more alike within people than between people even without a recognizer. Controls: ``edges`` compares the "
    "critical masks of edge maps, ``areas`` the areas of the regions, and ``random_weights`` the critical masks of the "
    "same network with random weights (some people of the study, compared within slices). Overlap shows something of "
    "the recognizer only if the AUC of its critical masks exceeds that of every control, with the 95 % interval of the "
    "difference above zero."
)
_MATCHED = (
    "Pose and alignment also make maps alike. Here each genuine pair is compared with the 20 impostor pairs that are "
    "nearest to it in the distance between landmarks, or in the coefficient of edge maps."
)
_GALLERY = (
    "Two faces of each person with their maps. Below: the mean coefficients of the critical masks in the person's "
    "genuine and impostor pairs."
)


@SECTIONS("specificity")
class PersonSpecificity(Section):
    """Coefficients of genuine and impostor pairs, their distributions, and people at both ends."""

    name = "specificity"
    title = "Are maps person-specific?"
    order = 50
    shows = (SpecificityFigures,)

    def parts(self, context: Context) -> Iterator[Part]:
        """Charts, numbers, and galleries where faces may be shown."""
        found = context.summary.each(SpecificityFigures)
        yield Text(_TEXT)
        yield Drawing(coefficient_chart(found), "Mean coefficients of genuine and impostor pairs")
        yield Heading("All pairs, critical pixels")
        yield Drawing(
            histogram_chart(found), "Distributions of coefficients of genuine and impostor pairs"
        )
        yield Text(_OPERANDS, style="muted")
        header = (
            "recognizer",
            "compared",
            "genuine pairs",
            "impostor pairs",
            "AUC",
            "AUC by chance",
            "p",
            "people",
        )
        yield Table(header, list(_operand_rows(found)))
        yield from _controlled(found)
        if context.faces:
            yield from self._galleries(context)

    def _galleries(self, context: Context) -> Iterator[Part]:
        for place, name in enumerate(context.summary.each(SpecificityFigures)):
            people = gallery(context.run, name)
            parts: list[Part] = []
            for heading, pictures in (
                ("Most person-specific", people.most),
                ("Least person-specific", people.least),
            ):
                if pictures:
                    parts += [Heading(heading), Cards(pictures, size="medium")]
            if parts:
                about = Text(_GALLERY, style="muted")
                bar = colour_bar(people.highest)
                yield Fold(
                    f"People, {name}", [about, bar, *parts], unfolded=place == 0, recognizer=name
                )


def _operand_rows(found: Found) -> Iterator[tuple[str, ...]]:
    for name, figures in found.items():
        for operand, one in figures.operands.items():
            yield (
                name,
                operand,
                number(one.genuine),
                number(one.impostor),
                number(one.auc),
                number(one.chance.auc),
                plain(one.p, 3),
                str(one.genuine.n),
            )


def _controlled(found: Found) -> Iterator[Part]:
    """The coefficients beside those of controls, and of matched impostor pairs."""
    yield Heading("Against controls")
    yield Text(_CONTROLS)
    yield Table(
        (
            "recognizer",
            "control",
            "AUC of the critical masks",
            "AUC of the control",
            "difference",
            "verdict over all controls",
            "people",
        ),
        list(_control_rows(found)),
        folded="",
    )
    yield Text(_MATCHED, style="muted")
    yield Table(
        ("recognizer", "impostor pairs matched on", "AUC", "change of the AUC"),
        [
            (name, covariate, number(one.auc), number(one.change))
            for name, figures in found.items()
            for covariate, one in figures.matched.items()
        ],
    )


def _control_rows(found: Found) -> Iterator[tuple[str, ...]]:
    for name, figures in found.items():
        margins = {control: one.difference for control, one in figures.controls.items()}
        for control, one in figures.controls.items():
            yield (
                name,
                control,
                number(one.critical),
                number(one.auc),
                number(one.difference),
                str(verdict(margins)),
                str(one.difference.n),
            )


def coefficient_chart(found: Found) -> Rows:
    """Mean coefficients of genuine and impostor pairs, of critical masks and of whole maps."""
    panels = [
        Panel(
            list(found),
            [
                Series(
                    "genuine pairs",
                    [figures.operands[operand].genuine for figures in found.values()],
                    SERIES[0],
                ),
                Series(
                    "impostor pairs",
                    [figures.operands[operand].impostor for figures in found.values()],
                    MUTED,
                ),
            ],
            "Bhattacharyya coefficient",
            title=title,
            limits=(0, None) if operand == "critical" else (None, None),
        )
        for operand, title in (("critical", "critical pixels"), ("dense", "whole maps"))
    ]
    return Rows(panels)


def histogram_chart(found: Found) -> Histograms:
    """The distributions of the coefficients of critical masks, with the mean of genuine pairs by chance."""
    panels = []
    for name, figures in found.items():
        one = figures.operands["critical"]
        heights = {
            "impostor pairs": one.histogram.impostor,
            "genuine pairs": one.histogram.genuine,
        }
        panels.append(
            Histogram(name, one.histogram.edges, heights, one.chance.genuine.mean, one.genuine.n)
        )
    return Histograms(
        panels,
        {"genuine pairs": SERIES[0], "impostor pairs": MUTED},
        line="genuine pairs by chance",
        axis="Bhattacharyya coefficient",
    )

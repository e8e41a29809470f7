"""Verification accuracy as pixels are deleted or inserted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from leam.report.charts import MASK_COLOURS, MUTED, Line, LinePanel, Lines
from leam.report.parts import Drawing, Part, Table, Text, number
from leam.report.section import SECTIONS, Context, Section
from leam.study.run_data import mean_of_known
from leam.study.stages.verification import VerificationFigures

Found = Mapping[str, VerificationFigures]

_TEXT = (
    "Pixels are deleted from the probe, or inserted into an empty one, in tenths: first those that the map ranks "
    "highest, or in random order. Accuracy is over one genuine and one impostor pair of each person, at the threshold "
    "of whole faces. A good map makes accuracy fall early (deletion) and rise early (insertion). Thin lines are "
    "recognizers, bold lines their mean."
)


@SECTIONS("verification")
class Verification(Section):
    """Deletion and insertion curves."""

    name = "verification"
    title = "Verification with pixels deleted or inserted"
    order = 80
    shows = (VerificationFigures,)

    def parts(self, context: Context) -> Iterator[Part]:
        """The curves, and the areas under them."""
        found = context.summary.each(VerificationFigures)
        yield Text(_TEXT)
        yield Drawing(accuracy_chart(found), "Accuracy as pixels are deleted or inserted")
        yield Text(
            "Area under each curve: low is good for deletion, high for insertion.", style="muted"
        )
        header = (
            "recognizer",
            "deletion by the map",
            "deletion at random",
            "insertion by the map",
            "insertion at random",
            "people",
        )
        yield Table(
            header,
            [
                (
                    name,
                    number(one.deletion.map.area),
                    number(one.deletion.random.area),
                    number(one.insertion.map.area),
                    number(one.insertion.random.area),
                    str(one.deletion.map.area.n),
                )
                for name, one in found.items()
            ],
        )


def accuracy_chart(found: Found) -> Lines:
    """A panel each for deletion and insertion: accuracy by the map and at random."""
    panels = []
    for title, changed, orders in (
        ("deletion", "deleted", [figures.deletion for figures in found.values()]),
        ("insertion", "inserted", [figures.insertion for figures in found.values()]),
    ):
        lines: list[Line] = []
        for label, colour, curves in (
            ("by the map", MASK_COLOURS["critical"], [order.map for order in orders]),
            ("at random", MUTED, [order.random for order in orders]),
        ):
            percent = [100 * point.fraction for point in curves[0].points]
            estimates = [[point.value for point in curve.points] for curve in curves]
            values = [[one.mean for one in known] for known in estimates]
            if len(values) > 1:
                lines += [
                    Line(label, percent, one, colour, 0.6, dots=False, name=name, estimates=known)
                    for name, one, known in zip(found, values, estimates, strict=True)
                ]
            means = mean_of_known(np.array(values, dtype=np.float64), axis=0)
            people = min(one.n for known in estimates for one in known)
            bold = Line(label, percent, means.tolist(), colour, 2.2, dots=False, people=people)
            lines.append(bold)
        panels.append(LinePanel(title, lines, f"% of the pixels {changed}", limits=(0.4, 1.02)))
    return Lines(panels, "accuracy")

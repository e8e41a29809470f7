"""Whether the map stays the same under noise and in the mirror."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from leam.report.charts import SERIES, Panel, Rows, Series
from leam.report.parts import Drawing, Part, Table, Text, number
from leam.report.section import SECTIONS, Context, Section
from leam.study.stages.stability import StabilityFigures

_TEXT = (
    "Sensitivity is the largest change of the map under noise of 2 % of the colour range, relative to the map's "
    "length: low is good. Mirror consistency is the rank correlation of the map with that of the mirror image, "
    "mirrored back: high is good."
)


@SECTIONS("stability")
class Stability(Section):
    """Sensitivity to noise, and consistency with the mirror image."""

    name = "stability"
    title = "Is the map stable?"
    order = 110
    shows = (StabilityFigures,)

    def parts(self, context: Context) -> Iterator[Part]:
        """Both figures of every recognizer."""
        found = context.summary.each(StabilityFigures)
        yield Text(_TEXT)
        yield Drawing(stability_chart(found), "Sensitivity to noise and mirror consistency")
        yield Table(
            ("recognizer", "sensitivity to noise", "mirror consistency", "people"),
            [
                (
                    name,
                    number(one.max_sensitivity),
                    number(one.flip_consistency),
                    str(one.flip_consistency.n),
                )
                for name, one in found.items()
            ],
        )


def stability_chart(found: Mapping[str, StabilityFigures]) -> Rows:
    """Sensitivity and mirror consistency side by side."""
    names = list(found)
    sensitivity = [figures.max_sensitivity for figures in found.values()]
    mirror = [figures.flip_consistency for figures in found.values()]
    return Rows(
        [
            Panel(
                names,
                [Series("", sensitivity, SERIES[0])],
                "largest relative change",
                title="sensitivity to noise",
                limits=(0, None),
            ),
            Panel(
                names,
                [Series("", mirror, SERIES[0])],
                "rank correlation",
                title="mirror consistency",
            ),
        ]
    )

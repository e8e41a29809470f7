"""Where the maps lie on the mean face."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from leam.explain.methods import LEAM
from leam.report.parts import Cards, Part, Text
from leam.report.pictures import colour_bar, overall_picture, scale_end
from leam.report.section import SECTIONS, Context, Section
from leam.study.means import FEWEST_SHOWN


@SECTIONS("support")
class Support(Section):
    """The mean overall map of each recognizer."""

    name = "support"
    title = "Where the support lies"
    order = 10

    def parts(self, context: Context) -> Iterator[Part]:
        """One pair of pictures per recognizer."""
        method = context.settings.method
        reading = (
            "where the recognizer's activations support its embedding"
            if method == LEAM
            else f"those that matter most according to the method ``{method}``"
        )
        shown = all(means.face.size for means in context.means.values())
        maps = f"the mean overall map of all {context.summary.images} faces"
        yield Text(
            f"{f'Left, the mean face; right, {maps}' if shown else maps.capitalize()}. "
            f"Bright pixels are {reading}."
        )
        if not shown:
            yield Text(
                f"The mean face is not shown: it is of fewer than {FEWEST_SHOWN} people, or many of the pictures are "
                "of one person, so that somebody might be recognised. White lines go through the points on which faces "
                "were aligned, such as the corners of the eyes and the tip of the nose.",
                style="muted",
            )
        highest = scale_end(means.overall for means in context.means.values())
        yield Cards(
            [
                replace(
                    overall_picture(means, name, context.plan.model(name).card.crop, highest),
                    recognizer=name,
                )
                for name, means in context.means.items()
            ]
        )
        yield colour_bar(highest)

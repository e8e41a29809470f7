"""Where the maps lie on the mean face."""

from __future__ import annotations

from collections.abc import Iterator

from leam.report.parts import Cards, Part, Text
from leam.report.pictures import overall_picture
from leam.report.section import SECTIONS, Context, Section


@SECTIONS("support")
class Support(Section):
    """The mean overall map of each recognizer."""

    name = "support"
    title = "Where the support lies"
    order = 10

    def parts(self, context: Context) -> Iterator[Part]:
        """One pair of pictures per recognizer."""
        yield Text(
            f"Left, the mean face; right, the mean overall map of all {context.summary.images} faces. "
            "Bright pixels are where the recognizer's activations support its embedding."
        )
        yield Cards([overall_picture(means, name) for name, means in context.means.items()])

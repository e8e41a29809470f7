"""The size of the study."""

from __future__ import annotations

from collections.abc import Iterator

from leam.metrics.statistics import FEWEST
from leam.report.parts import Facts, Part, Text
from leam.report.section import SECTIONS, Context, Section

_NOUNS = ("person", "people"), ("face", "faces"), ("recognizer", "recognizers")
_EXCLUDED = ("excluded picture", "excluded pictures")


@SECTIONS("facts")
class Size(Section):
    """People, faces, recognizers and exclusions, above all else."""

    name = "facts"
    order = 0
    in_audit = True

    def parts(self, context: Context) -> Iterator[Part]:
        """The counts, and a warning where there are few people."""
        summary = context.summary
        counts = (summary.people, summary.images, len(summary.recognizers), len(summary.exclusions))
        yield Facts(
            [
                (str(count), one if count == 1 else many)
                for count, (one, many) in zip(counts, (*_NOUNS, _EXCLUDED), strict=True)
            ]
        )
        if summary.people < FEWEST:
            yield Text(
                f"{summary.people} people are too few to conclude anything: this report only shows how the tool works.",
                style="note",
            )

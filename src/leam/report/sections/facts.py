"""The size of the study."""

from __future__ import annotations

from collections.abc import Iterator

from leam.metrics.statistics import FEWEST
from leam.report.parts import Facts, Part, Text, noun_for
from leam.report.section import SECTIONS, Context, Section


@SECTIONS("facts")
class Size(Section):
    """People, faces, recognizers and exclusions, above all else."""

    name = "facts"
    order = 0
    in_audit = True

    def parts(self, context: Context) -> Iterator[Part]:
        """The counts, and a warning where there are few people."""
        summary = context.summary
        counts = (
            (summary.people, noun_for(summary.people, "person", "people")),
            (summary.images, noun_for(summary.images, "face")),
            (len(summary.recognizers), noun_for(len(summary.recognizers), "recognizer")),
            (len(summary.exclusions), noun_for(len(summary.exclusions), "excluded picture")),
        )
        yield Facts([(str(count), name) for count, name in counts])
        if summary.people < FEWEST:
            few = "1 person is" if summary.people == 1 else f"{summary.people} people are"
            yield Text(
                f"{few} too few to conclude anything: this report only shows how the tool works.",
                style="note",
            )

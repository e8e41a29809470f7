"""What was found, before everything else."""

from __future__ import annotations

from collections.abc import Iterator

from leam.report.findings import study_findings
from leam.report.parts import Part, Text
from leam.report.section import SECTIONS, Context, Section

_RULE = (
    "Each claim is compared with its strongest control. It is supported if the 95 % interval of the margin over every "
    "control is above zero, not supported if no part of the interval of the margin over the strongest control is, and "
    "inconclusive otherwise. n is the number of people. The region that a recognizer relies on most is the one whose "
    "share of the critical pixels exceeds its area most; the verdict is on whether controls explain its share."
)


@SECTIONS("findings")
class Found(Section):
    """The findings in sentences, and what could not be said."""

    name = "findings"
    title = "What was found"
    order = -10
    in_audit = True

    def parts(self, context: Context) -> Iterator[Part]:
        """The findings, and the rule of their verdicts."""
        yield study_findings(context.plan, context.summary)
        if not context.settings.audit:
            yield Text(_RULE, "muted")

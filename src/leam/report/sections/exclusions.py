"""Pictures that were excluded."""

from __future__ import annotations

from collections.abc import Iterator

from leam.report.parts import Cell, Part, Table, Text
from leam.report.section import SECTIONS, Context, Section

_MOST = 200


@SECTIONS("exclusions")
class Exclusions(Section):
    """Pictures that were not used, with reasons."""

    name = "exclusions"
    title = "Excluded pictures"
    order = 180
    in_audit = True

    def applies(self, context: Context) -> bool:
        """Where a picture was excluded."""
        return bool(context.summary.exclusions)

    def parts(self, context: Context) -> Iterator[Part]:
        """One row per picture, up to 200."""
        found = context.summary.exclusions
        rows = [(Cell(one.image, "break"), Cell(one.reason, "break")) for one in found[:_MOST]]
        yield Table(("picture", "reason"), rows, folded="")
        if len(found) > _MOST:
            yield Text(f"{len(found) - _MOST} more are listed in summary.json.", style="muted")

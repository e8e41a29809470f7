"""Recognizers that failed."""

from __future__ import annotations

from collections.abc import Iterator

from leam.report.parts import Cell, Part, Table
from leam.report.section import SECTIONS, Context, Section


@SECTIONS("failures")
class Failures(Section):
    """Recognizers that could not be measured, with reasons."""

    name = "failures"
    title = "Recognizers that failed"
    order = 170
    in_audit = True

    def applies(self, context: Context) -> bool:
        """Where a recognizer failed."""
        return bool(context.summary.failed)

    def parts(self, context: Context) -> Iterator[Part]:
        """One row per recognizer."""
        rows = [(one.recognizer, Cell(one.reason, "break")) for one in context.summary.failed]
        yield Table(("recognizer", "reason"), rows, folded="")

"""The parts of an audit's page that frame its figures."""

from __future__ import annotations

from collections.abc import Iterator

from leam.report.parts import Cell, Code, Fold, Part, Table, Text
from leam.report.section import SECTIONS, Context, Section
from leam.study.audit import AuditDocument, audit_of


class _OfAudit(Section):
    """A section of audits only."""

    in_audit = True

    def applies(self, context: Context) -> bool:
        """Whether the study is an audit."""
        return context.settings.audit and bool(_document(context).recognizers)


def _document(context: Context) -> AuditDocument:
    return audit_of(context.plan, context.summary)


@SECTIONS("audit_scope")
class Scope(_OfAudit):
    """What is measured, on which data, and how."""

    name = "audit_scope"
    title = "Scope, data and protocol"
    order = 2

    def parts(self, context: Context) -> Iterator[Part]:
        """Scope, data and protocol."""
        found = _document(context)
        yield Text(found.scope)
        data = found.data
        yield Table(
            (),
            [
                ("source", Cell(data.source, "break")),
                ("people", str(data.people)),
                ("pictures", str(data.pictures)),
                *(("data set", Cell(note, "break")) for note in data.notes),
            ],
            folded="",
        )
        if data.exclusions:
            yield Text("Failures to acquire and to enrol: pictures and files that were not used.")
            rows = [
                (str(count), Cell(reason, "break")) for reason, count in data.exclusions.items()
            ]
            yield Table(("pictures", "reason"), rows, folded="")
        for line in found.protocol:
            yield Text(line)


@SECTIONS("audit_limits")
class Limits(_OfAudit):
    """What the numbers cannot say."""

    name = "audit_limits"
    title = "Limits"
    order = 170

    def parts(self, context: Context) -> Iterator[Part]:
        """One sentence each."""
        for line in _document(context).limits:
            yield Text(line)


@SECTIONS("audit_model_card")
class ModelCard(_OfAudit):
    """Sections to paste into model cards."""

    name = "audit_model_card"
    title = "For the model card"
    order = 175

    def parts(self, context: Context) -> Iterator[Part]:
        """Markdown of each recognizer."""
        yield Text("Markdown, as in ``audit.json``.", style="muted")
        for name, text in _document(context).model_card.items():
            yield Fold(name, [Code(text)], recognizer=name)

"""What made the figures."""

from __future__ import annotations

from collections.abc import Iterator

from leam.report.parts import Cell, Part, Table, Text
from leam.report.section import SECTIONS, Context, Section


@SECTIONS("provenance")
class Provenance(Section):
    """Versions, settings and recognizers."""

    name = "provenance"
    title = "Provenance"
    order = 190
    in_audit = True

    def parts(self, context: Context) -> Iterator[Part]:
        """Versions and plug-ins, settings, recognizers with licence, hash and device, and how to share the page."""
        plan = context.plan
        settings = plan.settings.model_dump(mode="json").items()
        recognizers = []
        for model in plan.models:
            about = "; ".join(
                filter(None, [model.card.license or "licence not stated", model.card.source])
            )
            found = context.summary.recognizers.get(model.card.name)
            places = ", ".join(found.devices) if found else ""
            ran = f"; {model.precision}{' on ' if places else ''}{places}"
            text = f"{about}; sha256 {model.sha256}{ran}"
            recognizers.append((model.card.name, Cell(text, "break")))
        yield Table(
            (),
            [
                *plan.versions.items(),
                *((f"plug-in: {what}", version) for what, version in plan.plugins.items()),
                *((name.replace("_", " "), _written(value)) for name, value in settings),
                *recognizers,
            ],
            folded="",
        )
        sharing = (
            "This page shows faces of the study: share it only where you may, or render it again with ``--no-faces``."
            if context.faces
            else "This page names no person and no file, and shows no face but means of many people."
        )
        yield Text(f"Faces are biometric data. {sharing}", style="muted")


def _written(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)

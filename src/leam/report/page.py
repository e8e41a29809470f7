"""The pages of a study: its report, and the document of an audit."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup, escape

from leam.progress import Progress, silent
from leam.report.figures import write_figures
from leam.report.html import Sections, charts_of, html_page, mapped
from leam.report.people import PEOPLE_PAGE, has_people_page, people_page
from leam.report.section import SECTIONS, Context, sections_of
from leam.study.audit import audit_of
from leam.study.redaction import Names, redacted_plan, redacted_summary
from leam.study.run_data import RunData
from leam.study.store import RunFolder
from leam.study.summary import read_summary

_AUDIT = (
    "Error rates, for whom they differ, and which regions of the face carry the errors. It measures recognizers; it "
    "does not identify anyone."
)


def render_report(folder: RunFolder, *, faces: bool = True, progress: Progress = silent) -> Path:
    """Render ``report.html`` from a finished study, ``people.html`` beside it, and its charts into ``figures``.

    An audit has no page of people. Where people must not be shown, that of an earlier report is removed.

    Args:
        folder: The run folder.
        faces: Show people of the study. Otherwise nobody can be recognised: no picture, name or file name is shown, and
            no mean face of few people. If not everything was kept of each face, people are never shown.
        progress: Progress callback.

    Returns:
        The page's path.

    Raises:
        StudyError: The study is not finished, or its files are damaged or have changed since.
    """
    whole, summary = folder.plan(), read_summary(folder)
    folder.verify()
    # Recognizers that failed have no figures.
    plan = whole.only(summary.recognizers)
    run, faces = RunData(plan, folder), faces and folder.kept() is None
    names = None if faces else Names(whole)
    if names is not None:
        plan, summary = redacted_plan(plan, names), redacted_summary(summary, whole, names)
    context = Context(plan, summary, run, faces)
    if has_people_page(context):
        folder.write_text(PEOPLE_PAGE, people_page(context, progress))
    else:
        folder.discard(PEOPLE_PAGE)
    sections = _sections(context, progress, names, audit=False)
    folder.write_text("report.html", _page(context, sections))
    write_figures(folder, charts_of(sections), progress)
    if plan.settings.audit:
        folder.write_text("audit.json", audit_of(plan, summary).to_json())
        folder.write_text("audit.html", render_page(context, progress, names, audit=True))
    return folder.path / "report.html"


def render_page(
    context: Context,
    progress: Progress = silent,
    names: Names | None = None,
    *,
    audit: bool = False,
) -> str:
    """The page's HTML.

    Args:
        context: What the page may show.
        progress: Progress callback.
        names: Names that sections of plug-ins, which may read tables, must not show.
        audit: Render the document of an audit instead of the report of a study.
    """
    sections = _sections(context, progress, names, audit=audit)
    if audit:
        return html_page(
            "audit", "Audit of face recognizers", _AUDIT, sections, context.recognizers
        )
    return _page(context, sections)


def _sections(
    context: Context, progress: Progress, names: Names | None, *, audit: bool
) -> Sections:
    sections = sections_of(context, audit=audit)
    found = []
    for done, section in enumerate(sections):
        progress("rendering the report", done, len(sections))
        boxes = list(section.boxes(context))
        if names is not None and SECTIONS.origin(section.name) != "leam":
            boxes = mapped(names.removed, boxes)
        found.append((section.name, boxes))
    progress("rendering the report", len(sections), len(sections))
    return found


def _page(context: Context, sections: Sections) -> str:
    names_of, method = context.recognizers, context.settings.method
    several = len(names_of) > 1
    rely = "s rely" if several else " relies"
    what = (
        "Layer Embedding Activation Mapping"
        if method == "leam"
        else f"Attribution maps by {method}"
    )
    lead = escape(
        f"{what} of {', '.join(names_of)}. It explains recognizers; it does not identify anyone."
    )
    if has_people_page(context):
        lead += Markup(' <a href="{}">The people, one at a time</a>.').format(PEOPLE_PAGE)
    return html_page(
        f"what {len(names_of)} face recognizer{rely} on",
        f"What {'these' if several else 'this'} face recognizer{rely} on",
        lead,
        sections,
        names_of,
    )

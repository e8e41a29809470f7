"""A study's report: one HTML file that needs no other file."""

from __future__ import annotations

import base64
import re
from importlib import resources
from pathlib import Path

import jinja2
from markupsafe import Markup, escape

from leam.progress import Progress, silent
from leam.report.charts import Chart
from leam.report.section import Context, sections_of
from leam.study.redaction import Names, redacted_plan, redacted_summary
from leam.study.run_data import RunData
from leam.study.store import RunFolder
from leam.study.summary import read_summary

_CODE = re.compile(r"``(.+?)``")


def render_report(folder: RunFolder, *, faces: bool = True, progress: Progress = silent) -> Path:
    """Render ``report.html`` from a finished study.

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
    if not faces:
        names = Names(whole)
        plan, summary = redacted_plan(plan, names), redacted_summary(summary, whole, names)
    context = Context(plan, summary, run, faces)
    folder.write_text("report.html", render_page(context, progress))
    return folder.path / "report.html"


def render_page(context: Context, progress: Progress = silent) -> str:
    """The page's HTML."""
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {"prose": _prose, "svg": _svg, "data_uri": _data_uri}
    source = (resources.files("leam.report") / "page.html").read_text(encoding="utf-8")
    sections = sections_of(context)
    pieces = []
    for done, section in enumerate(sections):
        progress("rendering the report", done, len(sections))
        pieces.append((section.name, list(section.boxes(context))))
    page = environment.from_string(source).render(
        recognizers=context.recognizers, method=context.settings.method, sections=pieces
    )
    progress("rendering the report", len(sections), len(sections))
    return page


def _prose(text: str) -> Markup:
    """A paragraph with what stands between double backticks as code."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704  escaped before


def _svg(chart: Chart) -> Markup:
    # Matplotlib is imported only when a chart is drawn.
    from leam.report.drawing import chart_svg  # noqa: PLC0415

    return Markup(chart_svg(chart))  # noqa: S704  matplotlib escapes the text


def _data_uri(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"

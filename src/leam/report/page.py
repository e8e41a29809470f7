"""A study's report: one HTML file that needs nothing else."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2

from leam.errors import StudyError
from leam.report import figures
from leam.report.claims import paper_claims
from leam.report.drawing import figure_svg
from leam.report.pictures import model_pictures
from leam.study.plan import Plan
from leam.study.store import RunFolder


def render_report(folder: RunFolder, *, faces: bool = True) -> Path:
    """Render ``report.html`` from a finished study.

    Args:
        folder: The run folder.
        faces: Show people of the study; without, only mean faces are shown.

    Returns:
        The page's path.

    Raises:
        StudyError: The study is not finished, or its files are damaged.
    """
    plan, summary = folder.plan(), _summary(folder)
    try:
        page = _page(folder, plan, summary, faces=faces)
    except (KeyError, TypeError, AttributeError, jinja2.UndefinedError) as error:
        raise StudyError(
            f"{folder.path}/summary.json: does not hold what the report shows ({error}); run the study again"
        ) from error
    folder.write_text("report.html", page)
    return folder.path / "report.html"


def _page(folder: RunFolder, plan: Plan, summary: dict[str, Any], *, faces: bool) -> str:
    pictures = [model_pictures(plan, folder, model.card.name, faces=faces) for model in plan.models]
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["percent"] = _percent
    environment.filters["number"] = _number
    environment.filters["plain"] = _plain
    template = environment.from_string(
        (resources.files("leam.report") / "page.html").read_text(encoding="utf-8")
    )
    models = summary["models"]
    return template.render(
        summary=summary,
        plan=plan,
        models=models,
        pictures=pictures,
        regions_figure=figure_svg(figures.region_shares(models)),
        overlap_figure=figure_svg(figures.overlaps(models)),
        drop_figure=figure_svg(figures.drops(models)),
        curve_figure=figure_svg(figures.curves(models)) if plan.settings.curve else None,
        agreement_figure=_agreement(summary),
        transfer_figure=_transfer(summary),
        group_figures=_groups(summary),
        claims=paper_claims(models),
        faces=faces,
    )


def _summary(folder: RunFolder) -> dict[str, Any]:
    path = folder.path / "summary.json"
    try:
        summary: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise StudyError(
            f"{path}: missing or damaged; finish the study with the same `leam study` command"
        ) from None
    return summary


def _agreement(summary: dict[str, Any]) -> str | None:
    """The models' agreement, sorted so that alike models stand together; None for one model."""
    found = summary.get("agreement")
    if found is None:
        return None
    order = [found["models"].index(name) for name in found["order"]]
    values = [[found["critical"][i][j] for j in order] for i in order]
    return figure_svg(figures.matrix(values, found["order"], found["order"], ("", "")))


def _transfer(summary: dict[str, Any]) -> str | None:
    found = summary.get("transfer")
    if found is None:
        return None
    labels = ("drop on", "masks of")
    return figure_svg(figures.matrix(found["drop"], found["models"], found["masks"], labels))


def _groups(summary: dict[str, Any]) -> dict[str, str]:
    """A figure for each column of groups that has any."""
    return {
        column: figure_svg(figures.group_drops(found["values"]))
        for column, found in summary.get("groups", {}).items()
        if found["values"]
    }


def _percent(estimate: dict[str, Any], digits: int = 1) -> str:
    if estimate["mean"] is None:
        return "–"
    mean, low, high = (f"{100 * estimate[end]:.{digits}f}" for end in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


def _number(estimate: dict[str, Any], digits: int = 3) -> str:
    if estimate["mean"] is None:
        return "–"
    return f"{estimate['mean']:.{digits}f} [{estimate['low']:.{digits}f}, {estimate['high']:.{digits}f}]"


def _plain(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"

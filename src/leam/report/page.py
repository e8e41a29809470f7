"""A study's report: one HTML file that needs nothing else."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import polars as pl

from leam.errors import StudyError
from leam.report import figures, panel
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
    whole, summary = folder.plan(), _summary(folder)
    try:
        # Recognizers that failed have no figures.
        plan = whole.only(summary["models"])
        page = _page(folder, plan, summary, faces=faces)
    except (
        LookupError,
        TypeError,
        AttributeError,
        ValueError,
        ArithmeticError,
        jinja2.UndefinedError,
        pl.exceptions.PolarsError,
    ) as error:
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
    return template.render(
        summary=summary,
        plan=plan,
        models=summary["models"],
        pictures=pictures,
        drawn=_drawn(summary),
        claims=paper_claims(summary),
        faces=faces,
    )


def _drawn(summary: dict[str, Any]) -> dict[str, str]:
    """The page's figures by name; those of measures that were not taken are absent."""
    models, agreement = summary["models"], summary.get("agreement")
    drawn = {
        "regions": figures.region_shares(models),
        "overlaps": figures.overlaps(models),
        "histograms": figures.histograms(models),
        "drops": figures.drops(models),
        "layers": figures.layer_divergence(models, (agreement or {}).get("divergence")),
    }
    if summary["settings"]["panel"]:
        drawn |= {
            "curves": panel.fill_curves(models),
            "verification": panel.verification(models),
            "sanity": panel.sanity(models),
            "swaps": panel.swaps(models),
        }
    if agreement:
        order = [agreement["models"].index(name) for name in agreement["order"]]
        for kind in ("critical", "rank"):
            values = [[agreement[kind][i][j] for j in order] for i in order]
            names = agreement["order"]
            drawn[f"agreement_{kind}"] = figures.matrix(values, names, names, ("", ""))
        drawn["tree"] = figures.tree(agreement["merges"], agreement["models"])
    if transfer := summary.get("transfer"):
        labels = ("drop on", "masks of")
        drawn["transfer"] = figures.matrix(
            transfer["drop"], transfer["models"], transfer["masks"], labels
        )
    for column, found in summary.get("gaps", {}).items():
        rows = [row for row in found["gaps"] if row["of"] == "drop"]
        # A figure shows two groups; where there are more, the table says the rest.
        pair = [(row["first"], row["second"]) for row in rows][:1]
        if pair:
            shown = [row for row in rows if (row["first"], row["second"]) == pair[0]]
            drawn[f"gaps_{column}"] = figures.gaps(shown)
    return {name: figure_svg(figure) for name, figure in drawn.items()}


def _summary(folder: RunFolder) -> dict[str, Any]:
    path = folder.path / "summary.json"
    try:
        summary: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise StudyError(
            f"{path}: missing or damaged; finish the study with the same `leam study` command"
        ) from None
    return summary


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

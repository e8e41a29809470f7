"""All figures of a finished study, in one file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np

from leam.errors import StudyError
from leam.study.jobs import Progress
from leam.study.plan import Plan
from leam.study.skipped import usable
from leam.study.store import Arrays, RunFolder
from leam.study.summary.agreement import agreement_figures
from leam.study.summary.estimates import Summary
from leam.study.summary.groups import gap_figures, group_figures
from leam.study.summary.layers import layer_divergence, layer_figures
from leam.study.summary.occlusion import occlusion_figures, transfer_figures
from leam.study.summary.panel import panel_figures
from leam.study.summary.regions import region_figures, second_parser_figures
from leam.study.summary.specificity import specificity_figures


def summarise(
    plan: Plan,
    folder: RunFolder,
    figures: Mapping[str, Summary],
    failed: Mapping[str, str],
    tell: Progress,
) -> Summary:
    """Write ``summary.json`` of a finished study; its schema is ``summary.schema.json``.

    Args:
        plan: The study, with the recognizers that worked.
        folder: Its folder, with all tables.
        figures: From a recognizer to its :func:`model_figures`; what takes several of them is computed here.
        failed: The recognizers that did not work, and why.
        tell: Told how far the work is.
    """
    settings = plan.settings
    positions, skipped = usable(plan, folder)
    summary: Summary = {
        "leam": plan.leam,
        "versions": plan.versions,
        "settings": settings.model_dump(mode="json"),
        "people": len(_people(plan, positions)),
        "images": len(positions),
        "skipped": [{"path": one.image, "reason": one.reason} for one in skipped],
        "failed": [{"model": name, "reason": reason} for name, reason in failed.items()],
        "models": dict(figures),
    }
    if len(plan.models) > 1:
        summary["agreement"] = agreement_figures(plan, folder, tell)
    if settings.transfer:
        summary["transfer"] = transfer_figures(plan, folder)
    if settings.groups:
        summary["groups"] = {c: group_figures(plan, folder, c) for c in settings.groups}
        summary["gaps"] = {c: gap_figures(plan, folder, c) for c in settings.groups}
    folder.write_text("summary.json", json.dumps(summary, indent=1, allow_nan=False))
    return summary


def model_figures(plan: Plan, folder: RunFolder, name: str, positions: Sequence[int]) -> Summary:
    """The figures of one recognizer alone, from its shards and tables; writes ``tables/people/NAME.parquet``.

    Args:
        plan: The study.
        folder: Its folder.
        name: The recognizer.
        positions: The usable pictures.
    """
    people = _people(plan, positions)
    figures: Summary = {
        "similarity": plan.model(name).card.similarity,
        "sha256": plan.model(name).sha256,
        "regions": region_figures(plan, folder, name),
        "layers": layer_figures(plan, folder, name),
        "layer_divergence": layer_divergence(plan, folder, name),
        "bc": specificity_figures(plan, folder, name, people),
        "occlusion": occlusion_figures(plan, folder, name),
    }
    figures["occlusion"]["curve"] = {}
    if plan.settings.panel:
        figures |= panel_figures(plan, folder, name)
        figures["occlusion"]["curve"] = figures["curves"].get(plan.settings.fill, {})
    if plan.settings.second_parser:
        figures["second_parser"] = second_parser_figures(plan, folder, name)
    return figures


def keep_figures(figures: Summary) -> Arrays:
    """A recognizer's figures as a shard keeps them."""
    text = json.dumps(figures, allow_nan=False)
    return {"json": np.frombuffer(text.encode(), dtype=np.uint8)}


def read_figures(folder: RunFolder, name: str, place: int) -> Summary:
    """A recognizer's figures from its shard.

    Args:
        folder: The study's folder.
        name: The recognizer.
        place: Its place in the plan.

    Raises:
        StudyError: They disappeared.
    """
    arrays = folder.read_shard(f"figures/{name}", place)
    if not arrays:
        raise StudyError(f"{folder.path}: the figures of {name} disappeared; run the study again")
    figures: Summary = json.loads(arrays["json"].tobytes())
    return figures


def _people(plan: Plan, positions: Sequence[int]) -> dict[str, int]:
    """The people of the usable pictures, numbered in order."""
    names = dict.fromkeys(plan.images[position].person for position in positions)
    return {name: number for number, name in enumerate(names)}

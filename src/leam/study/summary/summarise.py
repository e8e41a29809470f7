"""All figures of a finished study, in one file."""

from __future__ import annotations

import json
from collections.abc import Mapping

from leam.study.plan import Plan
from leam.study.skipped import usable
from leam.study.store import RunFolder
from leam.study.summary.agreement import agreement_figures
from leam.study.summary.estimates import Summary
from leam.study.summary.groups import gap_figures, group_figures
from leam.study.summary.layers import layer_divergence, layer_figures
from leam.study.summary.occlusion import occlusion_figures, transfer_figures
from leam.study.summary.panel import panel_figures
from leam.study.summary.regions import region_figures, second_parser_figures
from leam.study.summary.specificity import specificity_figures
from leam.study.tables import Progress


def summarise(
    plan: Plan, folder: RunFolder, tell: Progress, failed: Mapping[str, str] | None = None
) -> Summary:
    """Compute every figure of a finished study and write ``summary.json``; its schema is ``summary.schema.json``.

    Args:
        plan: The study, with the recognizers that worked.
        folder: Its folder.
        tell: Told how far the work is.
        failed: The recognizers that did not work, and why.
    """
    settings = plan.settings
    positions, skipped = usable(plan, folder)
    people = {
        name: i for i, name in enumerate(dict.fromkeys(plan.images[p].person for p in positions))
    }
    models = {}
    for number, model in enumerate(plan.models):
        tell("computing the figures", number, len(plan.models))
        models[model.card.name] = _model(plan, folder, model.card.name, people)
    summary: Summary = {
        "leam": plan.leam,
        "versions": plan.versions,
        "settings": settings.model_dump(mode="json"),
        "people": len(people),
        "images": len(positions),
        "skipped": [{"path": one.image, "reason": one.reason} for one in skipped],
        "failed": [{"model": name, "reason": reason} for name, reason in (failed or {}).items()],
        "models": models,
    }
    if len(plan.models) > 1:
        summary["agreement"] = agreement_figures(plan, folder, tell)
    if settings.transfer:
        summary["transfer"] = transfer_figures(plan, folder)
    if settings.groups:
        summary["groups"] = {c: group_figures(plan, folder, c) for c in settings.groups}
        summary["gaps"] = {c: gap_figures(plan, folder, c) for c in settings.groups}
    folder.write_text("summary.json", json.dumps(summary, indent=1, allow_nan=False))
    tell("computing the figures", len(plan.models), len(plan.models))
    return summary


def _model(plan: Plan, folder: RunFolder, name: str, people: dict[str, int]) -> Summary:
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

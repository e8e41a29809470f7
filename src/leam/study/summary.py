"""A study's figures with their intervals: ``summary.json``."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import torch

from leam.measures.agreement import cluster
from leam.measures.bhattacharyya import bhattacharyya
from leam.measures.specificity import Specificity, chance_level, specificity
from leam.measures.statistics import Estimate, Numbers, bootstrap_mean, finite
from leam.parsers.regions import REGIONS
from leam.study.across import RANDOM, TRANSFER, agreement_slices
from leam.study.groups import group_figures
from leam.study.loading import StudyMaps, load_maps
from leam.study.occluding import CURVE_MASKS
from leam.study.plan import Plan
from leam.study.skipped import usable
from leam.study.store import RunFolder
from leam.study.tables import OVERALL, parsed_regions, shards

Progress = Callable[[str, int, int], None]
Summary = dict[str, Any]

OPERANDS = ("critical", "dense", "regions")


def summarise(plan: Plan, folder: RunFolder, tell: Progress) -> Summary:
    """Compute every figure of a finished study and write ``summary.json``; its schema is ``summary.schema.json``."""
    positions, skipped = usable(plan, folder)
    models = {}
    for number, model in enumerate(plan.models):
        tell("computing the figures", number, len(plan.models))
        models[model.card.name] = _model(plan, folder, model.card.name)
    tell("computing the figures", len(plan.models), len(plan.models))
    summary: Summary = {
        "leam": plan.leam,
        "versions": plan.versions,
        "settings": plan.settings.model_dump(mode="json"),
        "people": len({plan.images[position].person for position in positions}),
        "images": len(positions),
        "skipped": [{"path": one.image, "reason": one.reason} for one in skipped],
        "models": models,
    }
    if len(plan.models) > 1:
        summary["agreement"] = _agreement(plan, folder)
    if plan.settings.transfer:
        summary["transfer"] = _transfer(plan, folder)
    if plan.settings.groups:
        summary["groups"] = {c: group_figures(plan, folder, c) for c in plan.settings.groups}
    folder.write_text("summary.json", json.dumps(summary, indent=1, allow_nan=False))
    return summary


def _model(plan: Plan, folder: RunFolder, name: str) -> Summary:
    maps = load_maps(plan, folder, name)
    overlaps = {operand: _overlaps(maps, operand) for operand in OPERANDS}
    sorted_overlaps = {
        operand: specificity(found, maps.person) for operand, found in overlaps.items()
    }
    _write_people(folder, name, maps, sorted_overlaps)
    seed = plan.settings.seed
    figures = {
        "similarity": plan.model(name).card.similarity,
        "sha256": plan.model(name).sha256,
        "regions": _regions(plan, folder, name),
        "layers": _layers(plan, folder, name),
        "bc": {
            operand: _bc(found, overlaps[operand], maps, seed)
            for operand, found in sorted_overlaps.items()
        },
        "occlusion": _occlusion(plan, folder, name),
    }
    if plan.settings.second_parser:
        figures["second_parser"] = _second_parser(plan, folder, name)
    return figures


def _second_parser(plan: Plan, folder: RunFolder, name: str) -> Summary:
    """How far each region's share of the critical mask moves when another parser names the regions."""
    parts = list(shards(plan, folder, name))
    first, second, area = (
        np.concatenate(found).astype(np.float64)
        for found in (
            [part["share"][:, 0] for part in parts],
            [part["second_share"] for part in parts],
            [part["second_area"] for part in parts],
        )
    )
    owners = [plan.images[i].person for part in parts for i in part["position"]]
    people = np.unique(owners, return_inverse=True)[1]
    given = {
        *parsed_regions(plan.settings.parser),
        *parsed_regions(plan.settings.second_parser or ""),
    }
    return {
        region: {
            "share": bootstrap_mean(second[:, i], people, plan.settings.seed).as_dict(),
            "area": bootstrap_mean(area[:, i], people, plan.settings.seed).as_dict(),
            "moved": bootstrap_mean(
                second[:, i] - first[:, i], people, plan.settings.seed
            ).as_dict(),
        }
        for i, region in enumerate(REGIONS)
        if region in given
    }


def _bc(found: Specificity, overlaps: Numbers, maps: StudyMaps, seed: int) -> Summary:
    chance = chance_level(overlaps, maps.person, seed)
    return {
        "same": found.same_estimate(seed).as_dict(),
        "different": found.different_estimate(seed).as_dict(),
        "auc": found.auc_estimate(seed).as_dict(),
        "d_prime": found.d_prime_estimate(seed).as_dict(),
        "chance": {"same": chance.same.as_dict(), "auc": chance.auc.as_dict()},
        "p": finite(chance.p),
    }


def _overlaps(maps: StudyMaps, operand: str) -> Numbers:
    """Overlaps between all maps of a model, ``(n, n)``; NaN where there is no map.

    The operand ``regions`` compares shares of regions instead of pixels, which pose and alignment cannot fake.
    """
    chosen = {"critical": maps.critical, "dense": maps.dense, "regions": maps.share}[operand]
    operands = torch.from_numpy(chosen)[:, None]
    overlaps = bhattacharyya(operands, operands).numpy().astype(np.float64)
    overlaps[maps.empty] = np.nan
    overlaps[:, maps.empty] = np.nan
    return overlaps


def _write_people(
    folder: RunFolder, name: str, maps: StudyMaps, overlaps: dict[str, Specificity]
) -> None:
    columns: dict[str, Any] = {
        "person": list(maps.names),
        "model": [name] * len(maps.names),
    }
    for operand, found in overlaps.items():
        columns[f"{operand}_same"], columns[f"{operand}_different"] = found.of_people()
    folder.write_table(f"people/{name}", pl.DataFrame(columns))


def _layers(plan: Plan, folder: RunFolder, name: str) -> Summary:
    """Where each layer looks: depth, spread, centre, and the mass of its map in each region."""
    focus = folder.read_table(f"layers/{name}").filter(~pl.col("empty"), pl.col("layer") != OVERALL)
    regions = folder.read_table(f"regions/{name}").filter(
        ~pl.col("empty"), pl.col("layer") != OVERALL
    )
    mass = {str(layer): rows for (layer,), rows in regions.group_by("layer")}
    layers = {}
    for (layer, depth), rows in focus.group_by("layer", "depth", maintain_order=True):
        by_region = mass[str(layer)].group_by("region", maintain_order=True)
        layers[str(layer)] = {
            "depth": depth,
            **{key: _estimate(rows, key, plan).as_dict() for key in ("spread", "x", "y")},
            "regions": {
                str(region): _estimate(found, "mass", plan).as_dict()
                for (region,), found in by_region
            },
        }
    return dict(sorted(layers.items(), key=lambda item: item[1]["depth"]))


def _regions(plan: Plan, folder: RunFolder, name: str) -> Summary:
    table = folder.read_table(f"regions/{name}").filter(
        (pl.col("layer") == OVERALL) & ~pl.col("empty")
    )
    return {
        region: {
            "share": _estimate(rows, "share", plan).as_dict(),
            "area": _estimate(rows, "area", plan).as_dict(),
            "mass": _estimate(rows, "mass", plan).as_dict(),
        }
        for region in parsed_regions(plan.settings.parser)
        for rows in [table.filter(pl.col("region") == region)]
    }


def _occlusion(plan: Plan, folder: RunFolder, name: str) -> Summary:
    settings = plan.settings
    table = folder.read_table(f"occlusion/{name}")
    at_top = table.filter(pl.col("fraction") == settings.top)
    of_mask = {
        mask: _estimate(at_top.filter(pl.col("mask") == mask), "drop", plan).as_dict()
        for mask in ("critical", *settings.baselines)
    }
    fractions = sorted({settings.top, *settings.curve})
    curve = {
        mask: [
            {
                "fraction": fraction,
                **_estimate(
                    table.filter(pl.col("mask") == mask, pl.col("fraction") == fraction),
                    "drop",
                    plan,
                ).as_dict(),
            }
            for fraction in fractions
        ]
        for mask in (CURVE_MASKS if settings.curve else ())
    }
    return {
        "fraction": settings.top,
        "fill": settings.fill,
        "drop": of_mask.pop("critical"),
        "baselines": of_mask,
        "curve": curve,
    }


def _agreement(plan: Plan, folder: RunFolder) -> Summary:
    """How alike the models' critical masks are on the same face, and in which order they group."""
    names = [model.card.name for model in plan.models]
    slices = list(agreement_slices(plan, folder))
    positions = np.concatenate([found for found, _ in slices])
    overlaps = np.concatenate([values.numpy() for _, values in slices]).astype(np.float64)
    people = np.unique([plan.images[i].person for i in positions], return_inverse=True)[1]
    estimates = [
        [bootstrap_mean(overlaps[:, i, j], people, plan.settings.seed) for j in range(len(names))]
        for i in range(len(names))
    ]
    means = np.array([[found.mean or 0.0 for found in row] for row in estimates])
    order = cluster(means).order
    return {
        "models": names,
        "critical": [[found.as_dict() for found in row] for row in estimates],
        "order": [names[index] for index in order],
    }


def _transfer(plan: Plan, folder: RunFolder) -> Summary:
    """The drop on each model (rows) under the masks of each model and random ones (columns)."""
    names = [model.card.name for model in plan.models]
    rows = []
    for name in names:
        parts = list(shards(plan, folder, f"{TRANSFER}/{name}"))
        drops = np.concatenate([part["drop"] for part in parts]).astype(np.float64)
        owners = [plan.images[i].person for part in parts for i in part["position"]]
        people = np.unique(owners, return_inverse=True)[1]
        rows.append(
            [bootstrap_mean(column, people, plan.settings.seed).as_dict() for column in drops.T]
        )
    return {"models": names, "masks": [*names, RANDOM], "drop": rows}


def _estimate(rows: pl.DataFrame, column: str, plan: Plan) -> Estimate:
    people = rows["person"].rank("dense").to_numpy().astype(np.int64)
    return bootstrap_mean(rows[column].cast(pl.Float64).to_numpy(), people, plan.settings.seed)

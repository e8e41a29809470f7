"""A study's figures with their intervals: ``summary.json``."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from leam.measures.bhattacharyya import bhattacharyya
from leam.measures.specificity import Specificity, specificity
from leam.measures.statistics import Estimate, bootstrap_mean
from leam.study.plan import Plan
from leam.study.skipped import usable
from leam.study.store import RunFolder
from leam.study.tables import OVERALL, parsed_regions, shards

Progress = Callable[[str, int, int], None]
Summary = dict[str, Any]

OPERANDS = ("critical", "dense")


def summarise(plan: Plan, folder: RunFolder, tell: Progress) -> Summary:
    """Compute every figure of a finished study and write ``summary.json``; its schema is ``summary.schema.json``."""
    positions, skipped = usable(plan, folder)
    models = {}
    for number, model in enumerate(plan.models):
        tell("computing the figures", number, len(plan.models))
        models[model.card.name] = _model(plan, folder, model.card.name)
    tell("computing the figures", len(plan.models), len(plan.models))
    summary = {
        "leam": plan.leam,
        "versions": plan.versions,
        "settings": plan.settings.model_dump(mode="json"),
        "people": len({plan.images[position].person for position in positions}),
        "images": len(positions),
        "skipped": [{"path": one.image, "reason": one.reason} for one in skipped],
        "models": models,
    }
    folder.write_text("summary.json", json.dumps(summary, indent=1, allow_nan=False))
    return summary


@dataclass(frozen=True)
class _Maps:
    """A model's overall maps and critical masks over a whole study, ``(n, h w)`` each, and whose they are."""

    dense: NDArray[np.float16]
    critical: NDArray[np.bool_]
    empty: NDArray[np.bool_]
    names: tuple[str, ...]
    person: NDArray[np.int64]


def _model(plan: Plan, folder: RunFolder, name: str) -> Summary:
    maps = _maps(plan, folder, name)
    overlaps = {operand: model_specificity(maps, operand) for operand in OPERANDS}
    _write_people(folder, name, maps, overlaps)
    seed = plan.settings.seed
    return {
        "similarity": plan.model(name).card.similarity,
        "sha256": plan.model(name).sha256,
        "regions": _regions(plan, folder, name),
        "bc": {
            operand: {
                "same": found.same_estimate(seed).as_dict(),
                "different": found.different_estimate(seed).as_dict(),
            }
            for operand, found in overlaps.items()
        },
        "occlusion": _occlusion(plan, folder, name),
    }


def _maps(plan: Plan, folder: RunFolder, name: str) -> _Maps:
    parts = list(shards(plan, folder, name))
    positions = np.concatenate([part["position"] for part in parts])
    pixels = parts[0]["density"][0].size
    people = [plan.images[position].person for position in positions]
    names = tuple(dict.fromkeys(people))
    return _Maps(
        dense=np.concatenate([part["density"].reshape(len(part["density"]), -1) for part in parts]),
        critical=np.concatenate(
            [np.unpackbits(part["critical"], axis=1, count=pixels) for part in parts]
        ).astype(bool),
        empty=np.concatenate([part["empty"][:, 0] for part in parts]),
        names=names,
        person=np.array([names.index(person) for person in people]),
    )


def model_specificity(maps: _Maps, operand: str) -> Specificity:
    """Overlaps between all maps of a model, sorted by people."""
    operands = torch.from_numpy(maps.critical if operand == "critical" else maps.dense)[:, None]
    overlaps = bhattacharyya(operands, operands).numpy().astype(np.float64)
    overlaps[maps.empty] = np.nan
    overlaps[:, maps.empty] = np.nan
    return specificity(overlaps, maps.person)


def _write_people(
    folder: RunFolder, name: str, maps: _Maps, overlaps: dict[str, Specificity]
) -> None:
    columns: dict[str, Any] = {"person": list(maps.names), "model": [name] * len(maps.names)}
    for operand, found in overlaps.items():
        columns[f"{operand}_same"], columns[f"{operand}_different"] = found.of_people()
    folder.write_table(f"people/{name}", pl.DataFrame(columns))


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
    table = folder.read_table(f"occlusion/{name}")
    of_mask = {
        mask: _estimate(table.filter(pl.col("mask") == mask), "drop", plan).as_dict()
        for mask in ("critical", *plan.settings.baselines)
    }
    return {
        "fraction": plan.settings.top,
        "fill": plan.settings.fill,
        "drop": of_mask.pop("critical"),
        "baselines": of_mask,
    }


def _estimate(rows: pl.DataFrame, column: str, plan: Plan) -> Estimate:
    people = rows["person"].rank("dense").to_numpy().astype(np.int64)
    return bootstrap_mean(rows[column].cast(pl.Float64).to_numpy(), people, plan.settings.seed)

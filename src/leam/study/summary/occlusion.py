"""What hiding pixels costs: a model's own masks, and other models' masks."""

from __future__ import annotations

import numpy as np
import polars as pl

from leam.metrics.statistics import Numbers, cohens_d_paired, finite, person_means, sign_flip_p
from leam.study.occluding import CRITICAL
from leam.study.plan import Plan
from leam.study.store import RunFolder
from leam.study.summary.estimates import (
    Summary,
    each_over_people,
    of_columns,
    over_people,
    owners_of,
)
from leam.study.tables import shards
from leam.study.transfer import RANDOM, TRANSFER


def occlusion_figures(plan: Plan, folder: RunFolder, name: str) -> Summary:
    """The drop under the critical mask and under each baseline, and how far the one exceeds the other."""
    settings = plan.settings
    table = folder.read_table(f"occlusion/{name}", ["person", "mask", "drop"])
    rows = {mask: table.filter(pl.col("mask") == mask) for mask in (CRITICAL, *settings.baselines)}
    figures = {
        mask: of_columns(found, ["drop"], settings.seed)["drop"] for mask, found in rows.items()
    }
    own = rows[CRITICAL]["drop"].to_numpy()
    people = rows[CRITICAL]["person"].rank("dense").to_numpy().astype(np.int64) - 1
    return {
        "fraction": settings.top,
        "fill": settings.fill,
        "drop": figures.pop(CRITICAL),
        "baselines": figures,
        "margins": {
            mask: _margin(own - rows[mask]["drop"].to_numpy(), people, settings.seed)
            for mask in settings.baselines
        },
    }


def transfer_figures(plan: Plan, folder: RunFolder) -> Summary:
    """The drop on each model (rows) under the masks of each model and random ones (columns).

    Beside the matrix, for each target: the mean over other models' masks, over the target's own, and what is left of
    its own effect when the mask comes from elsewhere.
    """
    names, seed = [model.card.name for model in plan.models], plan.settings.seed
    rows, targets = [], {}
    for place, name in enumerate(names):
        parts = list(shards(plan, folder, f"{TRANSFER}/{name}", ["position", "drop"]))
        drops = np.concatenate([part["drop"] for part in parts]).astype(np.float64)
        owners = owners_of(plan, np.concatenate([part["position"] for part in parts]))
        rows.append(each_over_people(drops, owners, seed))
        others = [column for column in range(len(names)) if column != place]
        if others:
            elsewhere = drops[:, others].mean(axis=1)
            targets[name] = {
                "own": over_people(drops[:, place], owners, seed),
                "others": over_people(elsewhere, owners, seed),
                "random": over_people(drops[:, -1], owners, seed),
                "others_over_random": _margin(elsewhere - drops[:, -1], owners, seed),
            }
    return {"models": names, "masks": [*names, RANDOM], "drop": rows, "targets": targets}


def _margin(differences: Numbers, owners: np.ndarray, seed: int) -> Summary:
    """A paired difference over people, with p by flipping signs and its effect size."""
    people = int(owners.max(initial=-1)) + 1
    means = person_means(differences.astype(np.float64), owners, people)
    return {
        "difference": over_people(differences, owners, seed),
        "p": finite(sign_flip_p(means, seed)),
        "d": finite(cohens_d_paired(means)),
    }

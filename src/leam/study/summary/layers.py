"""Where each layer of a model looks, and how differently."""

from __future__ import annotations

import numpy as np
import polars as pl
import torch

from leam.metrics.overlap import profile_divergences
from leam.metrics.statistics import Numbers
from leam.study.plan import Plan
from leam.study.store import RunFolder
from leam.study.summary.estimates import Summary, of_columns, over_people, owners_of
from leam.study.tables import shards

_FOCUS = ("spread", "x", "y")


def layer_figures(plan: Plan, folder: RunFolder, name: str) -> Summary:
    """Where each layer looks: depth, spread, centre, and the mass of its map in each region."""
    first = next(shards(plan, folder, f"maps/{name}", ["layers"]), {"layers": np.zeros(0)})
    seed = plan.settings.seed
    layers = {}
    for depth, layer in enumerate(first["layers"].tolist(), start=1):
        # One layer at a time, so that memory does not grow with the layers.
        known = (pl.col("depth") == depth) & ~pl.col("empty")
        focus = folder.read_table(f"layers/{name}", ["person", *_FOCUS], known)
        if focus.is_empty():
            continue
        mass = folder.read_table(f"regions/{name}", ["region", "mass"], known)
        # Both tables have the faces in one order.
        parts = mass.partition_by("region", maintain_order=True, include_key=False, as_dict=True)
        regions = {str(region): part["mass"] for (region,), part in parts.items()}
        figures = of_columns(focus.with_columns(**regions), [*_FOCUS, *regions], seed)
        layers[layer] = {
            "depth": depth,
            **{key: figures[key] for key in _FOCUS},
            "regions": {region: figures[region] for region in regions},
        }
    return layers


def layer_divergence(plan: Plan, folder: RunFolder, name: str) -> Summary:
    """How differently a model's layers see the regions of one face.

    Returns:
        ``mean``: over all pairs of layers, with its interval over people; ``matrix``: the mean of each pair, by depth;
        Jensen-Shannon divergences of region profiles in bits, None where a pair has no face.
    """
    total = count = None
    means: list[Numbers] = []
    positions: list[int] = []
    for part in shards(plan, folder, f"maps/{name}", ["position", "mass"]):
        found = profile_divergences(torch.from_numpy(part["mass"][:, 1:])).double().numpy()
        known = np.isfinite(found)
        sums, counts = np.where(known, found, 0.0).sum(axis=0), known.sum(axis=0)
        total, count = (sums, counts) if total is None else (total + sums, count + counts)
        means.append(_pair_means(found))
        positions.extend(part["position"])
    if total is None or count is None:
        return {"mean": over_people(np.zeros(0), np.zeros(0, dtype=np.int64), 0), "matrix": []}
    mean = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
    values = np.concatenate(means)
    return {
        "mean": over_people(values, owners_of(plan, positions), plan.settings.seed),
        "matrix": [[round(v, 6) if np.isfinite(v) else None for v in row] for row in mean.tolist()],
    }


def _pair_means(divergences: Numbers) -> Numbers:
    """The mean over pairs of each face's ``(n, K, K)``, ``(n,)``; NaN where there is no pair."""
    upper = np.triu_indices(divergences.shape[1], 1)
    pairs = divergences[:, upper[0], upper[1]]
    known = np.isfinite(pairs)
    counts = known.sum(axis=1)
    sums = np.where(known, pairs, 0.0).sum(axis=1)
    means: Numbers = np.divide(sums, counts, out=np.full(len(pairs), np.nan), where=counts > 0)
    return means

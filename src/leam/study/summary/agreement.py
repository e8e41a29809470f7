"""Whether models look at the same places of the same face."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leam.explain.masks import critical_mask
from leam.metrics.overlap import cluster, map_agreement, profile_divergences, rank_agreement
from leam.study.jobs import Progress
from leam.study.occluding import probe_rows
from leam.study.plan import Plan
from leam.study.store import Arrays, RunFolder
from leam.study.summary.estimates import Summary, each_over_people, over_people, owners_of
from leam.study.transfer import carried

_ARRAYS = ["position", "density", "matrix", "mass"]


def agreement_figures(plan: Plan, folder: RunFolder, tell: Progress) -> Summary:
    """How alike the models' maps of the same face are, and in which order the models group.

    Measured on the study's probes. All maps are carried into the first model's geometry.

    Returns:
        ``models``; ``critical``, overlaps of critical masks; ``rank``, rank correlations of whole maps; ``regions``,
        Jensen-Shannon divergences of region profiles, in bits; each ``M x M``; ``divergence``, the mean of the last
        over pairs of models, to stand beside the divergence of a model's layers; ``order`` and ``merges`` of the
        clusters by ``critical``.
    """
    names = [model.card.name for model in plan.models]
    # Likeness is mutual: what is kept of a face is one number for every two models.
    first, second = np.triu_indices(len(names))
    found: dict[str, list[NDArray[np.float32]]] = {"critical": [], "rank": [], "regions": []}
    positions: list[int] = []
    for index, (rows, slices) in enumerate(_slices(plan, folder, names)):
        tell("comparing the models", index, len(plan.slices))
        for name, likeness in _compare(rows, slices, plan.settings.top).items():
            found[name].append(likeness.float().numpy()[:, first, second])
        positions.extend(slices[0]["position"][rows])
    tell("comparing the models", len(plan.slices), len(plan.slices))
    owners, seed = owners_of(plan, positions), plan.settings.seed
    values = {name: np.concatenate(parts) for name, parts in found.items()}
    matrices = {
        name: _matrix(each_over_people(pairs, owners, seed), len(names))
        for name, pairs in values.items()
    }
    means = np.array([[cell["mean"] or 0.0 for cell in row] for row in matrices["critical"]])
    clusters = cluster(means)
    return {
        "models": names,
        **matrices,
        "divergence": over_people(values["regions"][:, first != second].mean(axis=1), owners, seed),
        "order": [names[index] for index in clusters.order],
        "merges": clusters.merges.round(6).tolist(),
    }


def _matrix(pairs: list[Summary], count: int) -> list[list[Summary]]:
    """The figures of every two of ``count`` models, given above the diagonal row by row, as rows of a matrix."""
    places = np.zeros((count, count), dtype=int)
    places[np.triu_indices(count)] = np.arange(len(pairs))
    return [[pairs[place] for place in row] for row in np.maximum(places, places.T).tolist()]


def _slices(
    plan: Plan, folder: RunFolder, names: Sequence[str]
) -> Iterator[tuple[NDArray[np.intp], list[Arrays]]]:
    """Each slice's probes and every model's maps."""
    for index, _ in enumerate(plan.slices):
        shards = [folder.read_shard(f"maps/{name}", index, _ARRAYS) or {} for name in names]
        if all(shards):
            people = np.array([plan.images[p].person for p in shards[0]["position"]])
            yield probe_rows(people, plan.settings.probes), shards


def _compare(rows: NDArray[np.intp], shards: Sequence[Arrays], top: float) -> dict[str, Tensor]:
    """Likeness of the models' maps of some faces, ``(n, M, M)`` each; NaN where a model has no map."""
    size = (shards[0]["density"].shape[1], shards[0]["density"].shape[2])
    targets = shards[0]["matrix"][rows]
    maps = torch.stack([carried(arrays, rows, targets, size) for arrays in shards])
    critical = map_agreement(critical_mask(maps, top))
    silent = maps.sum(dim=(2, 3)).T == 0
    critical[silent[:, :, None].expand_as(critical)] = torch.nan
    critical[silent[:, None, :].expand_as(critical)] = torch.nan
    profiles = torch.from_numpy(np.stack([arrays["mass"][rows, 0] for arrays in shards], axis=1))
    return {
        "critical": critical,
        "rank": rank_agreement(maps),
        "regions": profile_divergences(profiles),
    }

"""Whether a model's maps belong to a person."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
import torch
from torch import Tensor

from leam.explain.masks import critical_mask
from leam.metrics.overlap import bhattacharyya
from leam.metrics.specificity import (
    Block,
    Chance,
    Pool,
    Specificity,
    chance_level,
    person_maps,
)
from leam.metrics.statistics import NOTHING, finite
from leam.study.loading import StudyMaps, map_groups
from leam.study.plan import Plan
from leam.study.store import RunFolder
from leam.study.summary.estimates import Summary

OPERANDS = ("critical", "dense", "regions", "halves", "pattern")
"""What is compared: critical masks; whole maps; shares of regions, which pose and alignment cannot fake; critical masks
of person maps, each the mean over half of a person's pictures; a picture's critical mask with that of the mean of all
its person's maps, or of another person's. The last overlaps partly with itself by construction, so it has no chance
level."""

# Groups of people among whom identities are permuted: enough for a chance level, whatever the size of the study.
_CHANCE_GROUPS = 64
_BINS = 40


def specificity_figures(
    plan: Plan, folder: RunFolder, name: str, people: dict[str, int]
) -> Summary:
    """Overlaps of maps of one person and of different people; writes ``tables/people/NAME.parquet``."""
    seed = plan.settings.seed
    pools = {operand: Pool(len(people), seed) for operand in OPERANDS}
    first: dict[str, list[Block]] = {operand: [] for operand in OPERANDS}
    for number, maps in enumerate(map_groups(plan, folder, name, people)):
        for operand, block in _blocks(maps, plan).items():
            pools[operand].add(block)
            if number < _CHANCE_GROUPS:
                first[operand].append(block)
    found = {operand: pool.found() for operand, pool in pools.items()}
    _write_people(folder, name, people, found)
    return {operand: _figures(found[operand], first[operand], seed) for operand in OPERANDS}


def _blocks(maps: StudyMaps, plan: Plan) -> dict[str, Block]:
    """A group's overlaps for each operand."""
    dense = torch.from_numpy(maps.dense)
    operands = {
        "critical": torch.from_numpy(maps.critical),
        "dense": dense,
        "regions": torch.from_numpy(maps.share)[:, None],
    }
    blocks = {k: Block(_overlaps(v, maps.empty), maps.person) for k, v in operands.items()}
    halves, owner = person_maps(dense, maps.person, plan.settings.seed)
    masks = critical_mask(halves, plan.settings.top)
    # The halves' owners are numbered among the people of the group who have two maps or more.
    full = maps.person[~maps.empty]
    names, counts = np.unique(full, return_counts=True)
    blocks["halves"] = Block(
        _overlaps(masks, np.zeros(len(masks), dtype=bool)), names[counts > 1][owner]
    )
    blocks["pattern"] = _patterns(maps, plan.settings.top)
    return blocks


def _patterns(maps: StudyMaps, top: float) -> Block:
    """Pictures against the mean maps of people: a block of both in which only such pairs count."""
    known = np.flatnonzero(~maps.empty)
    people, owner = np.unique(maps.person[known], return_inverse=True)
    sums = torch.zeros(len(people), *maps.dense.shape[1:])
    sums.index_add_(0, torch.from_numpy(owner), torch.from_numpy(maps.dense[known]).float())
    means = sums / torch.from_numpy(np.bincount(owner)).float()[:, None, None]
    between = bhattacharyya(torch.from_numpy(maps.critical[known]), critical_mask(means, top))
    pictures, count = len(known), len(known) + len(people)
    overlaps = np.full((count, count), np.nan)
    overlaps[:pictures, pictures:] = between.numpy()
    overlaps[pictures:, :pictures] = between.numpy().T
    return Block(overlaps, np.concatenate([maps.person[known], people]))


def _overlaps(operands: Tensor, empty: np.ndarray) -> np.ndarray:
    """Overlaps between all maps, ``(n, n)``; NaN where there is no map."""
    overlaps = bhattacharyya(operands, operands).numpy().astype(np.float64)
    overlaps[empty] = np.nan
    overlaps[:, empty] = np.nan
    return overlaps


def _figures(found: Specificity, blocks: list[Block], seed: int) -> Summary:
    chance = Chance(NOTHING, NOTHING, np.nan)
    if all(np.isfinite(np.diag(block.overlaps)).any() for block in blocks):
        chance = chance_level(blocks, seed)
    return {
        **{name: one.as_dict() for name, one in found.estimates(seed).items()},
        "chance": {"same": chance.same.as_dict(), "auc": chance.auc.as_dict()},
        "p": finite(chance.p),
        "pairs": {"same": len(found.same), "different": int(found.counts.sum() / 2)},
        "histogram": _histogram(found),
    }


def _histogram(found: Specificity) -> Summary:
    """How the overlaps are spread: parts of the pairs in bins from 0 to the largest overlap."""
    values = np.concatenate([found.same, found.different])
    highest = float(values.max()) if len(values) and values.max() > 0 else 1.0
    edges = np.linspace(0, highest, _BINS + 1)

    def parts(overlaps: np.ndarray) -> list[float]:
        counts = np.histogram(overlaps, edges)[0] / max(len(overlaps), 1)
        return [round(float(value), 6) for value in counts]

    return {
        "edges": [round(float(edge), 6) for edge in edges],
        "same": parts(found.same),
        "different": parts(found.different),
    }


def _write_people(
    folder: RunFolder, name: str, people: dict[str, int], found: Mapping[str, Specificity]
) -> None:
    columns: dict[str, object] = {"person": list(people), "model": [name] * len(people)}
    for operand, one in found.items():
        columns[f"{operand}_same"], columns[f"{operand}_different"] = one.of_people()
    folder.write_table(f"people/{name}", [pl.DataFrame(columns)])

"""Person specificity: whether a recognizer's maps are specific to a person."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from leam.explain.masks import critical_mask
from leam.metrics.overlap import bhattacharyya_matrix
from leam.metrics.specificity import (
    AucMargin,
    Block,
    Chance,
    Pool,
    Specificity,
    auc_margins,
    chance_level,
    matched_auc,
    person_maps,
)
from leam.metrics.statistics import NOTHING, Estimate, finite
from leam.results.figures import Figures, Model
from leam.results.shards import Shard
from leam.study.explained import EXPLAIN, Explained, unpacked
from leam.study.preparation import read_detections
from leam.study.run_data import RunData
from leam.study.scene import seeded
from leam.study.stage import STAGES, Stage
from leam.study.stages.control_maps import CONTROL_MAPS, ControlMaps, random_slices
from leam.study.stages.regions import RegionShares

OPERANDS = {
    "critical": "critical masks",
    "dense": "whole maps",
    "density": "densities of the critical mask (share divided by area) in each region",
    "halves": "critical masks of person maps, each the mean over half of a person's pictures",
    "pattern": "a picture's critical mask and that of the mean map of all pictures of its person, or of another "
    "person; the picture is part of its own person's mean map, so there is no chance level",
}
"""The kinds of maps that are compared by their Bhattacharyya coefficient."""
CONTROLS = {
    "edges": "critical masks of edge maps, without a network",
    "areas": "areas of the regions, without a map",
}
"""The controls, of all faces, that are compared in the same way."""
RANDOM = "random_weights"
"""The control that is computed for the people of some slices: the same network with random weights."""
MATCHED = ("landmarks", "edges")
"""What impostor pairs are matched on: the distance between landmarks, and the coefficient of edge maps."""

# Slices whose people are compared with each other. A few random slices at a time keep memory constant.
_SLICES_PER_GROUP = 4
# Groups in which identities are permuted, enough for a chance level in a study of any size.
_CHANCE_GROUPS = 64
_BINS = 40


class SpecificityFigures(Figures):
    """Bhattacharyya coefficients of maps of the same person and of different people."""

    class Chance(Model):
        """Chance level: the figures when identities are permuted among the pictures."""

        genuine: Estimate
        """Mean coefficient of genuine pairs, with the interval that contains 95 % of the permutations."""
        auc: Estimate
        """AUC, with the interval that contains 95 % of the permutations."""

    class Pairs(Model):
        """Numbers of compared pairs."""

        genuine: int
        """Number of genuine pairs; all of them are compared."""
        impostor: int
        """Number of impostor pairs; they are compared within random groups of people."""

    class Histogram(Model):
        """Distribution of the coefficients."""

        edges: list[float]
        """Edges of the bins."""
        genuine: list[float]
        """Fraction of the genuine pairs in each bin."""
        impostor: list[float]
        """Fraction of the impostor pairs in each bin."""

    class Operand(Model):
        """Figures of one kind of map."""

        genuine: Estimate
        """Mean coefficient of genuine pairs."""
        impostor: Estimate
        """Mean coefficient of impostor pairs."""
        auc: Estimate
        """Probability that a genuine pair's coefficient exceeds an impostor pair's; 0.5 by chance."""
        d_prime: Estimate
        """d-prime: distance between genuine and impostor pairs in standard deviations."""
        chance: SpecificityFigures.Chance
        """Chance level, with permuted identities."""
        p: float | None
        """Probability that permuted identities give an AUC at least as high."""
        pairs: SpecificityFigures.Pairs
        """Numbers of pairs."""
        histogram: SpecificityFigures.Histogram
        """Distribution of the coefficients."""

    class Control(Model):
        """The AUC of a control beside that of the recognizer's critical masks, on pairs of the same people."""

        genuine: Estimate
        """Mean coefficient of genuine pairs of the control."""
        impostor: Estimate
        """Mean coefficient of impostor pairs of the control."""
        auc: Estimate
        """AUC of the control."""
        critical: Estimate
        """AUC of the critical masks."""
        difference: Estimate
        """AUC of the critical masks minus that of the control; people are resampled for both together."""

    class Matched(Model):
        """The AUC of the critical masks against impostor pairs that resemble the genuine pairs."""

        auc: Estimate
        """AUC against the matched impostor pairs."""
        change: Estimate
        """That AUC minus the AUC against all impostor pairs."""

    operands: dict[str, Operand]
    """Figures by kind of map: ``critical``, ``dense``, ``density``, ``halves`` and ``pattern``."""
    controls: dict[str, Control]
    """Figures by control: ``edges``, ``areas`` (of the regions) and, for some people, ``random_weights``."""
    matched: dict[str, Matched]
    """Figures by what impostor pairs are matched on: ``landmarks`` (distance) and ``edges`` (coefficient)."""


@STAGES("specificity")
class PersonSpecificity(Stage[Shard]):
    """Compares the maps of genuine and impostor pairs."""

    name = "specificity"
    title = "person specificity"
    needs = (EXPLAIN, "regions", CONTROL_MAPS)
    figures = SpecificityFigures
    columns = {
        "person": "The person.",
        "model": "The recognizer.",
        **{
            f"{operand}_{kind}": f"Mean coefficient of the person's {kind} pairs: {what}."
            for operand, what in {**OPERANDS, **CONTROLS}.items()
            for kind in ("genuine", "impostor")
        },
    }

    def tabulate(self, run: RunData, recognizer: str) -> Iterator[pl.DataFrame]:
        """One row per person: the mean coefficients of the person's genuine and impostor pairs."""
        columns: dict[str, object] = {
            "person": list(run.people),
            "model": [recognizer] * len(run.people),
        }
        found, _ = _pooled(run, recognizer)
        for operand in (*OPERANDS, *CONTROLS):
            one = found[operand]
            genuine, impostor = one.of_people()
            columns[f"{operand}_genuine"], columns[f"{operand}_impostor"] = genuine, impostor
        yield pl.DataFrame(columns)

    def summarise(self, run: RunData, recognizer: str) -> SpecificityFigures:
        """The figures of each kind of map."""
        found, first = _pooled(run, recognizer)
        seed = run.settings.seed
        margins = auc_margins(found["critical"], {name: found[name] for name in CONTROLS}, seed)
        controls = {name: _control(found[name], margin, seed) for name, margin in margins.items()}
        own, random = _random_weights(run, recognizer)
        if len(random.same) and len(random.different):
            margin = auc_margins(own, {RANDOM: random}, seed)[RANDOM]
            controls[RANDOM] = _control(random, margin, seed)
        return SpecificityFigures(
            operands={
                operand: _operand(found[operand], first[operand], seed) for operand in OPERANDS
            },
            controls=controls,
            matched={
                name: SpecificityFigures.Matched(
                    **vars(matched_auc(found["critical"], found[name], seed))
                )
                for name in MATCHED
            },
        )


@dataclass(frozen=True)
class _Group:
    """The maps of some people.

    Attributes:
        dense: The overall maps times their number of pixels, ``(n, h, w)`` float16.
        critical: The critical masks, ``(n, h, w)`` bool.
        share: Fraction of the critical mask in each region, ``(n, R)``.
        area: Fraction of the chip that each region covers, ``(n, R)``.
        edges: The critical masks of the edge maps, ``(n, h, w)`` bool.
        landmarks: Landmarks in units of the chip's sides, ``(n, 136)``.
        empty: True for faces with an empty map, ``(n,)``.
        person: Person numbers of the faces, ``(n,)``.
    """

    dense: NDArray[np.float16]
    critical: NDArray[np.bool_]
    share: NDArray[np.float32]
    area: NDArray[np.float32]
    edges: NDArray[np.bool_]
    landmarks: NDArray[np.float64]
    empty: NDArray[np.bool_]
    person: NDArray[np.int64]


def _pooled(run: RunData, recognizer: str) -> tuple[dict[str, Specificity], dict[str, list[Block]]]:
    """The coefficients of each kind of map, and the blocks in which identities are permuted; cached."""

    def pool() -> tuple[dict[str, Specificity], dict[str, list[Block]]]:
        seed = run.settings.seed
        # Pools with the same seed keep the same pairs.
        names = dict.fromkeys([*OPERANDS, *CONTROLS, *MATCHED])
        pools = {operand: Pool(len(run.people), seed) for operand in names}
        first: dict[str, list[Block]] = {operand: [] for operand in OPERANDS}
        for number, group in enumerate(_groups(run, recognizer)):
            for operand, block in _blocks(group, run).items():
                pools[operand].add(block)
                if number < _CHANCE_GROUPS and operand in OPERANDS:
                    first[operand].append(block)
        return {operand: one.found() for operand, one in pools.items()}, first

    return run.once(("specificity", recognizer), pool)


def _groups(run: RunData, recognizer: str) -> Iterator[_Group]:
    """A recognizer's maps in groups of whole people, each from a few slices drawn with the study's seed."""
    slices = run.plan.slices
    order = seeded("groups", run.settings.seed).permutation(len(slices))
    for start in range(0, len(order), _SLICES_PER_GROUP):
        chosen = sorted(order[start : start + _SLICES_PER_GROUP].tolist())
        parts = [part for index in chosen if (part := _part(run, recognizer, index))]
        if parts:
            yield _Group(
                **{
                    field.name: np.concatenate([getattr(part, field.name) for part in parts])
                    for field in fields(_Group)
                }
            )


def _part(run: RunData, recognizer: str, index: int) -> _Group | None:
    """The maps of one slice; None if it has no usable face."""
    names = ["position", "matrix", "density", "critical", "empty"]
    maps = run.folder.read_shard(Explained, f"{EXPLAIN}/{recognizer}", index, names)
    shares = run.folder.read_shard(RegionShares, f"regions/{recognizer}", index, ["share", "area"])
    control = run.folder.read_shard(
        ControlMaps, f"{CONTROL_MAPS}/{recognizer}", index, ["position", "edges"]
    )
    if maps is None or shares is None or control is None:
        return None
    size = maps.density.shape[1:]
    rows = maps.position - run.plan.slices[index].start
    points = read_detections(run.folder, index).landmarks[rows]
    moved = np.einsum("nij,npj->npi", maps.matrix[:, :, :2], points) + maps.matrix[:, None, :, 2]
    return _Group(
        dense=maps.density,
        critical=maps.masks,
        share=shares.share[:, 0].copy(),
        area=shares.area,
        edges=unpacked(control.edges, size),
        landmarks=(moved / size[::-1]).reshape(len(rows), -1),
        empty=maps.empty[:, 0],
        person=np.array([run.people[run.plan.images[one].person] for one in maps.position]),
    )


def _random_weights(run: RunData, recognizer: str) -> tuple[Specificity, Specificity]:
    """The coefficients of critical masks and of those under random weights, within the slices that have both."""
    own, random = (Pool(len(run.people), run.settings.seed) for _ in range(2))
    for index in sorted(random_slices(run.plan)):
        part = _part(run, recognizer, index)
        control = run.folder.read_shard(
            ControlMaps, f"{CONTROL_MAPS}/{recognizer}", index, ["position", "random"]
        )
        if part is None or control is None:
            continue
        masks = unpacked(control.random, part.critical.shape[1:])
        empty = part.empty | ~masks.any(axis=(1, 2))
        for pool, found in ((own, part.critical), (random, masks)):
            pool.add(Block(_coefficients(torch.from_numpy(found), empty), part.person))
    return own.found(), random.found()


def _blocks(group: _Group, run: RunData) -> dict[str, Block]:
    """The coefficients of a group for each kind of map."""
    dense, top = torch.from_numpy(group.dense), run.settings.top
    operands = {
        "critical": torch.from_numpy(group.critical),
        "dense": dense,
        "density": torch.from_numpy(_densities(group))[:, None],
        "edges": torch.from_numpy(group.edges),
        "areas": torch.from_numpy(group.area)[:, None],
    }
    blocks = {
        name: Block(_coefficients(maps, group.empty), group.person)
        for name, maps in operands.items()
    }
    between = _landmark_distances(group.landmarks)
    between[group.empty] = between[:, group.empty] = np.nan
    blocks["landmarks"] = Block(between, group.person)
    halves, owner = person_maps(dense, group.person, run.settings.seed)
    masks = critical_mask(halves, top)
    # Owners of the halves are numbered among the people of the group who have at least two maps.
    names, counts = np.unique(group.person[~group.empty], return_counts=True)
    blocks["halves"] = Block(
        _coefficients(masks, np.zeros(len(masks), dtype=bool)), names[counts > 1][owner]
    )
    blocks["pattern"] = _patterns(group, top)
    return blocks


def _densities(group: _Group) -> NDArray[np.float32]:
    """Share divided by area of each region, ``(n, R)``; 0 for an absent region."""
    absent = np.zeros_like(group.share)
    return np.divide(group.share, group.area, out=absent, where=group.area > 0)


def _landmark_distances(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Root mean square distance between the landmarks of every two faces, ``(n, n)``, from ``(n, 2 L)``."""
    from scipy.spatial.distance import cdist  # noqa: PLC0415  slow to import

    distances: NDArray[np.float64] = cdist(points, points) / np.sqrt(points.shape[1] / 2)
    return distances


def _patterns(group: _Group, top: float) -> Block:
    """Compare pictures with the mean maps of people, in a block in which only such pairs are finite."""
    known = np.flatnonzero(~group.empty)
    people, owner = np.unique(group.person[known], return_inverse=True)
    sums = torch.zeros(len(people), *group.dense.shape[1:])
    sums.index_add_(0, torch.from_numpy(owner), torch.from_numpy(group.dense[known]).float())
    means = sums / torch.from_numpy(np.bincount(owner)).float()[:, None, None]
    between = bhattacharyya_matrix(
        torch.from_numpy(group.critical[known]), critical_mask(means, top)
    )
    pictures, count = len(known), len(known) + len(people)
    coefficients = np.full((count, count), np.nan)
    coefficients[:pictures, pictures:] = between.numpy()
    coefficients[pictures:, :pictures] = between.numpy().T
    return Block(coefficients, np.concatenate([group.person[known], people]))


def _coefficients(maps: Tensor, empty: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Bhattacharyya coefficients between all maps, ``(n, n)``; NaN for empty maps."""
    found = bhattacharyya_matrix(maps, maps).numpy().astype(np.float64)
    found[empty] = np.nan
    found[:, empty] = np.nan
    return found


def _control(found: Specificity, margin: AucMargin, seed: int) -> SpecificityFigures.Control:
    means = found.estimates(seed)
    return SpecificityFigures.Control(
        genuine=means["same"],
        impostor=means["different"],
        auc=margin.control,
        critical=margin.claim,
        difference=margin.difference,
    )


def _operand(found: Specificity, blocks: list[Block], seed: int) -> SpecificityFigures.Operand:
    chance = Chance(NOTHING, NOTHING, np.nan)
    if all(np.isfinite(np.diag(block.coefficients)).any() for block in blocks):
        chance = chance_level(blocks, seed)
    estimates = found.estimates(seed)
    return SpecificityFigures.Operand(
        genuine=estimates["same"],
        impostor=estimates["different"],
        auc=estimates["auc"],
        d_prime=estimates["d_prime"],
        chance=SpecificityFigures.Chance(genuine=chance.same, auc=chance.auc),
        p=finite(chance.p),
        pairs=SpecificityFigures.Pairs(
            genuine=len(found.same), impostor=int(found.counts.sum() / 2)
        ),
        histogram=_histogram(found),
    )


def _histogram(found: Specificity) -> SpecificityFigures.Histogram:
    """The distribution of the coefficients in bins from 0 to the largest one."""
    values = np.concatenate([found.same, found.different])
    highest = float(values.max()) if len(values) and values.max() > 0 else 1.0
    edges = np.linspace(0, highest, _BINS + 1)

    def fractions(coefficients: NDArray[np.float64]) -> list[float]:
        counts = np.histogram(coefficients, edges)[0] / max(len(coefficients), 1)
        return [round(float(value), 6) for value in counts]

    return SpecificityFigures.Histogram(
        edges=[round(float(edge), 6) for edge in edges],
        genuine=fractions(found.same),
        impostor=fractions(found.different),
    )

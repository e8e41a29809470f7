"""Person maps: the effect on new pictures of masks from several pictures of a person, and the overlap of such masks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Annotated

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from leam.explain.aggregates import distribution
from leam.explain.masks import critical_mask
from leam.explain.person import PERSON_MAPS, PersonMap, person_map
from leam.explain.targets import template
from leam.metrics.controls.edges import edge_map
from leam.metrics.effect import by_person, effect
from leam.metrics.overlap import bhattacharyya_matrix
from leam.metrics.specificity import Block, Pool
from leam.metrics.statistics import Estimate, Numbers, verdict
from leam.results.figures import Figures, Model
from leam.results.shards import Shard, axes
from leam.study.explained import EXPLAIN
from leam.study.masks import drops_by_fill
from leam.study.plan import Plan, Settings
from leam.study.run_data import RunData
from leam.study.scene import Scene
from leam.study.stage import STAGES, Stage
from leam.study.stages.effect import FILLS, EffectFigures

COUNTS = (1, 3, 6, 10)
"""Numbers of pictures of a person map."""
FEWEST_PICTURES = 3
"""Fewest pictures of a person."""
EDGES = "edges"
"""Name of the person maps of edges, the control that needs no network."""
OWN, OTHER, POPULATION = "own", "other", "population"

# Pictures of a person that masks are applied to.
_MOST_TESTS = 4
# People whose masks are compared with each other; bounds the memory.
_PEOPLE_PER_GROUP = 200


def kinds(settings: Settings) -> tuple[str, ...]:
    """The kinds of person maps: the study's estimates, and edges."""
    return (*settings.person_maps, EDGES)


def masks_compared(settings: Settings) -> tuple[str, ...]:
    """Names of the masks: ``KIND_own`` and ``KIND_other`` for each kind, ``population`` and ``edges_population``."""
    pairs = (f"{kind}_{whose}" for kind in kinds(settings) for whose in (OWN, OTHER))
    return (*pairs, POPULATION, f"{EDGES}_{POPULATION}")


def contrasts(settings: Settings) -> dict[str, dict[str, dict[str, float]]]:
    """Contrasts of the drops by kind of map and control: the weight of each mask."""
    edges = {f"{EDGES}_{OWN}": 1.0, f"{EDGES}_{OTHER}": -1.0}
    found = {EDGES: {OTHER: edges}}
    for kind in settings.person_maps:
        other = {f"{kind}_{OWN}": 1.0, f"{kind}_{OTHER}": -1.0}
        found[kind] = {
            OTHER: other,
            POPULATION: {f"{kind}_{OWN}": 1.0, POPULATION: -1.0},
            EDGES: other | {mask: -weight for mask, weight in edges.items()},
        }
    return found


@dataclass(frozen=True)
class PersonMapShard(Shard):
    """Effects and masks of the person maps of a slice."""

    position: Annotated[
        NDArray[np.int64], axes("probe", doc="Position in the plan of the picture that masks hide.")
    ]
    drop: Annotated[
        NDArray[np.float32],
        axes("probe", len(COUNTS), "fill", "mask", doc="Similarity drop; NaN without such a mask."),
    ]
    energy: Annotated[
        NDArray[np.float32],
        axes(
            "probe",
            len(COUNTS),
            "fill",
            "mask",
            doc="Mean squared change of the chip's values, 0-1; NaN without such a mask.",
        ),
    ]
    owner: Annotated[
        NDArray[np.int64], axes("map", doc="Position in the plan of a picture of the map's person.")
    ]
    count: Annotated[NDArray[np.int64], axes("map", doc="Number of pictures of the map.")]
    bits: Annotated[
        NDArray[np.uint8],
        axes(
            "map",
            "kind",
            "byte",
            doc="Critical mask of the map of each kind as packed bits, row by row. Two maps of a person with the same "
            "number of pictures have no picture in common.",
            reveals="map",
        ),
    ]


class PersonMapFigures(Figures):
    """Effect on new pictures and overlap of masks from several pictures of a person."""

    class FillFigures(Model):
        """Effect on pictures that the maps were not made of, under one fill."""

        drops: dict[str, Estimate]
        """Similarity drop by mask: ``KIND_own`` and ``KIND_other`` are the person's and another person's mask, KIND is
        an estimate of the person map or ``edges``. ``population`` is the mask of the mean map of all other people, and
        ``edges_population`` that of the mean edge map of other people of the slice."""
        contrasts: dict[str, dict[str, EffectFigures.Contrast]]
        """By kind of map, the drop under the person's mask minus that under a control: ``other`` (another person's
        mask) and ``population``; ``edges`` is the lead over another person's mask, minus the lead of edges."""
        verdicts: dict[str, str]
        """By estimate: whether the person's mask beats all three controls."""

    class Overlap(Model):
        """Bhattacharyya coefficients of the critical masks of maps without a common picture."""

        genuine: Estimate
        """Mean coefficient of two maps of a person."""
        impostor: Estimate
        """Mean coefficient of maps of two people."""
        auc: Estimate
        """Probability that two maps of a person overlap more than maps of two people; 0.5 by chance."""
        d_prime: Estimate
        """d-prime: distance between genuine and impostor pairs in standard deviations."""

    class CountFigures(Model):
        """Figures of maps of a certain number of pictures."""

        people: int
        """Number of people with enough pictures for the effect."""
        probes: int
        """Number of pictures that masks are applied to."""
        fills: dict[str, PersonMapFigures.FillFigures]
        """Effect by fill."""
        overlap: dict[str, PersonMapFigures.Overlap]
        """Overlap by kind of map; needs people with twice as many pictures."""

    counts: dict[str, CountFigures]
    """Figures by the number of pictures of a map: 1, 3, 6 and 10, as far as people have enough pictures."""


@dataclass(frozen=True)
class _Person:
    """Rows of a person's pictures in a slice, in random order.

    Attributes:
        name: The person.
        rows: All pictures; maps are made of the first ones.
        tests: The pictures that masks are applied to; no map is made of them.
    """

    name: str
    rows: NDArray[np.intp]
    tests: NDArray[np.intp]


MakeMap = Callable[[NDArray[np.intp]], PersonMap | None]
"""From rows of a person's pictures to a map; None if it cannot be made."""


@STAGES("person_maps")
class PersonMaps(Stage[PersonMapShard]):
    """Makes maps of several pictures of a person and applies their masks to other pictures of that person."""

    name = "person_maps"
    title = "person maps on new pictures"
    phase = "compare"
    needs = (EXPLAIN,)
    shard = PersonMapShard
    figures = PersonMapFigures
    columns = {
        "person": "Name of the person.",
        "image": "Name of the picture that masks hide; no map was made of it.",
        "pictures": "Number of pictures of the map.",
        "fill": "Fill that replaces hidden pixels.",
        "mask": "``KIND_own``, ``KIND_other``, ``population`` or ``edges_population``.",
        "drop": "Drop of the similarity to the template of the map's pictures.",
        "energy": "Mean squared change of the chip's values, 0-1.",
        "model": "The recognizer.",
    }

    def applies(self, plan: Plan) -> bool:
        """Whether the setting ``person_maps`` is on."""
        return bool(plan.settings.person_maps)

    def of_slice(self, scene: Scene) -> PersonMapShard:
        """Drops and masks of the people with enough pictures."""
        people, edges = _people(scene), _edge_maps(scene)
        makers = _makers(scene, edges)
        probes = np.array([row for one in people for row in one.tests], dtype=np.intp)
        shape = (len(probes), len(COUNTS), len(FILLS), len(masks_compared(scene.settings)))
        drop, energy = (np.full(shape, np.nan, dtype=np.float32) for _ in range(2))
        for place, count in enumerate(COUNTS):
            some = [one for one in people if len(one.rows) - len(one.tests) >= count]
            for one, other in zip(some, [*some[1:], *some[:1]], strict=True):
                chosen = np.flatnonzero(np.isin(probes, one.tests))
                pair = one, None if other is one else other
                found = _effects(scene, makers, edges, pair, count)
                drop[chosen, place], energy[chosen, place] = found
        owner, counts, bits = _halves(scene, makers, people)
        return PersonMapShard(scene.positions[probes], drop, energy, owner, counts, bits)

    def tabulate(self, run: RunData, recognizer: str) -> Iterator[pl.DataFrame]:
        """One row per probe, number of pictures, fill and mask."""
        counts, fills, masks = zip(
            *product(COUNTS, FILLS, masks_compared(run.settings)), strict=True
        )
        for found in run.shards(PersonMapShard, self.name, recognizer):
            probes = len(found.position)
            rows = pl.DataFrame(
                {
                    **run.who(np.repeat(found.position, len(counts))),
                    "pictures": list(counts) * probes,
                    "fill": list(fills) * probes,
                    "mask": list(masks) * probes,
                    "drop": found.drop.ravel(),
                    "energy": found.energy.ravel(),
                }
            )
            yield rows.filter(pl.col("drop").is_finite()).with_columns(
                pl.lit(recognizer).alias("model")
            )

    def summarise(self, run: RunData, recognizer: str) -> PersonMapFigures:
        """Figures for each number of pictures."""
        found = _together(list(run.shards(PersonMapShard, self.name, recognizer)))
        size = run.plan.model(recognizer).card.crop.size
        counts = {}
        for place, count in enumerate(COUNTS):
            some = np.isfinite(found.drop[:, place]).any(axis=(1, 2))
            if not some.any():
                continue
            owners = run.owners(found.position[some])
            counts[str(count)] = PersonMapFigures.CountFigures(
                people=int(owners.max()) + 1,
                probes=int(some.sum()),
                fills={
                    fill: _fill(
                        run, owners, found.drop[some, place, f], found.energy[some, place, f]
                    )
                    for f, fill in enumerate(FILLS)
                },
                overlap=_overlaps(run, found, count, size),
            )
        return PersonMapFigures(counts=counts)


def _people(scene: Scene) -> list[_Person]:
    """The people of a slice with enough different pictures that have a map."""
    usable = ~scene.explained.empty[:, 0]
    images = [scene.plan.images[position] for position in scene.positions]
    # A picture that occurs twice must not be both in a map and hidden by its mask.
    first: dict[tuple[str, str], int] = {}
    for row, image in enumerate(images):
        if usable[row]:
            first.setdefault((image.person, image.sha256 or image.image), row)
    rows = np.array(sorted(first.values()), dtype=np.intp)
    found = []
    for name in dict.fromkeys(scene.people[rows].tolist()):
        own = rows[scene.people[rows] == name]
        if len(own) < FEWEST_PICTURES:
            continue
        drawn = scene.generator(f"person maps/{name}").permutation(own)
        tests = drawn[min(len(own) - 1, COUNTS[-1]) :][:_MOST_TESTS]
        kept = [row for row in drawn if row not in tests]
        found.append(_Person(name, np.array([*kept, *tests], dtype=np.intp), tests))
    return found


def _makers(scene: Scene, edges: Tensor) -> dict[str, MakeMap]:
    """By kind, what makes the map of some pictures."""

    def maker(values: Tensor, estimate: str) -> MakeMap:
        population = scene.maps_elsewhere() if PERSON_MAPS[estimate].needs_population else None

        def make(rows: NDArray[np.intp]) -> PersonMap | None:
            if PERSON_MAPS[estimate].needs_population and population is None:
                return None
            pictures = [str(position) for position in scene.positions[rows]]
            return person_map(values[torch.from_numpy(rows)], pictures, estimate, population)

        return make

    maps = distribution(torch.from_numpy(scene.explained.density.astype(np.float32)))
    found = {estimate: maker(maps, estimate) for estimate in scene.settings.person_maps}
    return {**found, EDGES: maker(edges, "mean")}


def _effects(
    scene: Scene,
    makers: Mapping[str, MakeMap],
    edges: Tensor,
    pair: tuple[_Person, _Person | None],
    count: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Drops and energies of a person's tests, ``(tests, fills, masks)`` each.

    Args:
        scene: The slice.
        makers: What makes maps, by kind.
        edges: The edge maps of the slice's faces, ``(n, h, w)``.
        pair: The person, and another one; None if there is no other person with enough pictures.
        count: Number of pictures of a map.
    """
    (one, _), top, positions = pair, scene.settings.top, scene.positions
    tests = one.tests
    masks: dict[str, list[Tensor]] = {}
    for kind, make in makers.items():
        for whose, person in zip((OWN, OTHER), pair, strict=True):
            found = make(person.rows[:count]) if person else None
            masks[f"{kind}_{whose}"] = [
                _no_mask(scene) if found is None else found.mask_for(str(positions[row]), top)
                for row in tests
            ]
    population = scene.population(int(tests[0]))
    others = edges[torch.from_numpy(scene.people != one.name)]
    for name, values in (
        (POPULATION, None if population is None else torch.from_numpy(population)),
        (f"{EDGES}_{POPULATION}", others.mean(dim=0) if len(others) else None),
    ):
        mask = _no_mask(scene) if values is None else critical_mask(values, top)
        masks[name] = [mask] * len(tests)
    stacked = [torch.stack(masks[name]).numpy() for name in masks_compared(scene.settings)]
    embeddings = torch.from_numpy(scene.explained.embedding)
    clean = embeddings[torch.from_numpy(tests)]
    mate = template(embeddings[torch.from_numpy(one.rows[:count])], scene.kind).expand_as(clean)
    images = scene.chips.images[tests]
    return drops_by_fill(images, stacked, clean, mate, scene.recognizer, FILLS)


def _halves(
    scene: Scene, makers: Mapping[str, MakeMap], people: Sequence[_Person]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]:
    """The person, the number of pictures and the packed masks of two maps for each person and possible number."""
    owners: list[int] = []
    counts: list[int] = []
    bits: list[NDArray[np.uint8]] = []
    for one, count in product(people, COUNTS):
        if len(one.rows) < 2 * count:
            continue
        for rows in (one.rows[:count], one.rows[count : 2 * count]):
            maps = [make(rows) for make in makers.values()]
            masks = [_no_mask(scene) if m is None else m.mask(scene.settings.top) for m in maps]
            owners.append(int(scene.positions[one.rows[0]]))
            counts.append(count)
            bits.append(np.packbits(torch.stack(masks).flatten(1).numpy(), axis=1))
    pixels = scene.explained.density[0].size
    empty = np.zeros((0, len(makers), -(-pixels // 8)), dtype=np.uint8)
    return (
        np.array(owners, dtype=np.int64),
        np.array(counts, dtype=np.int64),
        np.stack(bits) if bits else empty,
    )


def _edge_maps(scene: Scene) -> Tensor:
    """The edge maps of a slice's faces, ``(n, h, w)``, each summing to 1."""
    return distribution(torch.from_numpy(np.stack([edge_map(c) for c in scene.chips.images])))


def _no_mask(scene: Scene) -> Tensor:
    return torch.zeros(scene.explained.density.shape[1:], dtype=torch.bool)


def _together(shards: Sequence[PersonMapShard]) -> PersonMapShard:
    """The shards of all slices as one."""
    arrays = [shard.arrays() for shard in shards]
    return PersonMapShard.of(
        {name: np.concatenate([a[name] for a in arrays]) for name in arrays[0]}
    )


def _fill(
    run: RunData,
    owners: NDArray[np.int64],
    drop: NDArray[np.float32],
    energy: NDArray[np.float32],
) -> PersonMapFigures.FillFigures:
    """The figures of drops and energies ``(n, masks)`` under one fill."""
    masks, seed = masks_compared(run.settings), run.settings.seed
    drops, energies = by_person(drop, owners), by_person(energy, owners)
    found = {
        kind: {
            control: EffectFigures.Contrast(**vars(effect(drops, energies, masks, weights, seed)))
            for control, weights in controls.items()
        }
        for kind, controls in contrasts(run.settings).items()
    }
    return PersonMapFigures.FillFigures(
        drops=dict(zip(masks, run.estimates(drop, owners), strict=True)),
        contrasts=found,
        verdicts={
            kind: str(verdict({control: one.drop for control, one in controls.items()}))
            for kind, controls in found.items()
            if kind != EDGES
        },
    )


def _overlaps(
    run: RunData, found: PersonMapShard, count: int, size: tuple[int, int]
) -> dict[str, PersonMapFigures.Overlap]:
    """The overlap of maps of ``count`` pictures by kind, over groups of people; empty without two people."""
    some = found.count == count
    if not some.any():
        return {}
    owners, bits = run.owners(found.owner[some]), found.bits[some]
    people = int(owners.max()) + 1
    if people < 2:  # noqa: PLR2004
        return {}
    overlaps = {}
    for place, kind in enumerate(kinds(run.settings)):
        pool = Pool(people, run.settings.seed)
        for start in range(0, people, _PEOPLE_PER_GROUP):
            group = (owners >= start) & (owners < start + _PEOPLE_PER_GROUP)
            masks = np.unpackbits(bits[group, place], axis=1, count=size[0] * size[1])
            coefficients = _coefficients(torch.from_numpy(masks.astype(bool)))
            pool.add(Block(coefficients, owners[group]))
        estimates = pool.found().estimates(run.settings.seed)
        overlaps[kind] = PersonMapFigures.Overlap(
            genuine=estimates["same"],
            impostor=estimates["different"],
            auc=estimates["auc"],
            d_prime=estimates["d_prime"],
        )
    return overlaps


def _coefficients(masks: Tensor) -> Numbers:
    """Bhattacharyya coefficients of masks ``(n, pixels)``; NaN for empty masks."""
    found: Numbers = bhattacharyya_matrix(masks, masks).double().numpy()
    empty = ~masks.any(dim=1).numpy()
    found[empty], found[:, empty] = np.nan, np.nan
    return found

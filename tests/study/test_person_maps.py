"""Person maps of a slice: which pictures maps are made of and applied to, and the figures from them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch

import shards
from leam.explain.masks import critical_mask
from leam.explain.person import Population, person_map
from leam.explain.targets import template
from leam.metrics.controls.edges import edge_map
from leam.metrics.occlusion import hide, pixel_energy
from leam.study.chips import ChipBatch, Chips, Subject
from leam.study.plan import PlannedImage
from leam.study.run_data import RunData
from leam.study.scene import Scene
from leam.study.stages.effect import FILLS
from leam.study.stages.person_maps import (
    COUNTS,
    PersonMapFigures,
    PersonMaps,
    PersonMapShard,
    contrasts,
    kinds,
    masks_compared,
)
from leam.study.store import RunFolder
from leam.study.worker import population_of
from planned import planned
from small import SIDE, recognizer

PEOPLE = "aaaabbbcceeeeffff"
# Person f has two pictures twice, so that only two different ones are left.
TWINS = {14: "same", 15: "same", 16: "same"}
TOP = 0.05
ESTIMATES = ("mean", "shrunk")


def plan_of(people: str = PEOPLE, **settings: object):
    plan = planned(people, 2, person_maps=ESTIMATES, top=TOP, **settings)
    images = [
        PlannedImage(image=i.image, person=i.person, path=i.path, sha256=TWINS.get(n, str(n)))
        for n, i in enumerate(plan.images)
    ]
    return plan.model_copy(update={"images": tuple(images)})


def population() -> Population:
    maps = np.random.default_rng(7).random((24, SIDE, SIDE))
    maps = torch.from_numpy(maps / maps.sum(axis=(1, 2), keepdims=True))
    return Population.of(maps, [str(n // 2) for n in range(24)], [f"x{n}" for n in range(24)])


@pytest.fixture(scope="module")
def scene() -> Scene:
    """A slice of five people, of whom three have enough pictures."""
    generator, model, plan = np.random.default_rng(0), recognizer(), plan_of()
    images = generator.integers(0, 256, (len(PEOPLE), SIDE, SIDE, 3), dtype=np.uint8)
    density = generator.random((len(PEOPLE), SIDE, SIDE)).astype(np.float16)
    explained = shards.explained(range(len(PEOPLE)), density)
    vars(explained)["embedding"] = model.embed(images).numpy()
    subjects = [Subject(n, i.person, i.image) for n, i in enumerate(plan.images)]
    scene, learnt = Scene.__new__(Scene), population()
    vars(scene).update(
        plan=plan,
        explainer=SimpleNamespace(recognizer=model),
        batch=ChipBatch(subjects, {model.crop: Chips(images, np.zeros(0))}, np.zeros(0)),
        explained=explained,
        density_sum=lambda: density.sum(axis=0, dtype=np.float64) + np.eye(SIDE),
        maps_elsewhere=lambda: learnt,
    )
    return scene


@pytest.fixture(scope="module")
def found(scene) -> PersonMapShard:
    return PersonMaps().of_slice(scene)


def rows_of(person: str) -> np.ndarray:
    return np.array([n for n, name in enumerate(PEOPLE) if name == person])


def top(values: np.ndarray) -> np.ndarray:
    return critical_mask(torch.from_numpy(np.asarray(values, dtype=np.float64)), TOP).numpy()


def drop_of(scene: Scene, row: int, mask: np.ndarray, mates: np.ndarray, fill: str) -> float:
    """The similarity drop, step by step."""
    model, clean = scene.recognizer, torch.from_numpy(scene.explained.embedding)
    hidden = model.embed(hide(scene.chips.images[[row]], mask[None], fill))[0]
    mate = template(clean[torch.from_numpy(mates)], "cosine")
    return float(model.similarity(clean[row], mate) - model.similarity(hidden, mate))


def test_people_with_three_different_pictures_are_tested_on_one(found):
    tested = [PEOPLE[position] for position in found.position]
    assert tested == ["a", "b", "e"]


def test_as_many_pictures_as_a_person_has_besides_the_test(found):
    known = np.isfinite(found.drop).any(axis=(2, 3))
    one, three, *more = COUNTS
    assert known[:, COUNTS.index(one)].tolist() == [True, True, True]
    # Person b has two pictures besides the test.
    assert known[:, COUNTS.index(three)].tolist() == [True, False, True]
    assert not known[:, [COUNTS.index(count) for count in more]].any()


def test_drops_under_masks_of_the_other_pictures(scene, found):
    density = scene.explained.density.astype(np.float32)
    maps = density / density.sum(axis=(1, 2), keepdims=True)
    edges = np.stack([edge_map(chip) for chip in scene.chips.images])
    edges = edges / edges.sum(axis=(1, 2), keepdims=True)
    names, place = masks_compared(scene.settings), COUNTS.index(3)
    test = int(found.position[0])
    own = np.setdiff1d(rows_of("a"), [test])
    other = np.setdiff1d(rows_of("e"), [int(found.position[2])])
    shrunk = [
        person_map(torch.from_numpy(maps[rows]), list("xyz"), "shrunk", population()).map.numpy()
        for rows in (own, other)
    ]
    elsewhere = np.array([name != "a" for name in PEOPLE])
    masks = {
        "mean_own": maps[own].mean(axis=0),
        "mean_other": maps[other].mean(axis=0),
        "shrunk_own": shrunk[0],
        "shrunk_other": shrunk[1],
        "edges_own": edges[own].mean(axis=0),
        "edges_other": edges[other].mean(axis=0),
        "population": np.eye(SIDE) + density[elsewhere].sum(axis=0, dtype=np.float64),
        "edges_population": edges[elsewhere].mean(axis=0),
    }
    assert set(masks) == set(names)
    for name, values in masks.items():
        for fill in ("mean", "black"):
            at = 0, place, FILLS.index(fill), names.index(name)
            drop = drop_of(scene, test, top(values), own, fill)
            assert found.drop[at] == pytest.approx(drop, abs=1e-5), name
            chip = scene.chips.images[[test]]
            energy = pixel_energy(chip, hide(chip, top(values)[None], fill))[0]
            assert found.energy[at] == pytest.approx(energy, rel=1e-4), name


def test_maps_that_are_compared_share_no_picture(scene, found):
    assert [PEOPLE[position] for position in found.owner] == ["a", "a", "b", "b", "e", "e"]
    assert set(found.count.tolist()) == {1}
    singles = top(scene.explained.density.astype(np.float64))
    masks = np.unpackbits(found.bits[:, 0], axis=1, count=SIDE * SIDE).reshape(-1, SIDE, SIDE)
    for first in range(0, len(masks), 2):
        sources = [
            [n for n, single in enumerate(singles) if (single == mask).all()]
            for mask in masks[first : first + 2]
        ]
        assert [len(source) for source in sources] == [1, 1]
        assert sources[0] != sources[1]
        assert {PEOPLE[n] for source in sources for n in source} == {PEOPLE[found.owner[first]]}


def test_without_a_population_only_its_estimate_is_missing(scene):
    alone = Scene.__new__(Scene)
    vars(alone).update({**vars(scene), "maps_elsewhere": lambda: None})
    found = PersonMaps().of_slice(alone)
    known = np.isfinite(found.drop[:, 0]).all(axis=(0, 1))
    names = masks_compared(scene.settings)
    assert [n for n, k in zip(names, known, strict=True) if not k] == ["shrunk_own", "shrunk_other"]


def test_no_person_with_enough_pictures():
    empty = PersonMapShard(
        np.zeros(0, np.int64),
        *(np.zeros((0, len(COUNTS), len(FILLS), 8), np.float32) for _ in range(2)),
        *(np.zeros(0, np.int64) for _ in range(2)),
        np.zeros((0, 3, 2), np.uint8),
    )
    assert empty.arrays()


def test_figures(tmp_path):
    plan = plan_of()
    folder = RunFolder(tmp_path / "run")
    run, names = RunData(plan, folder), masks_compared(plan.settings)
    generator = np.random.default_rng(3)
    drop = generator.normal(size=(3, len(COUNTS), len(FILLS), len(names))).astype(np.float32)
    drop[:, 2:] = np.nan
    energy = np.abs(drop)
    # The mask of one pixel, another one, and both.
    bits = np.array([[0b10000000, 0], [0b11000000, 0], [0, 1], [0, 1]], dtype=np.uint8)
    bits = np.repeat(bits[:, None], len(kinds(plan.settings)), axis=1)
    ones = np.ones(2, np.int64)
    first = PersonMapShard(np.array([0]), drop[:1], energy[:1], np.array([0, 0]), ones, bits[:2])
    second = PersonMapShard(
        np.array([4, 9]), drop[1:], energy[1:], np.array([4, 4]), ones, bits[2:]
    )
    folder.write_shard("person_maps/one", 0, first)
    folder.write_shard("person_maps/one", 1, second)
    folder.write_table("person_maps/one", PersonMaps().tabulate(run, "one"))
    table = folder.read_table("person_maps/one")
    row = (pl.col("image") == "b/4") & (pl.col("pictures") == 3) & (pl.col("fill") == "blur")
    at = 1, 1, FILLS.index("blur"), names.index("population")
    assert table.filter(row & (pl.col("mask") == "population")).rows() == [
        ("b", "b/4", 3, "blur", "population", drop[at], energy[at], "one")
    ]
    assert set(table["pictures"]) == {1, 3}
    figures = PersonMaps().summarise(run, "one")
    assert isinstance(figures, PersonMapFigures)
    assert list(figures.counts) == ["1", "3"]
    for place, one in enumerate(figures.counts.values()):
        assert (one.people, one.probes) == (3, 3)
        for f, fill in enumerate(FILLS):
            means = dict(zip(names, drop[:, place, f].astype(float).mean(axis=0), strict=True))
            for name in names:
                assert one.fills[fill].drops[name].mean == pytest.approx(means[name], rel=1e-5)
            for kind, controls in contrasts(plan.settings).items():
                for control, weights in controls.items():
                    value = sum(weight * means[mask] for mask, weight in weights.items())
                    contrast = one.fills[fill].contrasts[kind][control]
                    assert contrast.drop.mean == pytest.approx(value, rel=1e-5)
            assert set(one.fills[fill].verdicts.values()) == {"inconclusive (n = 3)"}
    overlap = figures.counts["1"].overlap["mean"]
    assert overlap.genuine.mean == pytest.approx((2**-0.5 + 1) / 2)
    assert overlap.impostor.mean == 0
    assert overlap.auc.mean == 1
    assert figures.counts["3"].overlap == {}


def test_contrasts_are_against_another_person_the_population_and_edges():
    found = contrasts(plan_of().settings)
    assert found["mean"] == {
        "other": {"mean_own": 1, "mean_other": -1},
        "population": {"mean_own": 1, "population": -1},
        "edges": {"mean_own": 1, "mean_other": -1, "edges_own": -1, "edges_other": 1},
    }
    assert found["edges"] == {"other": {"edges_own": 1, "edges_other": -1}}


def test_the_population_is_of_other_slices(tmp_path):
    people = "".join(letter * 2 for letter in "abcdefghijklmnopqrstuvwxyz"[:24])
    plan, folder = planned(people, 1), RunFolder(tmp_path / "run")
    for index, part in enumerate(plan.slices):
        density = np.random.default_rng(index).random((2, 4, 4))
        folder.write_shard("explain/one", index, shards.explained(list(part), density))
    run = RunData(plan, folder)
    even, odd = (population_of(run, "one", parity) for parity in (0, 1))
    assert even.people == odd.people == 12
    assert even.pictures == {str(n) for n in range(48) if n // 2 % 2 == 0}
    assert odd.pictures == {str(n) for n in range(48) if n // 2 % 2 == 1}
    few = planned("aabbcc", 1)
    assert population_of(RunData(few, folder), "one", 0) is None

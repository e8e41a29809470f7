"""Which other faces a face of a slice is compared with."""

from __future__ import annotations

import numpy as np
import pytest

import shards
from leam.study.chips import ChipBatch, Subject
from leam.study.scene import Scene, next_person, next_picture

PEOPLE = np.array(list("aabbbc"))


@pytest.mark.parametrize(
    ("row", "picture", "person"),
    [(0, 1, 2), (1, 0, 2), (2, 3, 5), (3, 4, 5), (4, 2, 5), (5, None, 0)],
)
def test_the_next_picture_and_the_next_person(row, picture, person):
    assert next_picture(PEOPLE, row) == picture
    assert next_person(PEOPLE, row) == person


def scene_of(people: np.ndarray, maps: np.ndarray, total: np.ndarray) -> Scene:
    """A slice of a study whose maps have this sum."""
    scene = Scene.__new__(Scene)
    vars(scene).update(
        batch=ChipBatch([Subject(row, name, "") for row, name in enumerate(people)], {}, total),
        explained=shards.explained(range(len(maps)), maps),
        density_sum=lambda: total,
    )
    return scene


def test_the_population_leaves_the_person_out():
    maps = np.random.default_rng(0).random((6, 4, 4)).astype(np.float16)
    elsewhere = np.full((4, 4), 0.5)
    scene = scene_of(PEOPLE, maps, maps.sum(axis=0, dtype=np.float64) + elsewhere)
    for row in range(6):
        others = maps[PEOPLE[row] != PEOPLE].astype(float).sum(axis=0) + elsewhere
        np.testing.assert_array_equal(scene.population(row), others)


def test_a_single_person_has_no_population():
    maps = np.random.default_rng(0).random((2, 4, 4)).astype(np.float16)
    scene = scene_of(np.array(["a", "a"]), maps, maps.sum(axis=0, dtype=np.float64))
    assert scene.population(0) is None

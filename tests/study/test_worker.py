"""What a worker looks up in the whole study is looked up once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import shards
from leam.study.explained import PersonTemplates
from leam.study.schedule import Job
from leam.study.store import RunFolder
from leam.study.worker import Worker, choose_subset
from planned import SIDE, planned


@pytest.fixture
def plan():
    return planned("aabbccdd", 1, target="contrast")


@pytest.fixture
def reads(monkeypatch) -> list[tuple[str, int]]:
    """The shards that were read."""
    found: list[tuple[str, int]] = []
    read = RunFolder.read_shard

    def noted(self, kind, stage, index, only=None):
        found.append((stage, index))
        return read(self, kind, stage, index, only)

    monkeypatch.setattr(RunFolder, "read_shard", noted)
    return found


def test_templates_of_others_are_read_once(plan, tmp_path, reads):
    folder = RunFolder(tmp_path)
    for index in range(4):
        template = np.full((1, 2), index, dtype=np.float32)
        folder.write_shard(
            "templates/one", index, PersonTemplates(template) if index != 2 else None
        )
    worker = Worker(plan, folder, [])
    for index, others in enumerate([[1, 3], [0, 3], [0, 1, 3], [0, 1]]):
        found = worker._templates_elsewhere(Job("explain", "one", index))
        torch.testing.assert_close(found, torch.tensor([[o, o] for o in others]).float())
    assert reads == [("templates/one", index) for index in range(4)]


def test_nobody_else(tmp_path):
    worker = Worker(planned("aabb", 2), RunFolder(tmp_path), [])
    assert worker._templates_elsewhere(Job("explain", "one", 0)) is None


def test_the_sum_of_all_maps_is_read_once(plan, tmp_path, reads):
    folder = RunFolder(tmp_path)
    maps = np.random.default_rng(0).random((8, SIDE, SIDE)).astype(np.float16)
    for index in range(4):
        rows = [2 * index, 2 * index + 1]
        found = shards.explained(rows, maps[rows]) if index != 2 else None
        folder.write_shard("explain/one", index, found)
    worker = Worker(plan, folder, [])
    for _ in range(2):
        total = worker._density_sum("one")
        np.testing.assert_array_equal(total, maps[[0, 1, 2, 3, 6, 7]].astype(float).sum(axis=0))
    assert reads == [("explain/one", index) for index in range(4)]


def test_the_subset_has_the_first_usable_pictures_of_people_of_whole_slices():
    plan = planned("aabbccddeeff", 2, subset=3)
    usable = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]  # not the first of the first person
    found = choose_subset(plan, usable)
    people = sorted(plan.images[position].person for position in found)
    assert len(people) == len(set(people)) == 3
    assert all(
        position == min(p for p in usable if plan.images[p].person == plan.images[position].person)
        for position in found
    )
    slices = {index for index, part in enumerate(plan.slices) if found & set(part)}
    assert len(slices) == 2, "people of as few slices as possible"
    others = {choose_subset(planned("aabbccddeeff", 2, subset=3, seed=s), usable) for s in range(9)}
    assert len(others) > 1
    assert len(choose_subset(planned("aabbccddeeff", 2, subset=9), usable)) == 6

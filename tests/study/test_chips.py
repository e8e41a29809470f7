"""Which slices are loaded, and when."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import shards
from leam.errors import StudyError
from leam.faces.face import Face
from leam.study.chips import ChipLoader
from leam.study.preparation import Detections
from leam.study.store import RunFolder
from planned import SIDE, planned


@pytest.fixture
def plan():
    return planned("aabbccdd", 1)


@pytest.fixture
def folder(plan, tmp_path) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    for index, part in enumerate(plan.slices):
        folder.write_shard("detect", index, shards.detections(len(part), points=index))
    return folder


@pytest.fixture
def read(monkeypatch) -> list[str]:
    """The pictures that were read, in order."""
    found: list[str] = []

    def face(self, image, row) -> Face:
        found.append(image.image)
        picture = np.zeros((8, 8, 3), dtype=np.uint8)
        points = self.five_points[row]
        return Face(picture, (0, 0, 3, 3), 1.0, self.landmarks[row], points, points)

    monkeypatch.setattr(Detections, "face", face)
    return found


def test_a_batch_holds_the_usable_faces(plan, folder, read):
    loader = ChipLoader(plan, folder, [0, 2, 3])
    assert [subject.image for subject in loader.batch(0).subjects] == ["a/0"]
    batch = loader.batch(1)
    found = [(subject.position, subject.person) for subject in batch.subjects]
    assert found == [(2, "b"), (3, "b")]
    (chips,) = batch.chips.values()
    assert chips.images.shape == (2, SIDE, SIDE, 3)
    assert chips.matrices.shape == (2, 2, 3)
    np.testing.assert_array_equal(batch.landmarks[:, 0], np.full((2, 2), 1))
    assert loader.batch(2).chips == {}
    loader.close()


def test_dispatched_slices_are_read_once_and_no_others(plan, folder, read):
    loader = ChipLoader(plan, folder, range(8))
    for index in (2, 2, 0, 0, 2):
        loader.batch(index)
    loader.close()
    assert read == ["c/4", "c/5", "a/0", "a/1", "c/4", "c/5"]


def test_the_next_slice_is_loaded_ahead(plan, folder, read):
    loader = ChipLoader(plan, folder, range(8), ahead=True)
    for index in range(4):
        loader.batch(index)
        while index < 3 and len(read) < 2 * (index + 2):
            threading.Event().wait(0.001)
        assert len(read) == min(2 * (index + 2), 8)
    loader.close()
    assert read == [image.image for image in plan.images]


def test_a_slice_without_detections(plan, folder, read):
    folder.shard("detect", 1).unlink()
    loader = ChipLoader(plan, folder, range(8), ahead=True)
    assert len(loader.batch(0).subjects) == 2
    with pytest.raises(StudyError, match="disappeared"):
        loader.batch(1)
    loader.close()

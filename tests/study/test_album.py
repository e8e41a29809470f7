"""Which slices are read, and when."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from leam.errors import StudyError
from leam.faces.face import Face
from leam.study import RunFolder, album
from leam.study.album import Album
from planned import SIDE, planned


@pytest.fixture
def plan():
    return planned("aabbccdd", 1)


@pytest.fixture
def folder(plan, tmp_path) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    for index, part in enumerate(plan.slices):
        folder.write_shard("faces", index, {"landmarks": np.full((len(part), 68, 2), index)})
    return folder


@pytest.fixture
def read(monkeypatch) -> list[str]:
    """The pictures that were read, in order."""
    found: list[str] = []
    points = np.array([[1.0, 1.0], [2.0, 1.0], [1.5, 1.5], [1.0, 2.0], [2.0, 2.0]])

    def restore(image, _arrays, _row) -> Face:
        found.append(image.image)
        picture = np.zeros((8, 8, 3), dtype=np.uint8)
        return Face(picture, (0, 0, 3, 3), 1.0, np.zeros((68, 2)), points, points)

    monkeypatch.setattr(album, "restore_face", restore)
    return found


def test_a_page_holds_the_usable_faces(plan, folder, read):
    pages = Album(plan, folder, [0, 2, 3])
    assert [subject.image for subject in pages.page(0).subjects] == ["a/0"]
    page = pages.page(1)
    assert [(subject.position, subject.person) for subject in page.subjects] == [(2, "b"), (3, "b")]
    (chips,) = page.chips.values()
    assert chips.images.shape == (2, SIDE, SIDE, 3)
    assert chips.matrices.shape == (2, 2, 3)
    np.testing.assert_array_equal(page.landmarks, np.full((2, 68, 2), 1))
    assert pages.page(2).chips == {}
    pages.close()


def test_slices_that_are_handed_out_are_read_once_and_no_others(plan, folder, read):
    pages = Album(plan, folder, range(8))
    for index in (2, 2, 0, 0, 2):
        pages.page(index)
    pages.close()
    assert read == ["c/4", "c/5", "a/0", "a/1", "c/4", "c/5"]


def test_who_does_all_slices_reads_the_next_one_ahead(plan, folder, read):
    pages = Album(plan, folder, range(8), ahead=True)
    for index in range(4):
        pages.page(index)
        while index < 3 and len(read) < 2 * (index + 2):
            threading.Event().wait(0.001)
        assert len(read) == min(2 * (index + 2), 8)
    pages.close()
    assert read == [image.image for image in plan.images]


def test_a_slice_that_was_not_searched(plan, folder, read):
    folder.shard("faces", 1).unlink()
    pages = Album(plan, folder, range(8), ahead=True)
    assert len(pages.page(0).subjects) == 2
    with pytest.raises(StudyError, match="disappeared while the study ran"):
        pages.page(1)
    pages.close()

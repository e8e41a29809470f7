"""A single video."""

import pytest

from encoded import write_video
from leam.errors import InputError
from leam.faces.people import read_dataset


def test_its_frames_are_of_one_person(tmp_path):
    found = read_dataset(write_video(tmp_path / "ann.mp4", frames=32))
    assert list(found.people) == ["ann"]
    assert [one.image for one in found.samples][:2] == [
        "ann.mp4#frame000002",
        "ann.mp4#frame000006",
    ]
    assert found.notes == ("layout: 8 frames of a video of one person",)


def test_its_content_decides(tmp_path):
    path = write_video(tmp_path / "ann.mp4").rename(tmp_path / "ann.data")
    assert len(read_dataset(path).samples) == 8
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(InputError, match=r"ann\.data: (a|damaged) video"):
        read_dataset(path)

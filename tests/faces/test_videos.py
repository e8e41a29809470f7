"""Frames of videos."""

import numpy as np
import pytest

from encoded import encoded, write_video
from leam.errors import ImageError
from leam.faces.videos import FRAMES, is_video, read_frame, sampled_frames


def test_frames_are_the_middles_of_equal_parts(tmp_path):
    path = write_video(tmp_path / "a.mp4", frames=32)
    assert sampled_frames(path) == [2, 6, 10, 14, 18, 22, 26, 30]
    assert len(sampled_frames(path)) == FRAMES
    assert sampled_frames(path, 2) == [8, 24]
    assert sampled_frames(write_video(tmp_path / "b.mp4", frames=3)) == [0, 1, 2]


@pytest.mark.parametrize(("suffix", "code"), [("mp4", "mp4v"), ("avi", "MJPG"), ("mkv", "mp4v")])
def test_each_frame_is_the_one_of_its_number(tmp_path, suffix, code):
    path = write_video(tmp_path / f"a.{suffix}", code=code)
    for number in (0, 7, 29):
        frame = read_frame(path, number)
        assert frame.shape == (48, 64, 3)
        assert frame.dtype == np.uint8
        assert abs(frame.mean() - 8 * number) < 6


def test_what_is_no_video(tmp_path):
    path = tmp_path / "a.mp4"
    for data in (b"", b"#EXTM3U\nhttp://127.0.0.1/a.ts\n", encoded(1)):
        path.write_bytes(data)
        with pytest.raises(ImageError, match="not a video that can be read"):
            sampled_frames(path)
    path.write_bytes(write_video(tmp_path / "b.mp4").read_bytes()[:60])
    with pytest.raises(ImageError, match=r"damaged video|without a number of frames"):
        sampled_frames(path)
    with pytest.raises(ImageError, match="frame 99 cannot be read"):
        read_frame(tmp_path / "b.mp4", 99)
    assert not is_video(b"\0\0\0\x18ftypavif")

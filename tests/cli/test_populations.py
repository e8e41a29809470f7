"""``leam explain`` with a population from an archive, a file of records, or videos."""

from __future__ import annotations

import io
import json
import pickle
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from leam.demo import portraits

PEOPLE, FRAMES = 10, 8

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pictures() -> list[list[Image.Image]]:
    """Two pictures of each person; here, all are the same portrait, cut and turned differently."""
    with Image.open(next(iter(portraits().values()))) as opened:
        portrait = opened.convert("RGB")
    portrait.thumbnail((240, 240))
    return [
        [portrait.rotate(n - 5 + 0.5 * m).point(lambda v, n=n: v * (10 + n) // 20) for m in (0, 1)]
        for n in range(PEOPLE)
    ]


@pytest.fixture
def person(tmp_path, pictures) -> Path:
    folder = tmp_path / "ada"
    folder.mkdir()
    for number in range(2):
        pictures[3][0].rotate(3 * number + 1).save(folder / f"{number}.png")
    return folder


def _encoded(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "png")
    return stream.getvalue()


def as_bin(folder: Path, pictures: list[list[Image.Image]]) -> Path:
    flat = [_encoded(one) for two in pictures for one in two]
    path = folder / "others.bin"
    path.write_bytes(pickle.dumps((flat, [True] * len(pictures)), protocol=2))
    return path


def as_records(folder: Path, pictures: list[list[Image.Image]]) -> Path:
    lines, data = [], b""
    for number, two in enumerate(pictures):
        for one in two:
            content = struct.pack("<IfQQ", 0, number, 0, 0) + _encoded(one)
            lines.append(f"{len(lines)}\t{len(data)}\n")
            data += (
                struct.pack("<II", 0xCED7230A, len(content)) + content + bytes(-len(content) % 4)
            )
    path = folder / "others.rec"
    path.write_bytes(data)
    path.with_suffix(".idx").write_text("".join(lines))
    return path


def as_videos(folder: Path, pictures: list[list[Image.Image]]) -> Path:
    (folder / "others").mkdir()
    for number, two in enumerate(pictures):
        size = two[0].size
        writer = cv2.VideoWriter(
            str(folder / "others" / f"{number}.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, size
        )
        for frame in range(FRAMES):
            writer.write(np.asarray(two[frame % 2])[:, :, ::-1])
        writer.release()
    return folder / "others"


@pytest.mark.parametrize("source", [as_bin, as_records, as_videos])
def test_the_map_of_a_person_is_shrunk_to_that_of_a_population(
    leam, tmp_path, person, pictures, source
):
    others, out = source(tmp_path, pictures), tmp_path / "out"
    result = leam(
        "explain", person, "--person", "--person-map", "shrunk", "--population", others,
        "--out", out,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    record = json.loads((out / "person.json").read_text())
    assert record["population"]["people"] == PEOPLE
    assert record["estimate"] == "shrunk"


@pytest.mark.parametrize("source", [as_bin, as_records, as_videos])
def test_a_person_is_explained_in_contrast_to_a_population(
    leam, tmp_path, person, pictures, source
):
    others, out = source(tmp_path, pictures), tmp_path / "out"
    result = leam(
        "explain", person, "--target", "contrast", "--population", others, "--out", out
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert {path.name for path in out.iterdir()} >= {"0", "1"}

"""Which faces the commands take: aligned ones, those of groups, and those of turned pictures."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from leam.cli.inputs import check_faces, detector_name
from leam.demo import portraits
from leam.errors import InputError
from leam.faces.alignment import Crop
from leam.faces.detection import find_face
from leam.faces.reading import read_picture

DLIB = Crop((150, 150), "dlib")


@pytest.fixture(scope="module")
def chips(tmp_path_factory, detector) -> Path:
    """A folder with two 150x150 chips, and one whose face cannot be found."""
    folder = tmp_path_factory.mktemp("chips")
    for number, path in enumerate(portraits().values()):
        chip = DLIB.align(find_face(path, detector)).image
        Image.fromarray(chip).save(folder / f"{number}.png")
    noise = np.random.default_rng(0).integers(0, 256, (150, 150, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "2.png")
    return folder


@pytest.mark.parametrize("option", [["--aligned"], ["--aligned", "dlib"]])
def test_aligned_faces_are_explained_as_they_are(leam, tmp_path, chips, option):
    result = leam("explain", *option, chips, "--out", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert "may be aligned" not in result.stderr
    for name in "012":  # none is lost
        record = json.loads((tmp_path / "out" / name / "explanation.json").read_text())
        np.testing.assert_allclose(record["face"]["matrix"], [[1, 0, 0], [0, 1, 0]], atol=1e-9)
        with np.load(tmp_path / "out" / name / "maps.npz") as maps:
            np.testing.assert_array_equal(maps["face"], read_picture(chips / f"{name}.png"))


def test_aligned_faces_of_another_template_are_refused(leam, complaint, tmp_path, chips):
    result = leam("explain", chips / "0.png", "--aligned", "arcface", "--out", tmp_path / "out")
    assert "dlib_resnet: its faces are aligned by dlib-150x150, not by arcface" in complaint(result)


def test_the_option_is_suggested_once(leam, tmp_path, chips):
    result = leam("parse", chips / "0.png", chips / "1.png", "--out", tmp_path / "out")
    assert result.stderr.count("150x150 pixels may be aligned faces; add --aligned") == 1


@pytest.mark.slow
def test_a_video_is_parsed_frame_by_frame(leam, tmp_path):
    frame = cv2.cvtColor(
        read_picture(portraits()["Eileen Collins"])[:300, 60:360], cv2.COLOR_RGB2BGR
    )
    code = cv2.VideoWriter_fourcc(*"mp4v")
    writer = cv2.VideoWriter(str(tmp_path / "a.mp4"), code, 10, (300, 300))
    for _ in range(8):
        writer.write(frame)
    writer.release()
    result = leam("parse", tmp_path / "a.mp4", "--out", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert len(list((tmp_path / "out").glob("a-frame*/labels.png"))) == 8


def test_where_no_face_is_found_other_ways_are_named(leam, complaint, tmp_path):
    (tmp_path / "in" / "ann").mkdir(parents=True)
    Image.new("RGB", (90, 90)).save(tmp_path / "in" / "ann" / "a.png")
    picture = tmp_path / "in" / "ann" / "a.png"
    said = complaint(leam("parse", picture, "--out", tmp_path / "out"))
    assert "no face found by dlib; try --detector auto, and --rotate auto of `leam" in said
    said = complaint(leam("parse", tmp_path / "in", "--out", tmp_path / "out"))
    assert "contains no pictures; files not used: 1: ann (folder); name one of its folders" in said


def test_all_faces_of_a_group_and_a_turned_picture(leam, tmp_path):
    picture = read_picture(portraits()["Eileen Collins"])[:300, 60:360]
    Image.fromarray(np.hstack([picture, picture])).save(tmp_path / "group.png")
    Image.fromarray(np.rot90(picture, 2)).save(tmp_path / "turned.png")
    out = tmp_path / "out"
    result = leam("explain", tmp_path / "group.png", "--face", "all", "--out", out)
    assert result.returncode == 0, result.stderr
    boxes = [
        json.loads((out / name / "explanation.json").read_text())["face"]["box"]
        for name in ("group", "group-2")
    ]
    assert boxes[0][2] < 310 < boxes[1][2]
    turned = tmp_path / "turned.png"
    result = leam("explain", turned, "--rotate", "auto", "--out", tmp_path / "upright")
    assert "turned by 180 degrees" in result.stderr
    record = json.loads((tmp_path / "upright" / "explanation.json").read_text())
    assert (record["face"]["turned"], record["image"]) == (180, str(turned))


def test_values_that_do_not_exist():
    assert detector_name(None, "input") == "aligned"
    assert detector_name("scrfd", None) == "scrfd"
    for detector, aligned, reason in (
        ("scrfd", "input", "--detector scrfd: not used with --aligned"),
        (None, "box", "--aligned box: no such template; available: arcface, dlib"),
    ):
        with pytest.raises(InputError, match=reason):
            detector_name(detector, aligned)
    for which, rotate, reason in (
        ("0", "none", "--face 0: no such choice"),
        ("smallest", "none", "--face smallest"),
        ("all", "90", "--rotate 90: no such choice; available: auto, none"),
    ):
        with pytest.raises(InputError, match=reason):
            check_faces(which, rotate)

"""Which pictures are used, by shards that were written by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import shards
from leam.errors import StudyError
from leam.faces.detection import RotatingDetector
from leam.faces.reading import hash_picture, read_picture
from leam.study.plan import PlannedImage
from leam.study.preparation import detect_faces, usable_images
from leam.study.store import RunFolder
from planned import planned
from small import study, write_faces

CROP = "arcface-4x4"


@pytest.fixture
def plan():
    return planned("aabbbccd", 1)


@pytest.fixture
def folder(plan, tmp_path) -> RunFolder:
    folder = RunFolder(tmp_path)
    for index, part in enumerate(plan.slices):
        reasons = ["no face" if position == 2 else "" for position in part]
        folder.write_shard("detect", index, shards.detections(len(part), reasons))
        reasons = ["no region" if position in {0, 2} else "" for position in part]
        folder.write_shard(f"parse/landmarks/{CROP}", index, shards.parsings(len(part), reasons))
    return folder


def test_before_parsing(plan, folder):
    positions, exclusions = usable_images(plan, folder, parsed=False)
    assert positions == [0, 1, 3, 4, 5, 6]
    assert [(one.image, one.reason) for one in exclusions] == [
        ("b/2", "no face"), ("d/7", "the only usable picture of d"),
    ]  # fmt: skip


def test_after_parsing_and_nobody_is_left_alone(plan, folder):
    positions, exclusions = usable_images(plan, folder)
    assert positions == [3, 4, 5, 6]
    assert {one.image: one.reason for one in exclusions} == {
        "a/0": "no region",
        "a/1": "the only usable picture of a",
        "b/2": "no face",
        "d/7": "the only usable picture of d",
    }


@pytest.mark.parametrize("stage", ["detect", f"parse/landmarks/{CROP}"])
def test_a_study_that_is_not_finished(plan, folder, stage):
    folder.shard(stage, 3).unlink()
    with pytest.raises(StudyError, match="not finished; run it again"):
        usable_images(plan, folder)


def test_a_turned_picture_is_read_upright_again(tmp_path, portrait, detector):
    upright = read_picture(portrait)
    pictures = {"upright.png": upright, "turned.png": np.rot90(upright, -1)}
    for name, picture in pictures.items():
        Image.fromarray(picture).save(tmp_path / name)
    images = [
        PlannedImage(name, "ann", str(tmp_path / name), hash_picture(tmp_path / name))
        for name in pictures
    ]
    found = detect_faces(images, RotatingDetector(detector))
    assert found.reason.tolist() == ["", ""]
    assert found.turned.tolist() == [0, 90]
    assert found.note.tolist() == ["", "turned by 90 degrees"]
    np.testing.assert_allclose(found.landmarks[1], found.landmarks[0])
    face = found.face(images[1], 1)
    assert (face.picture == upright).all()
    assert (face.turned, face.source.path) == (90, Path(images[1].path))


@pytest.mark.slow
def test_a_study_turns_pictures_and_gives_the_figures_of_upright_ones(tmp_path):
    write_faces(tmp_path / "faces")
    upright = study(tmp_path / "faces", tmp_path / "upright")
    for path in (tmp_path / "faces").glob("*/1.png"):
        with Image.open(path) as opened:
            turned = opened.transpose(Image.Transpose.ROTATE_180)
        turned.save(path)
    found = study(tmp_path / "faces", tmp_path / "turned", rotate="auto")
    assert found["recognizers"] == upright["recognizers"]
    assert (upright["notes"], found["notes"]) == ([], ["turned by 180 degrees (pictures: 2)"])
    table = RunFolder(tmp_path / "turned").read_table("faces")
    assert table.select("image", "note").sort("image")["note"].to_list() == [
        "", "turned by 180 degrees", "", "turned by 180 degrees",
    ]  # fmt: skip
    with pytest.raises(StudyError, match=r"no person with two usable pictures; 2 of 4: "):
        study(tmp_path / "faces", tmp_path / "lost")

"""Studies of pictures inside archives, and of folders with other files."""

from __future__ import annotations

import json
import pickle

import cv2
import numpy as np
import pytest

import small
from leam.errors import InputError
from leam.faces.people import add_groups, group_notes, read_dataset
from leam.files import sha256_of
from leam.study.plan import Settings
from leam.study.run import plan_study, run_study
from leam.study.store import CHANGED, RunFolder


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faces")
    small.write_faces(folder)
    return folder


def run(source, out, **options):
    dataset = read_dataset(source)
    one = small.recognizer()
    plan = plan_study(
        str(source),
        dataset.samples,
        [one],
        exclusions=dataset.exclusions,
        notes=dataset.notes,
        **options,
    )
    run_study(plan, [one], RunFolder(out))
    return plan, json.loads((out / "summary.json").read_text())


def test_an_archive_gives_the_figures_of_its_pictures(faces, tmp_path):
    paths = sorted(faces.rglob("*.png"))
    source = tmp_path / "set.bin"
    source.write_bytes(pickle.dumps(([path.read_bytes() for path in paths], [True] * 2), 4))
    told = []
    plan, found = run(source, tmp_path / "run", progress=lambda *one: told.append(one))
    assert [image.sha256 for image in plan.images] == [sha256_of(path) for path in paths]
    assert plan.images[1].member.startswith("bytes=")
    assert told == [("reading pictures", 4, 4)]
    assert (found["people"], found["images"]) == (2, 4)
    assert found["notes"][0].startswith("layout: 2 pairs without names of people")
    _, expected = run(faces, tmp_path / "expected")
    masks = [
        one["recognizers"]["tiny"]["figures"]["specificity"]["operands"]["critical"]
        for one in (found, expected)
    ]
    assert masks[0] == masks[1]


def test_a_picture_in_an_archive_that_changes_is_noticed(faces, tmp_path):
    first, *others = [path.read_bytes() for path in sorted(faces.rglob("*.png"))]
    source, dataset = tmp_path / "set.bin", ([first, *others], [True] * 2)
    source.write_bytes(pickle.dumps(dataset, 4))
    found, one = read_dataset(source), small.recognizer()
    plan = plan_study("set.bin", found.samples, [one])
    data = bytearray(source.read_bytes())
    # The last bytes of a PNG are the checksum of its last chunk, which decoders do not need.
    data[data.index(first) + len(first) - 1] ^= 1
    source.write_bytes(data)
    run_study(plan, [one], RunFolder(tmp_path / "run"))
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert [(one["image"], one["reason"]) for one in summary["exclusions"]] == [
        (plan.images[0].image, CHANGED),
        (plan.images[1].image, f"the only usable picture of {plan.images[1].person}"),
    ]


def test_other_files_are_exclusions_and_do_not_stop_a_study_from_being_resumed(faces, tmp_path):
    (faces / "Grace Hopper" / "notes.txt").write_text("text")
    _, before = run(faces, tmp_path / "run")
    assert before["exclusions"] == [{"image": "Grace Hopper/notes.txt", "reason": "not a picture"}]
    shards = {
        path: path.stat().st_mtime_ns
        for path in (tmp_path / "run" / "shards").glob("explain/**/*.npz")
    }
    (faces / ".DS_Store").write_text("text")
    _, after = run(faces, tmp_path / "run")
    assert {one["image"] for one in after["exclusions"]} == {".DS_Store", "Grace Hopper/notes.txt"}
    assert shards
    assert shards == {path: path.stat().st_mtime_ns for path in shards}
    assert "picture .DS_Store: hidden" in small.log_of(tmp_path / "run")


def test_scaled_pictures_are_noted(faces, tmp_path):
    folder = tmp_path / "faces"
    small.write_faces(folder)
    path = folder / "Grace Hopper" / "0.png"
    cv2.imwrite(str(path), cv2.imread(str(path)).astype(np.uint16) * 16)
    _, found = run(folder, tmp_path / "run")
    note = "12-bit values in 16 bits are scaled to 8 bits"
    assert found["notes"] == [f"{note} (pictures: 1)"]
    notes = RunFolder(tmp_path / "run").read_table("faces").select("image", "note").rows()
    assert [image for image, text in notes if text == note] == ["Grace Hopper/0.png"]


def test_a_group_without_values_is_named(faces, tmp_path):
    (tmp_path / "g.csv").write_text("person,gender\nGrace Hopper,f\n")
    samples = add_groups(read_dataset(faces).samples, tmp_path / "g.csv")
    assert group_notes(samples) == ["1 of 2 people have a value for gender"]
    with pytest.raises(InputError, match="group age: no such column; available: gender"):
        plan_study("faces", samples, [small.recognizer()], Settings(groups=("age",)))

"""What remains of people in a redacted study, in one of which little was kept, and in a report without faces."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from html import unescape
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import polars as pl
import pytest

from encoded import write_tree
from leam.cli.study import _KEEP
from leam.errors import InputError, StudyError
from leam.faces.detection import find_face
from leam.faces.people import read_dataset
from leam.files import sha256_of
from leam.report.page import render_report
from leam.results.shards import specs
from leam.results.summary import Exclusion
from leam.study.explained import Explained
from leam.study.means import MOST_OF_ONE, MeanMaps, is_portrait
from leam.study.redaction import (
    KEPT,
    REMOVED,
    Names,
    _redacted_table,
    _without_names,
    keep_only,
    redact,
    redact_in_place,
    redacted_plan,
    redacted_summary,
)
from leam.study.run import run_study
from leam.study.stages.error_rates import ErrorRateFigures
from leam.study.stages.groups import GroupFigures
from leam.study.store import Keep, RunFolder
from leam.study.summary import read_summary
from planned import planned

# Of the people, the pictures and the file that is none. "view 1" is found by its words.
NAMES = (
    "Grace Hopper",
    "Eileen Collins",
    "Hopper",
    "Collins",
    "Solo",
    "view 1",
    "broken",
    "only.png",
)


@pytest.fixture
def run(finished, tmp_path) -> RunFolder:
    """A finished study that may be changed."""
    shutil.copytree(finished.path, tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    render_report(folder)
    return folder


def texts_of(path: Path) -> str:
    """All texts in a file, also those that it compresses: of Parquet and NumPy files, and JPEG and PNG metadata."""
    data = path.read_bytes()
    parts = [data.decode("latin-1"), data.decode("utf-8", errors="ignore")]
    if path.suffix == ".parquet":
        table = pl.read_parquet(path)
        parts += [
            str(table.columns),
            *(str(table[name].unique().to_list()) for name in table.columns),
        ]
    elif path.suffix == ".npz":
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            parts += [f"{name} {arrays[name]}" for name in arrays.files]
    elif path.suffix == ".html":
        parts += [unescape(parts[1])]
        parts += [base64.b64decode(one).decode("latin-1") for one in encoded_pictures(parts[1])]
    return "\n".join(parts)


def encoded_pictures(page: str) -> list[str]:
    return re.findall(r"data:image/\w+;base64,\s*([\w+/=\s]+)", page)


def names_in(folder: Path, views: Path) -> list[str]:
    """The names of people and pictures, and absolute paths, that files of a folder contain."""
    return [
        f"{path.name}: {name}"
        for path in folder.rglob("*")
        if path.is_file()
        for name in (*NAMES, str(views), "/tmp/", "/home/")
        if name in (path.name + texts_of(path))
    ]


def known_faces(page: str, folder: Path, detector, recognizer, people: np.ndarray) -> int:
    """How many pictures of a page, and halves of pictures, show a face that is similar to one of the people."""
    found = 0
    for place, encoded in enumerate(encoded_pictures(page)):
        data = np.frombuffer(base64.b64decode(encoded), np.uint8)
        picture = cv2.imdecode(data, cv2.IMREAD_COLOR)
        side = picture.shape[0]
        for x in range(0, max(1, picture.shape[1] - side // 2), side):
            path = folder / f"{place}-{x}.png"
            cv2.imwrite(str(path), cv2.resize(picture[:, x : x + side], (450, 450)))
            try:
                face = find_face(path, detector)
            except InputError:
                continue
            embedding = recognizer.embed([recognizer.crop.align(face).image]).numpy()
            distances = np.linalg.norm(people - embedding, axis=1)
            found += bool(-distances.min() >= recognizer.card.threshold)
    return found


def test_nobody_is_recognised_in_a_report_without_faces(
    run, tmp_path, detector, dlib_resnet, views
):
    people = run.read_shard(Explained, "explain/dlib_resnet", 0, ["embedding"]).embedding
    (tmp_path / "pictures").mkdir()

    def count(*, faces: bool) -> int:
        page = render_report(run, faces=faces).read_text(encoding="utf-8")
        return known_faces(page, tmp_path / "pictures", detector, dlib_resnet, people)

    assert count(faces=True) > 0
    assert count(faces=False) == 0
    page = run.path / "report.html"
    assert [name for name in (*NAMES, str(views)) if name in texts_of(page)] == []
    assert "picture 1" in page.read_text(encoding="utf-8")


def test_a_redacted_study_has_no_name_path_or_face(run, tmp_path, views):
    before = {path: sha256_of(path) for path in run.path.rglob("*.*") if path.is_file()}
    assert names_in(run.path, views)
    target = RunFolder(tmp_path / "redacted")
    redact(run, target)
    render_report(target)
    assert names_in(target.path, views) == []
    assert {path: sha256_of(path) for path in before} == before
    stored = [path.relative_to(target.path).as_posix() for path in target.path.rglob("*.npz")]
    assert stored == ["shards/means/dlib_resnet/00000.npz"]
    means = target.read_shard(MeanMaps, "means/dlib_resnet", 0)
    assert (means.face.size, means.overall.shape) == (0, (150, 150))


def test_tables_of_a_redacted_study_have_numbered_people(run, tmp_path):
    target = RunFolder(tmp_path / "redacted")
    redact(run, target)
    names = {path.relative_to(run.path) for path in run.path.rglob("*.parquet")}
    assert {path.relative_to(target.path) for path in target.path.rglob("*.parquet")} == names
    faces, drops = target.read_table("faces"), target.read_table("occlusion/dlib_resnet")
    assert not {"sha256", "left", "top", "right", "bottom"} & set(faces.columns)
    assert set(faces["person"]) == {"1", "2", "3"}
    assert set(drops["image"]) < set(faces["image"])
    # The numbers of people are the same in all tables.
    used = set(faces.filter(pl.col("reason") == "")["image"])
    assert set(drops["image"]) <= used
    whole = run.read_table("occlusion/dlib_resnet")
    assert sorted(drops["drop"]) == sorted(whole["drop"])
    assert read_summary(target).figures == read_summary(run).figures


def test_files_of_others_are_not_published(run, tmp_path):
    table = pl.DataFrame({"email": ["somebody"]})
    table.write_parquet(run.path / "tables" / "mine.parquet")
    redact(run, RunFolder(tmp_path / "redacted"))
    assert not (tmp_path / "redacted" / "tables" / "mine.parquet").exists()
    (run.path / "shards" / "mine.npz").write_bytes(b"mine")
    (run.path / "shards" / "explain" / "mine.npz").write_bytes(b"mine")
    left = keep_only(run, "maps")
    assert left == ["shards/explain/mine.npz", "shards/mine.npz", "tables/mine.parquet"]
    assert all((run.path / name).exists() for name in left)


def test_people_are_numbered_at_random(run, tmp_path):
    found = set()
    for number in range(24):
        target = RunFolder(tmp_path / f"redacted{number}")
        redact(run, target)
        rows = target.read_table("faces")
        found.add(rows.filter(pl.col("reason").str.contains("usable picture of"))["person"].item())
        if len(found) > 1:
            return
    pytest.fail("the person with one picture has the same number in 24 redactions")


def test_redacting_in_place_leaves_other_files(run, views):
    (run.path / "notes.md").write_text("mine")
    (run.path / "link").symlink_to(run.path.parent)
    (run.path / "report.html").write_text("Grace Hopper")
    assert redact_in_place(run) == ["link", "notes.md", "report.html.kept"]
    (run.path / "report.html.kept").unlink()
    (run.path / "link").unlink()
    assert names_in(run.path, views) == []
    assert (run.path / "notes.md").read_text() == "mine"
    assert not list(run.path.parent.glob(".run-*"))
    render_report(RunFolder(run.path))
    assert names_in(run.path, views) == []


def test_a_study_is_redacted_only_where_nothing_is_lost(run, tmp_path):
    with pytest.raises(StudyError, match=r"exists; choose another --out"):
        redact(run, run)
    (tmp_path / "file").write_text("")
    with pytest.raises(StudyError, match=r"exists; choose another --out"):
        redact(run, RunFolder(tmp_path / "file"))
    (run.path / "manifest.json").unlink()
    with pytest.raises(StudyError, match="not finished"):
        redact(run, RunFolder(tmp_path / "new"))
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("keep", "stays", "gone"),
    [("maps", {"density", "critical"}, {"embedding", "matrix", "landmarks", "labels", "face_sum"}),
     ("embeddings", {"embedding"}, {"density", "critical", "landmarks", "labels", "face_sum"})],
)  # fmt: skip
def test_what_is_not_kept_is_gone(run, keep, stays, gone):
    keep_only(run, keep)
    arrays = set()
    known = [*run.path.glob("shards/explain/**/*.npz"), *run.path.glob("shards/[dpt]*/**/*.npz")]
    for path in known:
        with np.load(path) as found:
            arrays |= set(found.files)
    assert stays <= arrays
    assert not gone & arrays
    page = render_report(run).read_text(encoding="utf-8")
    assert "This page names no person" in page
    assert "Grace Hopper" not in unescape(page)


def test_nothing_is_kept(run, views):
    keep_only(run, "nothing")
    assert [path.parent.parent.name for path in run.path.rglob("*.npz")] == ["means"]
    assert names_in(run.path, views) == []
    assert set(run.read_table("faces")["person"]) == {"1", "2", "3"}


@pytest.mark.parametrize("keep", get_args(Keep))
def test_a_study_of_which_not_all_was_kept_says_so_when_it_is_resumed(run, keep, plan, dlib_resnet):
    keep_only(run, keep)
    with pytest.raises(StudyError, match="there is nothing to resume") as caught:
        run_study(plan, [dlib_resnet], run)
    assert {"maps": "only the maps", "embeddings": "only the embeddings", "nothing": "nothing was"}[
        keep
    ] in str(caught.value)


def test_every_choice_is_known_to_the_command_line():
    assert get_args(Keep) == _KEEP == tuple(KEPT)


def test_embeddings_and_pictures_are_declared():
    reveals = {one.name: one.axes.reveals for one in specs(Explained)}
    assert reveals["embedding"] == "embedding"
    assert reveals["face_sum"] == "appearance"
    assert reveals["density"] == reveals["critical"] == "map"
    assert reveals["position"] == "number"
    assert reveals["layers"] == "nothing"


@pytest.mark.parametrize(
    ("counts", "portrait"),
    [([1] * 99, True), ([1] * 100, False), ([1] * 99 + [5], False), ([1] * 99 + [6], True), ([], True)],
)  # fmt: skip
def test_a_mean_face_is_a_portrait_of_few_people_or_mostly_of_one(counts, portrait):
    assert MOST_OF_ONE == 0.05
    assert is_portrait({str(place): count for place, count in enumerate(counts)}) is portrait


@pytest.mark.parametrize(
    ("text", "removed"),
    [
        ("the only usable picture of Zoë_Ng", "the only usable picture of [removed]"),
        ("the only usable picture of zoe\u0308_ng", "the only usable picture of [removed]"),
        ("Anna Maria/IMG 12.jpg: no face", "[removed]: no face"),
        ("see IMG 12.", "see [removed]."),
        ("reading /data/x y/Anna Maria/IMG 12.jpg failed", "reading /[removed] failed"),
        ("not found: /etc/leam/cards.toml", f"not found: {REMOVED}"),
        (r"not found: C:\faces\a.toml", f"not found: {REMOVED}"),
        ("holiday.png and more", f"{REMOVED} and more"),
        ("nose 0.5 / 0.7 of 12 people, and/or more", "nose 0.5 / 0.7 of 12 people, and/or more"),
    ],
)
def test_names_and_paths_are_removed_from_texts(text, removed):
    plan = planned("")
    image = {"sha256": None, "groups": {}, "member": ""}
    names = [("Zoë_Ng", "Zoë_Ng/1.jpg"), ("Anna Maria", "Anna Maria/IMG 12.jpg"), ("7", "7/12.jpg")]
    images = [
        {"image": name, "person": person, "path": f"/data/x y/{name}", **image}
        for person, name in names
    ]
    plan = type(plan).model_validate({**plan.model_dump(mode="json"), "images": images})
    assert Names(plan).removed(text) == removed


def test_notes_lose_the_names_of_groups(tmp_path):
    write_tree(tmp_path, "Smith/a/1.png", "Smith/b/1.png", "Jones/c/1.png", "Jones/d/1.png")
    notes = read_dataset(tmp_path).notes
    assert "Smith" in notes[0]
    plan = planned("").model_copy(update={"notes": notes})
    assert redacted_plan(plan, Names(plan)).notes == (
        f"layout: group/person/picture, 4 people; the column folder has the folders {REMOVED}",
    )


def test_group_and_plugin_figures_lose_names(finished, plan):
    summary = read_summary(finished)
    named = summary.model_copy(
        update={
            "notes": ["Grace Hopper has no value"],
            "exclusions": [
                Exclusion(image="Solo/only.png", reason="the only usable picture of Solo")
            ],
        }
    )
    found = redacted_summary(named, plan, Names(plan))
    assert found.notes == [f"{REMOVED} has no value"]
    reason = f"the {REMOVED} usable picture of the person"
    assert found.exclusions == [Exclusion(image="picture 1", reason=reason)]
    assert "Hopper" not in json.dumps(found.model_dump(mode="json"))


def test_small_groups_lose_their_names():
    of_maps = GroupFigures.Column(groups={}, left_out={"Sami": 2}, covariates=[], gaps=[])
    of_errors = ErrorRateFigures.Column(
        groups={}, too_few={"Sami": 3}, unknown=0, gaps=[], worst_to_best={}, garbe=None, fdr=None
    )
    plan = planned("ab")
    for column in (of_maps, of_errors):
        found = _without_names(column, Names(plan))
        assert "Sami" not in found.model_dump_json()
        assert "group 1" in found.model_dump_json()


def test_groups_and_places_of_faces_are_not_published():
    table = pl.DataFrame(
        {"person": ["b b", "a a"], "image": ["b b/1", "a a/1"], "group_job": ["x", "y"],
         "left": [1.0, 2.0], "yaw": [3.0, 4.0], "of": ["Ada Ng", "nose"]}
    )  # fmt: skip
    numbers = {"person": {"a a": "1", "b b": "2"}, "image": {"a a/1": "1/1", "b b/1": "2/1"}}
    plan = planned("").model_copy(update={"exclusions": (Exclusion(image="Ada Ng", reason="-"),)})
    assert _redacted_table(table, numbers, Names(plan)).rows(named=True) == [
        {"person": "1", "image": "1/1", "yaw": 4.0, "of": "nose"},
        {"person": "2", "image": "2/1", "yaw": 3.0, "of": REMOVED},
    ]


@pytest.mark.parametrize("source", ["ada", "pictures/ada", "/home/ada/faces", "C:\\ada\\faces"])
def test_the_place_of_the_pictures_is_not_published(source):
    plan = planned("ab").model_copy(update={"source": source})
    assert "ada" not in redacted_plan(plan, Names(plan)).model_dump_json()

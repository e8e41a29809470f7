"""``--restart`` removes what the study wrote and nothing else; a run folder is for its user alone."""

from __future__ import annotations

import io
import json
import os
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest

from leam.errors import StudyError
from leam.report import render_report
from leam.study.run import run_study
from leam.study.store import RunFolder
from small import digests, log_of, plan_of, recognizer, study


def restart(faces: Path, out: Path, **settings: object) -> None:
    model = recognizer()
    run_study(plan_of(faces, model, **settings), [model], RunFolder(out), restart=True)


def test_files_of_the_user_survive_and_all_others_are_made_anew(faces, whole, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    mine = [
        "notes.txt",
        "shards/mine.txt",
        "tables/mine/a.csv",
        "tables/regions/tiny.csv",
        "log2/a",
    ]
    for name in mine:
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text(name)
    restart(faces, out, seed=1)
    assert [(out / name).read_text() for name in mine] == mine
    fresh = tmp_path / "fresh"
    study(faces, fresh, seed=1)
    assert digests(out) == digests(fresh)
    files = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    expected = {path.relative_to(fresh).as_posix() for path in fresh.rglob("*") if path.is_file()}
    assert files == expected | {*mine, "log.txt"}


@pytest.mark.parametrize(
    "name", ["summary.json", "tables/faces.parquet", "shards/explain/tiny/00000.npz"]
)
def test_a_file_that_is_not_as_the_study_wrote_it_is_kept(faces, whole, tmp_path, name):
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    (out / name).write_bytes(b"mine")
    restart(faces, out)
    assert (out / f"{name}.kept").read_bytes() == b"mine"
    assert digests(out) == digests(whole) | {
        key: value for key, value in digests(out).items() if key.endswith(".kept")
    }
    assert f"{name}: not as the study wrote it; kept as {Path(name).name}.kept" in log_of(out)


def test_a_changed_shard_is_kept_even_if_its_counts_are_right(faces, whole, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    shard = out / "shards" / "explain" / "tiny" / "00000.npz"
    with np.load(shard) as arrays:
        changed = {key: arrays[key] for key in arrays.files}
    changed["density"] = changed["density"] * 0
    np.savez(shard, **changed)
    restart(faces, out, seed=1)
    assert shard.with_name("00000.npz.kept").exists()


@pytest.mark.parametrize("text", ["[]", "{", "null", '{"name": "another tool"}', '{"versions": 3}'])
@pytest.mark.parametrize("again", [False, True])
def test_a_folder_of_another_program_is_left_alone(faces, tmp_path, text, again):
    out = tmp_path / "theirs"
    out.mkdir()
    (out / "run.json").write_text(text)
    (out / "tables").mkdir()
    (out / "tables" / "mine.parquet").write_text("mine")
    model = recognizer()
    with pytest.raises(StudyError, match=r"run\.json: damaged, or not a file of LEAM") as refused:
        run_study(plan_of(faces, model), [model], RunFolder(out), restart=again)
    assert "--restart" not in str(refused.value)
    assert "of this version" not in str(refused.value)
    assert (out / "run.json").read_text() == text
    assert (out / "tables" / "mine.parquet").read_text() == "mine"


@pytest.mark.parametrize("again", [False, True])
def test_a_run_of_an_older_format_is_called_that(faces, whole, tmp_path, again):
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    plan = json.loads((out / "run.json").read_text())
    plan["schema_version"], plan["versions"]["leam"] = 1, "0.1.0"
    del plan["settings"]
    (out / "run.json").write_text(json.dumps(plan))
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")}
    why = r"written by LEAM 0\.1\.0 \(format 1\), but this is LEAM .* reads format 2; install LEAM"
    model = recognizer()
    with pytest.raises(StudyError, match=why) as refused:
        run_study(plan_of(faces, model), [model], RunFolder(out), restart=again)
    assert "--restart" not in str(refused.value)
    with pytest.raises(StudyError, match=why):
        render_report(RunFolder(out))
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")} == before


def test_a_run_with_other_settings_is_called_that(whole, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    for name in ("run.json", "summary.json"):
        found = json.loads((out / name).read_text())
        found["versions"]["leam"] = "0.1.9"
        del found["settings"]["top"]
        (out / name).write_text(json.dumps(found))
    why = r"written by another version of LEAM \(0\.1\.9, this is .*\) with other settings \(top\)"
    with pytest.raises(StudyError, match=why) as refused:
        render_report(RunFolder(out))
    assert "its report.html stays valid" in str(refused.value)


def test_a_plan_that_was_edited_is_not_cleared(faces, whole, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    (out / "run.json").write_text((out / "run.json").read_text() + " ")
    with pytest.raises(StudyError, match=r"run\.json is not the one that LEAM wrote"):
        restart(faces, out)
    assert (out / "summary.json").exists()


def test_the_report_refuses_what_was_altered_by_name(whole, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    for name in ("summary.json", "tables/faces.parquet", "run.json"):
        kept = (out / name).read_bytes()
        (out / name).write_bytes(kept.replace(b"0.", b"1.", 1) + b" ")
        with pytest.raises(StudyError, match=name):
            render_report(RunFolder(out))
        (out / name).write_bytes(kept)
    render_report(RunFolder(out))


def wrong(array: np.ndarray, how: str) -> np.ndarray:
    if how == "dtype":
        return array.astype(np.float64)
    if how == "shape":
        return array[..., :-1]
    changed = array.copy()
    changed.flat[0] = {"nan": np.nan, "large": 100.0}[how]
    return changed


@pytest.mark.parametrize("how", ["nan", "large", "dtype", "shape"])
def test_a_shard_with_a_wrong_array_is_made_anew(faces, whole, tmp_path, how):
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    shard = out / "shards" / "explain" / "tiny" / "00000.npz"
    before = shard.read_bytes()
    with np.load(shard) as arrays:
        changed = {key: arrays[key] for key in arrays.files}
    changed["density"] = wrong(changed["density"], how)
    stream = io.BytesIO()
    np.savez(stream, **changed)
    shard.write_bytes(stream.getvalue())
    study(faces, out)
    assert shard.read_bytes() == before
    assert digests(out) == digests(whole)
    assert log_of(out) == ["shard explain/tiny/0: damaged; computed again"]


@pytest.mark.skipif(os.name != "posix", reason="needs modes of files")
@pytest.mark.parametrize("umask", [0, 0o277])
def test_only_the_user_can_read_a_run(faces, tmp_path, umask):
    out = tmp_path / "new" / "run"
    before = os.umask(umask)
    try:
        study(faces, out)
        RunFolder(out).log("a line")
        render_report(RunFolder(out))
    finally:
        os.umask(before)
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (out, *out.rglob("*"))}
    assert {modes[path] for path in modes if path.is_dir()} == {0o700}
    assert {path: mode for path, mode in modes.items() if path.is_file() and mode != 0o600} == {}


@pytest.mark.parametrize("place", ["tables", "tables/occlusion", "shards/explain", "figures"])
def test_nothing_is_written_through_a_link_in_the_folder(whole, tmp_path, place):
    folder, elsewhere = RunFolder(shutil.copytree(whole, tmp_path / "run")), tmp_path / "mine"
    elsewhere.mkdir()
    link = folder.path / place
    shutil.rmtree(link, ignore_errors=True)
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(elsewhere)
    write = folder.write_shard if place.startswith("shards") else folder.write_bytes
    arguments = ("explain/one", 0, None) if place.startswith("shards") else (f"{place}/a.svg", b"a")
    with pytest.raises(StudyError, match=f"{place}: a link, which leads out of the study"):
        write(*arguments)
    assert not list(elsewhere.iterdir())


@pytest.mark.parametrize("name", [".lock", ".written.lock", "log.txt"])
def test_no_file_of_others_is_opened_through_a_link(whole, tmp_path, name):
    folder = RunFolder(shutil.copytree(whole, tmp_path / "run"))
    (tmp_path / "mine").write_text("mine")
    (folder.path / name).unlink(missing_ok=True)
    (folder.path / name).symlink_to(tmp_path / "mine")
    with pytest.raises(StudyError, match=f"{name}: a link"), folder.locked():
        folder.log("a line")
    assert (tmp_path / "mine").read_text() == "mine"

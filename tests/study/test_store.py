"""Tables that are written part by part."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import shards
from leam.errors import StudyError
from leam.study.plan import Plan, PlannedImage, Settings
from leam.study.stages.layers import Focus
from leam.study.store import RunFolder, _sink


def parts(count: int = 3) -> Iterator[pl.DataFrame]:
    for i in range(count):
        yield pl.DataFrame({"person": [f"{i}", "x"], "drop": np.array([i, 0.5], dtype=np.float32)})


def test_a_table_is_its_parts_in_order(tmp_path):
    folder = RunFolder(tmp_path)
    folder.write_table("kind/one", parts())
    found = folder.read_table("kind/one")
    assert found.schema == {"person": pl.String, "drop": pl.Float32}
    assert found["person"].to_list() == ["0", "x", "1", "x", "2", "x"]
    assert found["drop"].to_list() == [0, 0.5, 1, 0.5, 2, 0.5]


def test_columns_and_rows_can_be_chosen(tmp_path):
    folder = RunFolder(tmp_path)
    folder.write_table("one", parts())
    assert folder.read_table("one", ["drop"], pl.col("person") == "x").rows() == [(0.5,)] * 3
    assert folder.read_table("one", ["drop", "person"]).columns == ["drop", "person"]


def test_bytes_depend_on_the_parts_alone(tmp_path):
    folder = RunFolder(tmp_path)
    for name in ("one", "two"):
        folder.write_table(name, parts(500))
    one, two = (tmp_path / "tables" / f"{name}.parquet" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


def test_a_table_that_fails_half_way_leaves_the_old_one(tmp_path):
    folder = RunFolder(tmp_path)
    folder.write_table("one", parts())

    def failing() -> Iterator[pl.DataFrame]:
        yield from parts()
        raise RuntimeError("on the way")

    # Old versions of polars give it another type.
    with pytest.raises(Exception, match="on the way"):
        folder.write_table("one", failing())
    with pytest.raises(pl.exceptions.SchemaError):
        folder.write_table("one", [*parts(), pl.DataFrame({"other": [1]})])
    with pytest.raises(StudyError, match="its shards disappeared"):
        folder.write_table("one", [])
    assert folder.read_table("one").height == 6
    assert [path.name for path in (tmp_path / "tables").iterdir()] == ["one.parquet"]


def test_two_that_write_the_same_file_do_not_meet(tmp_path):
    """As on two machines whose processes have one number."""
    one, two = RunFolder(tmp_path), RunFolder(tmp_path)
    with one._replacing(tmp_path / "file") as first, two._replacing(tmp_path / "file") as second:
        first.write(b"first")
        second.write(b"second")
        assert len(list(tmp_path.glob(".part-*"))) == 2
    assert not list(tmp_path.glob(".part-*"))
    assert (tmp_path / "file").read_bytes() == b"first"


def test_a_part_that_is_cleared_away_while_it_is_written_is_one_line(tmp_path):
    """As when a study is begun again before the last worker of the old run has stopped."""

    def cleared() -> Iterator[pl.DataFrame]:
        yield from parts()
        for part in tmp_path.rglob(".part-*"):
            part.unlink()

    with pytest.raises(StudyError, match=r"cannot be written \(No such file"):
        RunFolder(tmp_path).write_table("one", cleared())
    assert list((tmp_path / "tables").iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_an_error_of_the_system():
    first, *rest = parts()
    with Path("/dev/full").open("wb") as full, pytest.raises(OSError, match="No space left"):
        _sink(first, iter(rest), full)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_a_large_table_is_never_in_memory_whole(tmp_path):
    generator, count, rows = np.random.default_rng(0), 100, 200_000
    seen = []

    def large() -> Iterator[pl.DataFrame]:
        for _ in range(count):
            seen.append(resident())
            yield pl.DataFrame({"drop": generator.random(rows)})

    RunFolder(tmp_path).write_table("one", large())
    assert max(seen) - seen[0] < count * rows * 8 / 2


def resident() -> int:
    """Bytes that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_table_that_is_no_table_is_said_so(tmp_path):
    folder = RunFolder(tmp_path)
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "one.parquet").write_bytes(b"PAR1 no")
    for name in ("one", "two"):
        with pytest.raises(StudyError, match=f"{name}.parquet: missing or damaged"):
            folder.read_table(name)
    folder.write_table("one", parts())
    with pytest.raises(StudyError, match=r"one\.parquet: missing or damaged"):
        folder.read_table("one", ["nothing"])


def test_a_finished_run_is_checked_against_its_manifest(tmp_path):
    folder = RunFolder(tmp_path)
    folder.write_text("run.json", "{}")
    with pytest.raises(StudyError, match="the study is not finished"):
        folder.verify()
    folder.write_text("summary.json", "{}")
    folder.write_table("kind/one", parts())
    folder.write_manifest()
    folder.verify()
    for name in ("run.json", "summary.json", "tables/kind/one.parquet"):
        kept = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(kept + b" ")
        with pytest.raises(StudyError, match=f"{name}: missing, or changed since"):
            folder.verify()
        (tmp_path / name).unlink()
        with pytest.raises(StudyError, match=f"{name}: missing, or changed since"):
            folder.verify()
        (tmp_path / name).write_bytes(kept)
    folder.write_table("kind/two", parts())
    with pytest.raises(StudyError, match=r"two\.parquet: missing, or changed since"):
        folder.verify()
    for wrong in ("[]", "{", '{"run.json": 1}'):
        (tmp_path / "manifest.json").write_text(wrong)
        with pytest.raises(StudyError, match="not finished"):
            folder.verify()


def test_a_shard_of_another_plan_is_not_taken(tmp_path):
    one, other = RunFolder(tmp_path / "one"), RunFolder(tmp_path / "other")
    for folder, plan in ((one, "{}"), (other, "{} ")):
        folder.write_text("run.json", plan)
        folder.write_shard("layers/one", 0, shards.focus([0]))
    assert one.has_shard(Focus, "layers/one", 0)
    one.shard("layers/one", 0).write_bytes(other.shard("layers/one", 0).read_bytes())
    assert not one.has_shard(Focus, "layers/one", 0)


def test_control_characters_and_names_that_are_not_utf8_are_escaped_in_the_log(tmp_path):
    folder = RunFolder(tmp_path)
    folder.log("a\x1b[2J\udcffb\nc")
    (line,) = (tmp_path / "log.txt").read_text().splitlines()
    assert line.endswith(r"a\x1b[2J\udcffb c")


@pytest.mark.parametrize("count", [0, 1, 2500])
def test_a_plan_is_written_part_by_part_as_its_own_text(tmp_path, count):
    images = tuple(
        PlannedImage(f"p{n}/1.jpg", f"p{n}", f'/a "images": [] {n}', None, {"a": "b"} if n else {})
        for n in range(count)
    )
    plan = Plan(versions={}, source='"images": []', settings=Settings(), models=(), images=images)
    folder = RunFolder(tmp_path / "run")
    assert folder.start(plan) is plan
    assert (tmp_path / "run/run.json").read_text() == plan.model_dump_json(indent=1)
    assert folder.plan() == plan
    assert folder.start(plan) == plan

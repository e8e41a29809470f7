"""Tables made from shards that were written by hand."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

import shards
from leam.parsers.regions import REGIONS
from leam.study.plan import Plan
from leam.study.run_data import RunData
from leam.study.stage import stages_of
from leam.study.stages.curves import Grid
from leam.study.stages.occlusion import Occluded
from leam.study.stages.transfer import Transferred
from leam.study.store import RunFolder
from leam.study.summary import FACES_COLUMNS, write_faces_table
from planned import SIDE, planned

FILLS, CURVE = ("black", "mean"), (0.1, 0.2)
MADE = {"regions", "layers", "occlusion", "transfer", "curves"}


@pytest.fixture(scope="module")
def plan() -> Plan:
    """Five people, one a slice; the third has a single picture."""
    return planned(
        "aabbcddee",
        1,
        controls=("scattered",),
        curve_controls=("scattered",),
        transfer=True,
        subset=2,
        fills=FILLS,
        curve=CURVE,
    )


@pytest.fixture(scope="module")
def folder(plan, tmp_path_factory) -> RunFolder:
    folder = RunFolder(tmp_path_factory.mktemp("tables") / "run")
    crop = plan.models[0].card.crop.name
    for index, part in enumerate(plan.slices):
        used = list(part) if len(part) > 1 else []
        reasons = ["no face" if position == 4 else "" for position in part]
        folder.write_shard("detect", index, shards.detections(len(part), reasons))
        folder.write_shard(f"parse/landmarks/{crop}", index, shards.parsings(len(part), reasons))
        folder.write_shard("explain/one", index, shards.explained(used) if used else None)
        folder.write_shard("regions/one", index, shards.region_shares(used) if used else None)
        folder.write_shard("layers/one", index, shards.focus(used) if used else None)
        occluded = Occluded(
            position=np.array(used[::2], dtype=np.int64),
            clean=np.arange(len(used[::2]), dtype=np.float32) + 0.25,
            drop=np.arange(len(used[::2]) * 2, dtype=np.float32).reshape(-1, 2),
            pieces=np.full((len(used[::2]), 2), 3, dtype=np.int32),
            largest=np.full((len(used[::2]), 2), 5, dtype=np.int32),
        )
        folder.write_shard("occlusion/one", index, occluded if used else None)
        transferred = Transferred(
            sources=np.array(["one"]),
            position=np.array(used, dtype=np.int64),
            drop=(np.array(used)[:, None] + np.array([0, 0.5])).astype(np.float32),
        )
        folder.write_shard("transfer/one", index, transferred if used else None)
        grid = Grid(
            position=np.array(used[:1], dtype=np.int64),
            drop=np.arange(8, dtype=np.float32).reshape(1, 2, 2, 2) + index * 100,
        )
        folder.write_shard("curves/one", index, grid if index in {0, 3} else None)
    write_faces_table(plan, folder)
    run = RunData(plan, folder)
    for stage in stages_of(plan):
        if stage.name in MADE and (frames := stage.tabulate(run, "one")) is not None:
            folder.write_table(f"{stage.name}/one", frames)
    return folder


def test_every_table_has_the_columns_that_its_stage_describes(folder, plan):
    found = {stage.name: list(stage.columns) for stage in stages_of(plan) if stage.name in MADE}
    assert set(found) == MADE
    for name, columns in found.items():
        assert folder.read_table(f"{name}/one").columns == columns
    assert folder.read_table("faces").columns == list(FACES_COLUMNS)


def test_faces(folder):
    table = folder.read_table("faces")
    assert table["person"].to_list() == list("aabbcddee")
    assert table["image"].to_list() == [f"{p}/{i}" for i, p in enumerate("aabbcddee")]
    assert table["reason"].to_list() == [""] * 4 + ["no face"] + [""] * 4
    edges = table.select("left", "top", "right", "bottom").rows()
    assert edges[:2] == [(0, 1, 2, 3), (4, 5, 6, 7)]
    assert table["bottom"].dtype == pl.Float64
    assert table["sha256"].dtype == pl.String
    assert table["pitch"].to_list() == [0.5] * 9
    assert table["yaw"].to_list() == [0] * 9
    assert table["found"].to_list() == [0, 1, 0, 1, 0, 0, 1, 0, 1]


def test_regions_by_face_layer_and_region(folder, plan):
    table, regions = folder.read_table("regions/one"), RunData(plan, folder).regions()
    names = ["overall", *shards.LAYERS]
    expected = [
        ("aabbcddee"[face], f"{'aabbcddee'[face]}/{face}", names[layer], layer, region)
        for face in (0, 1, 2, 3, 5, 6, 7, 8)
        for layer in range(3)
        for region in regions
    ]
    assert table.select("person", "image", "layer", "depth", "region").rows() == expected
    for row in table.iter_rows(named=True):
        face, number = int(row["image"][2:]) * 10_000, REGIONS.index(row["region"])
        value = face + row["depth"] * 100 + number
        assert (row["share"], row["mass"]) == (value, -value)
        assert (row["area"], row["confidence"]) == (face + number, face + number + 50)
        assert row["empty"] == (row["depth"] == 2)
    assert table["model"].unique().to_list() == ["one"]
    assert table.schema["depth"] == pl.Int64
    assert {table.schema[name] for name in ("area", "share", "mass", "confidence")} == {pl.Float32}


def test_layers_by_face_and_layer(folder):
    table = folder.read_table("layers/one")
    assert table.filter(pl.col("image") == "d/6").rows() == [
        ("d", "d/6", "overall", 0, 60_000, 60_001, 60_002, False, "one"),
        ("d", "d/6", "early", 1, 60_100, 60_101, 60_102, False, "one"),
        ("d", "d/6", "late", 2, 60_200, 60_201, 60_202, True, "one"),
    ]


def test_occlusion_by_probe_and_mask(folder, plan):
    table = folder.read_table("occlusion/one")
    pixels = max(1, round(SIDE * SIDE * plan.settings.top))
    assert table.rows() == [
        (person, image, mask, 0.01, pixels, 0.25, 3, 5, drop, "one")
        for person, image in (("a", "a/0"), ("b", "b/2"), ("d", "d/5"), ("e", "e/7"))
        for mask, drop in (("critical", 0), ("scattered", 1))
    ]


def test_transfer_by_face_and_mask(folder):
    rows = folder.read_table("transfer/one").rows()
    assert rows[:3] == [
        ("a", "a/0", "one", 0, "one"),
        ("a", "a/0", "scattered", 0.5, "one"),
        ("a", "a/1", "one", 1, "one"),
    ]
    assert len(rows) == 16


def test_curves_by_face_fill_mask_and_fraction(folder):
    masks = ("critical", "scattered")
    assert folder.read_table("curves/one").rows() == [
        (image[0], image, fill, mask, fraction, index * 100 + 4 * f + 2 * m + t, "one")
        for index, image in ((0, "a/0"), (3, "d/5"))
        for f, fill in enumerate(FILLS)
        for m, mask in enumerate(masks)
        for t, fraction in enumerate(CURVE)
    ]

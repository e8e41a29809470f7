"""Tables made from shards that were written by hand."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from leam.parsers.regions import REGIONS
from leam.study import RunFolder
from leam.study.plan import Plan
from leam.study.store import Arrays
from leam.study.tables import parsed_regions, write_faces_table, write_model_tables
from planned import SIDE, planned

LAYERS = ("early", "late")
FILLS, CURVE = ("black", "mean"), (0.1, 0.2)


def maps(positions: list[int]) -> Arrays:
    """A shard of maps in which every number says where it stands: face, layer, region."""
    faces, layers, regions = np.indices((len(positions), 1 + len(LAYERS), len(REGIONS)))
    value = np.array(positions)[faces] * 10_000 + layers * 100 + regions
    return {
        "layers": np.array(LAYERS),
        "position": np.array(positions),
        "share": value.astype(np.float32),
        "mass": -value.astype(np.float32),
        "area": value[:, 0].astype(np.float32),
        "confidence": value[:, 0].astype(np.float32) + 50,
        "spread": value[:, :, 0].astype(np.float32),
        "centre": np.stack([value[:, :, 1], value[:, :, 2]], axis=-1).astype(np.float32),
        "empty": layers[:, :, 0] == 2,
        "probe": np.arange(0, len(positions), 2),
        "clean": np.arange(0, len(positions), 2, dtype=np.float32),
        "drop": np.arange(len(positions[::2]) * 2, dtype=np.float32).reshape(-1, 2),
    }


@pytest.fixture(scope="module")
def plan() -> Plan:
    """Five people, one a slice; the third has a single picture."""
    return planned(
        "aabbcddee", 1, baselines=("scattered",), transfer=True, panel=2, fills=FILLS, curve=CURVE
    )


@pytest.fixture(scope="module")
def folder(plan, tmp_path_factory) -> RunFolder:
    folder = RunFolder(tmp_path_factory.mktemp("tables") / "run")
    crop = plan.models[0].card.crop.name
    for index, part in enumerate(plan.slices):
        used = list(part) if len(part) > 1 else []
        reason = np.array(["no face" if position == 4 else "" for position in part])
        points = np.zeros((len(part), 68, 2))
        points[:, 36:42], points[:, 42:48], points[:, 30] = (0, 0), (2, 0), (1, 1)
        points[:, [48, 54]] = (1, 2)
        faces = {
            "reason": reason,
            "found": np.arange(len(part)),
            "box": np.arange(4 * len(part)).reshape(-1, 4),
            "landmarks": points,
        }
        folder.write_shard("faces", index, faces)
        folder.write_shard(f"parsing/landmarks/{crop}", index, {"reason": reason})
        folder.write_shard("maps/one", index, maps(used) if used else {})
        transfer = {
            "sources": np.array(["one"]),
            "position": np.array(used),
            "drop": np.array(used)[:, None] + np.array([0, 0.5]),
        }
        folder.write_shard("transfer/one", index, transfer if used else {})
        grid = np.arange(8, dtype=np.float32).reshape(1, 2, 2, 2) + index * 100
        panel = {"position": np.array(used[:1]), "grid": grid}
        folder.write_shard("panel/one", index, panel if index in {0, 3} else {})
    write_faces_table(plan, folder)
    write_model_tables(plan, folder, "one")
    return folder


def test_faces(folder):
    table = folder.read_table("faces")
    assert table["image"].to_list() == [f"{p}/{i}" for i, p in enumerate("aabbcddee")]
    assert table["reason"].to_list() == [""] * 4 + ["no face"] + [""] * 4
    assert table["left"].to_list() == [0, 4, 0, 4, 0, 0, 4, 0, 4]
    assert table["bottom"].dtype == pl.Float64
    assert table["sha256"].dtype == pl.String
    assert table["pitch"].to_list() == [0.5] * 9
    assert table["yaw"].to_list() == [0] * 9


def test_regions_stand_by_face_layer_and_region(folder):
    table, regions = folder.read_table("regions/one"), parsed_regions("landmarks")
    names = ["overall", *LAYERS]
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
    assert table.columns[5:] == ["area", "share", "mass", "confidence", "empty", "model"]
    assert table.schema["depth"] == pl.Int64
    assert {table.schema[name] for name in ("area", "share", "mass", "confidence")} == {pl.Float32}


def test_layers_stand_by_face_and_layer(folder):
    table = folder.read_table("layers/one")
    assert table.columns == [
        "person",
        "image",
        "layer",
        "depth",
        "spread",
        "x",
        "y",
        "empty",
        "model",
    ]
    assert table.filter(pl.col("image") == "d/6").rows() == [
        ("d", "d/6", "overall", 0, 60_000, 60_001, 60_002, False, "one"),
        ("d", "d/6", "early", 1, 60_100, 60_101, 60_102, False, "one"),
        ("d", "d/6", "late", 2, 60_200, 60_201, 60_202, True, "one"),
    ]  # fmt: skip


def test_occlusion_stands_by_probe_and_mask(folder, plan):
    table = folder.read_table("occlusion/one")
    pixels = max(1, round(SIDE * SIDE * plan.settings.top))
    assert table.rows() == [
        (person, image, mask, 0.01, pixels, 0, drop, "one")
        for person, image in (("a", "a/0"), ("b", "b/2"), ("d", "d/5"), ("e", "e/7"))
        for mask, drop in (("critical", 0), ("scattered", 1))
    ]


def test_transfer_stands_by_face_and_mask(folder):
    rows = folder.read_table("transfer/one").rows()
    assert rows[:3] == [
        ("a", "a/0", "one", 0, "one"), ("a", "a/0", "scattered", 0.5, "one"),
        ("a", "a/1", "one", 1, "one"),
    ]  # fmt: skip
    assert len(rows) == 16


def test_the_panel_stands_by_face_fill_mask_and_fraction(folder):
    masks = ("critical", "scattered")
    assert folder.read_table("panel/one").rows() == [
        (image[0], image, fill, mask, fraction, index * 100 + 4 * f + 2 * m + t, "one")
        for index, image in ((0, "a/0"), (3, "d/5"))
        for f, fill in enumerate(FILLS)
        for m, mask in enumerate(masks)
        for t, fraction in enumerate(CURVE)
    ]

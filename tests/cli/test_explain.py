"""``leam explain`` and ``leam parse``."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from leam.cli.inputs import folders_for
from leam.demo import portraits


def test_explain_writes_everything_and_it_agrees(spawn, tmp_path, portrait):
    out = tmp_path / "Zoë's face"
    result = spawn("explain", portrait, "--out", out, "--top", 0.02, COLUMNS="40")
    assert (result.returncode, result.stderr) == (0, "")
    assert {path.name for path in out.iterdir()} == {
        "explanation.json", "layers.png", "maps.npz", "overlay.png",
    }  # fmt: skip
    record = json.loads((out / "explanation.json").read_text())
    with np.load(out / "maps.npz", allow_pickle=False) as maps:
        assert maps["critical"].sum() == record["critical_pixels"] == 450
        assert maps["overall"].sum() == pytest.approx(1, abs=1e-4)
        assert maps["overall"][maps["critical"]].min() >= maps["overall"][~maps["critical"]].max()
        layers = [name for name in maps if name.startswith("layer/")]
        assert len(layers) == len(record["layers"]) == 27
    assert record["model"] == "dlib_resnet"
    assert record["top"] == 0.02
    assert sum(row["share"] for row in record["regions"].values()) == pytest.approx(1, abs=1e-5)
    with Image.open(out / "overlay.png") as picture:
        assert picture.width > 1000
    lines = result.stdout.splitlines()
    assert lines[0] == f"{portrait.name} · dlib_resnet"
    for name, row in record["regions"].items():
        numbers = [f"{100 * row[key]:.1f}" for key in ("share", "mass", "area")]
        assert any(
            line.split()[0] == name and line.split()[1::2] == numbers for line in lines if line
        )
    assert f"written: {out}" in lines


@pytest.mark.slow
def test_explain_prints_nothing_but_json(leam, tmp_path, portrait):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"x")
    result = leam("explain", portrait, bad, "--out", tmp_path / "out", "--json")
    assert result.returncode == 1
    assert result.stderr.startswith("leam: ")
    assert result.stderr.count("\n") == 1
    (record,) = json.loads(result.stdout)
    assert record.pop("folder") == str(tmp_path / "out" / portrait.stem)
    written = tmp_path / "out" / portrait.stem / "explanation.json"
    assert record == json.loads(written.read_text())


@pytest.mark.slow
def test_explain_the_similarity_of_two_faces_on_both(leam, tmp_path):
    one, two = portraits().values()
    out = tmp_path / "pair"
    result = leam("explain", one, "--with", two, "--out", out, "--layers", "blocks.1*,conv")
    assert result.returncode == 0, result.stderr
    records = [
        json.loads((out / path.stem / "explanation.json").read_text()) for path in (one, two)
    ]
    assert records[0]["similarity"] == pytest.approx(records[1]["similarity"])
    assert records[0]["similarity"] < records[0]["threshold"]
    assert [record["target"] for record in records] == ["reference", "reference"]
    assert [record["reference"] for record in records] == [str(two), str(one)]
    assert records[0]["layers"][-1]["name"] == "conv"
    assert f"similarity with {two.name}: {records[0]['similarity']:.3f}" in result.stdout


@pytest.mark.slow
def test_the_face_alone_beside_another_picture(leam, tmp_path):
    one, two = portraits().values()
    result = leam("explain", one, "--with", two, "--target", "self", "--out", tmp_path, "--json")
    (record,) = json.loads(result.stdout)
    assert record["target"] == "self"
    assert record["reference"] is None


@pytest.mark.parametrize(
    ("backend", "used"), [("plain", "plain"), ("fused", "fused"), ("auto", "fused")]
)
def test_the_backend_is_chosen(leam, tmp_path, portrait, backend, used):
    options = ("--backend", backend, "--layers", "conv", "--json")
    (record,) = json.loads(leam("explain", portrait, "--out", tmp_path / "out", *options).stdout)
    assert record["backend"] == used


def test_a_preset_sets_what_is_explained(leam, complaint, tmp_path, portrait):
    preset = tmp_path / "mine.toml"
    preset.write_text(
        'target = "template"\nlayers = ["conv"]\nweighting = "signed"\naggregate = "max"\ntop = 0.02\n'
        'backend = "plain"\nparser = "compact"'
    )
    options = ("explain", portrait, "--preset", preset, "--json", "--out")
    refused = complaint(leam(*options, tmp_path / "none"))
    assert "its target template needs the person's other pictures" in refused
    (stated,) = json.loads(leam(*options, tmp_path / "one", "--target", "self").stdout)
    assert [layer["name"] for layer in stated["layers"]] == ["conv"]
    assert (stated["weighting"], stated["aggregate"], stated["top"]) == ("signed", "max", 0.02)
    assert (stated["backend"], stated["parser"]) == ("plain", "compact")
    changed = (
        "--target",
        "self",
        "--weighting",
        "positive",
        "--top",
        0.05,
        "--parser",
        "landmarks",
    )
    (changed,) = json.loads(leam(*options, tmp_path / "two", *changed).stdout)
    assert (changed["weighting"], changed["aggregate"], changed["top"]) == ("positive", "max", 0.05)
    assert changed["parser"] == "landmarks"


@pytest.mark.slow
def test_mistakes_of_explain(leam, complaint, tmp_path, portrait):
    grey = tmp_path / "grey.png"
    Image.new("RGB", (100, 100), "grey").save(grey)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    out = ("--out", tmp_path / "out")
    for arguments, message in (
        ((grey, *out), "grey.png: no face found"),
        ((tmp_path / "none.jpg", *out), "none.jpg: no such file"),
        ((portrait, "--out", tmp_path / "full"), "exists and is not empty"),
        ((portrait, "--out", tmp_path / "grey.png"), "exists and is not empty"),
        ((portrait, *out, "--model", "nobody"), "nobody: no such recognizer"),
        ((portrait, *out, "--layers", "conv9"), "layer conv9: no such layer"),
        ((portrait, *out, "--layers", ","), "--layers: no layer named"),
        ((portrait, *out, "--layers", "fc"), "layer fc: has no spatial extent"),
        ((portrait, *out, "--weighting", "best"), "best: no such weighting"),
        ((portrait, *out, "--aggregate", "best"), "best: no such aggregate"),
        ((portrait, *out, "--backend", "best"), "best: no such backend"),
        ((portrait, *out, "--parser", "best"), "best: no such parser"),
        ((portrait, *out, "--detector", "best"), "best: no such detector"),
        ((portrait, *out, "--top", 0), "--top 0.0: "),
        ((portrait, *out, "--target", "other"), "--target other: no such target; available: self"),
        ((portrait, *out, "--target", "reference"), "name the other picture with --with"),
        ((portrait, "--out", grey / "below"), "grey.png"),
    ):
        assert message in complaint(leam("explain", *arguments)), arguments


def test_force_writes_into_a_full_folder(leam, tmp_path, portrait):
    (tmp_path / "mine.txt").write_text("mine")
    options = ("--out", tmp_path, "--parser", "landmarks")
    assert leam("parse", portrait, *options).returncode == 1
    assert leam("parse", portrait, *options, "--force").returncode == 0


def test_parse_writes_labels_overlay_and_areas(leam, complaint, tmp_path, portrait):
    bad = tmp_path / "bad.jpg"
    bad.write_text("no picture")
    folder = tmp_path / "parsed"
    result = leam("parse", portrait, bad, "--parser", "compact", "--out", folder)
    assert "bad.jpg: not a picture" in complaint(result)
    (inside,) = folder.iterdir()
    assert {path.name for path in inside.iterdir()} == {"areas.json", "labels.png", "overlay.png"}
    areas = json.loads((inside / "areas.json").read_text())
    assert areas["parser"] == "compact"
    nose = areas["chip"]["nose"]
    row = f"nose {100 * nose['area']:.1f} % {nose['confidence']:.2f}"
    assert row in [" ".join(line.split()) for line in result.stdout.splitlines()]


@pytest.mark.slow
def test_parse_prints_nothing_but_json(leam, tmp_path, portrait):
    result = leam("parse", portrait, "--out", tmp_path / "out", "--json")
    (record,) = json.loads(result.stdout)
    assert record.pop("folder") == str(tmp_path / "out")
    assert record == json.loads((tmp_path / "out" / "areas.json").read_text())


def test_mistakes_of_parse(leam, complaint, tmp_path, portrait):
    unknown = complaint(leam("parse", portrait, "--parser", "nobody", "--out", tmp_path / "new"))
    assert "nobody: no such parser; available: bisenet" in unknown
    full = complaint(leam("parse", portrait, "--out", tmp_path.parent))
    assert full.endswith("choose another --out, or add --force")


class Picture:
    def __init__(self, path):
        self.path = path


def test_folders_are_named_after_pictures(tmp_path):
    faces = [Picture(tmp_path / name) for name in ("ada.jpg", "b/ada.png", "...jpg")]
    assert [path.name for path in folders_for(tmp_path, faces, alone=False)] == [
        "ada",
        "ada-2",
        "face",
    ]
    assert folders_for(tmp_path, faces[:1], alone=True) == [tmp_path]

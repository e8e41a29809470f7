"""``leam models``: the list, the layers and the test of a recognizer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

CARDS = Path(__file__).resolve().parents[2] / "examples" / "cards"


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("LEAM_CACHE", str(tmp_path / "cache"))


def test_the_list_says_where_weights_are(leam, assets):
    result = leam("models", "--cards", CARDS)
    assert result.returncode == 0
    lines = {line.split()[0]: line for line in result.stdout.splitlines()[1:]}
    assert "installed" in lines["mobileface_v3"]
    assert "to download, no sha256" in lines["facenet_casia"]
    assert "112x112" in lines["sface"]
    assert " MobileNet v1 " in lines["mobilenet_v1_hse"]
    installed = [" installed " in line for line in lines.values()]
    assert installed == sorted(installed, reverse=True)


def test_the_list_as_json(leam, assets):
    listed = json.loads(leam("models", "--cards", CARDS, "--json").stdout)
    assert Path(listed["mobileface_v2"]["weights"]).is_file()
    assert listed["sface"]["weights"] is None
    assert listed["sface"]["family"] == "MobileFaceNet"
    assert listed["edgeface_s_gamma_05"]["warnings"] == [
        "no sha256: a changed file would not be noticed"
    ]


def test_layers_as_table_and_json(leam):
    table = leam("models", "layers", "dlib_resnet", "--layers", "stages")
    layers = json.loads(
        leam("models", "layers", "dlib_resnet", "--layers", "stages", "--json").stdout
    )
    assert table.stdout.splitlines()[0].split() == [
        "layer", "taken", "at", "channels", "size", "note",
    ]  # fmt: skip
    assert [line.split() for line in table.stdout.splitlines()[1:]] == [
        [layer["name"], layer["place"], str(layer["channels"]), "x".join(map(str, layer["size"]))]
        for layer in layers
    ]
    assert layers[0]["place"] != layers[0]["name"], "a normalisation follows every convolution"
    assert len(layers) > 2


def test_a_check_of_a_card(leam, assets):
    result = leam("models", "check", CARDS / "mobileface_v3.toml")
    assert result.returncode == 0
    assert "545,664" in result.stdout
    assert "mods_4/Conv  32 x 56x56" in result.stdout


@pytest.mark.slow
def test_a_check_with_pairs(leam, assets, tmp_path):
    lines = (assets / "lfw" / "pairs.csv").read_text().splitlines()
    (tmp_path / "pairs.csv").write_text("\n".join([*lines[:9], lines[8]]))
    options = ("--pairs", tmp_path / "pairs.csv", "--faces", assets / "lfw" / "people", "--json")
    result = leam("models", "check", "dlib_resnet", *options)
    found = json.loads(result.stdout)
    assert result.returncode == 0
    assert result.stderr.splitlines() == [
        "leam: layout: pairs of pictures; the person of a picture is its folder",
        "leam: 1 of 9 pairs are listed again and count each time",
    ]
    assert found["parameters"] == 5_614_592
    assert found["verification"]["pairs"] == 9
    assert found["verification"]["accuracy"] > 0.8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("check", "nobody"), "nobody: no such recognizer"),
        (("check", "dlib_resnet", "--pairs", "p.csv"), "p.csv: no such file or folder"),
        (("check", "dlib_resnet", "--faces", "lfw"), "--faces: needs --pairs"),
        (("check", "missing.toml"), "missing.toml: no such card"),
        (("--cards", "nowhere"), "nowhere: no such folder"),
        (("layers", "dlib_resnet", "--layers", "conv9"), "layer conv9: no such layer"),
    ],
)
def test_mistakes(leam, complaint, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert message in complaint(leam("models", *arguments))


def test_a_check_names_device_and_precision(leam):
    options = ("--device", "cpu", "--precision", "bfloat16", "--batch-size", 4)
    found = json.loads(leam("models", "check", "dlib_resnet", *options, "--json").stdout)
    assert (found["device"], found["precision"]) == ("cpu", "bfloat16")
    table = leam("models", "check", "dlib_resnet", "--device", "cpu").stdout
    assert "cpu, float32" in table

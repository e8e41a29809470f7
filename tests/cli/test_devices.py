"""``--device``, ``--batch-size`` and ``--precision`` of every command that runs networks."""

from __future__ import annotations

import json

import pytest
import torch

from leam.cli.inputs import choose_device
from leam.cli.study import suggest_workers


@pytest.fixture
def gpus(monkeypatch):
    """A machine that claims two GPUs."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"GPU {device.index}")


def commands(portrait, faces, out):
    return {
        "explain": ("explain", portrait, "--out", out),
        "parse": ("parse", portrait, "--out", out),
        "study": ("study", faces, "--out", out),
        "check": ("models", "check", "dlib_resnet"),
    }


@pytest.mark.parametrize("command", ["explain", "parse", "study", "check"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--device", "cuda:9"), "device cuda:9: not available; this machine has "),
        (("--precision", "half"), "precision half: not known; available: float32, bfloat16"),
    ],
)
def test_what_is_not_there_is_one_line(
    leam, complaint, portrait, faces, tmp_path, command, options, message
):
    result = leam(*commands(portrait, faces, tmp_path / "out")[command], *options)
    assert message in complaint(result)


def test_auto_says_which_gpu_it_takes(gpus, capsys):
    assert choose_device("auto") == torch.device("cuda:0")
    assert "using cuda:0 (GPU 0); --device cpu uses the processor" in capsys.readouterr().err
    choose_device("cuda:1")
    assert capsys.readouterr().err == ""


def test_a_long_study_suggests_a_worker_for_each_gpu(gpus, capsys):
    suggest_workers(1, 1000, "auto")
    assert "using one of 2 GPUs; --workers 2 uses all of them" in capsys.readouterr().err
    suggest_workers(1, 1000, "cuda:1")
    suggest_workers(2, 1000, "auto")
    assert capsys.readouterr().err == ""


def test_explain_and_parse_record_them(leam, portrait, tmp_path):
    options = ("--device", "cpu", "--precision", "bfloat16", "--batch-size", 2)
    leam("explain", portrait, "--out", tmp_path / "explained", *options)
    record = json.loads((tmp_path / "explained" / "explanation.json").read_text())
    assert (record["device"], record["precision"]) == ("cpu", "bfloat16")
    leam("parse", portrait, "--parser", "compact", "--out", tmp_path / "parsed", *options)
    areas = json.loads((tmp_path / "parsed" / "areas.json").read_text())
    assert (areas["device"], areas["precision"]) == ("cpu", "bfloat16")


def test_parsing_in_batches_is_parsing_one_by_one(leam, portrait, tmp_path):
    for size in (1, 2):
        pictures = (portrait, portrait, portrait)
        options = ("--parser", "compact", "--batch-size", size)
        leam("parse", *pictures, "--out", tmp_path / str(size), *options)
    for name in (portrait.stem, f"{portrait.stem}-3"):
        one, two = (tmp_path / size / name / "labels.png" for size in ("1", "2"))
        assert one.read_bytes() == two.read_bytes()


def test_a_study_names_them(leam, faces, tmp_path):
    options = ("--device", "cpu", "--precision", "bfloat16", "--batch-size", 2)
    assert leam("study", faces, "--out", tmp_path / "run", *options).returncode == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    found = summary["recognizers"]["dlib_resnet"]
    assert (found["precision"], found["devices"]) == ("bfloat16", ["cpu"])
    assert "bfloat16 on cpu" in (tmp_path / "run" / "report.html").read_text()
    again = leam("study", faces, "--out", tmp_path / "run", "--device", "cpu")
    assert again.returncode == 1
    assert "changed weights, cards or precision" in again.stderr

"""Recognizers and parsers that fail, and weights that changed."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from leam.errors import StudyError, WeightsError
from leam.files import sha256_of
from leam.parsers.builtin.landmarks import LandmarkParser
from leam.recognizers.card import Card
from leam.recognizers.catalogue import load_recognizer
from leam.recognizers.recognizer import Recognizer
from leam.report import render_report
from leam.study.store import RunFolder
from small import SIDE, digests, log_of, recognizer, study
from tiny import TinyNet

pytestmark = pytest.mark.slow


class Failing(nn.Module):
    """A recognizer that is sound until it is switched, or until it sees a bright face."""

    def __init__(self, fail) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inner = TinyNet(SIDE)
        self.fail = fail

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fail(x, self.inner(x))


def sound(_: torch.Tensor, embeddings: torch.Tensor) -> torch.Tensor:
    return embeddings


def no_memory(_: torch.Tensor, embeddings: torch.Tensor) -> torch.Tensor:
    """As torch's allocator says it; a batch of one, as in checks, still fits."""
    if len(embeddings) > 1:
        raise RuntimeError(
            "DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes.\nmore"
        )
    return embeddings


def python_has_no_memory(_: torch.Tensor, embeddings: torch.Tensor) -> torch.Tensor:
    if len(embeddings) > 1:
        raise MemoryError
    return embeddings


def one_is_nan(x: torch.Tensor, embeddings: torch.Tensor) -> torch.Tensor:
    light = x.mean(dim=(1, 2, 3))
    return embeddings * torch.where(light == light.max(), torch.nan, 1.0)[:, None]


def all_are_nan(_: torch.Tensor, embeddings: torch.Tensor) -> torch.Tensor:
    return embeddings * torch.nan


def failing(fail) -> Recognizer:
    card = Card(name="failing", input_size=(SIDE, SIDE), sha256="0" * 64)
    return Recognizer(Failing(fail), card)


@pytest.mark.parametrize("fail", [no_memory, python_has_no_memory])
def test_a_recognizer_out_of_memory_is_one_line_and_the_other_goes_on(faces, tmp_path, fail):
    summary = study(faces, tmp_path / "run", failing(fail), recognizer())
    (line,) = log_of(tmp_path / "run")
    assert line.startswith("recognizer failing: explain: ")
    assert "not enough memory" in line
    (failed,) = summary["failed"]
    assert failed["recognizer"] == "failing"
    assert "not enough memory" in failed["reason"]
    assert list(summary["recognizers"]) == ["tiny"]
    alone = study(faces, tmp_path / "alone")
    assert summary["recognizers"]["tiny"] == alone["recognizers"]["tiny"]
    assert "failing" in render_report(RunFolder(tmp_path / "run")).read_text()
    # With memory again, the same command ends as if nothing had happened.
    study(faces, tmp_path / "run", failing(sound), recognizer())
    study(faces, tmp_path / "sound", failing(sound), recognizer())
    assert digests(tmp_path / "run") == digests(tmp_path / "sound")


def test_all_recognizers_failing_is_one_line(faces, tmp_path):
    with pytest.raises(StudyError, match="every recognizer failed") as caught:
        study(faces, tmp_path / "run", failing(no_memory))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("fail", [one_is_nan, all_are_nan])
def test_nan_costs_its_own_figures_only(faces, tmp_path, fail):
    summary = study(faces, tmp_path / "run", failing(fail), recognizer())
    alone = study(faces, tmp_path / "alone")
    assert summary["recognizers"]["tiny"] == alone["recognizers"]["tiny"]
    if fail is all_are_nan and "failing" in summary["recognizers"]:
        assert summary["recognizers"]["failing"]["figures"]["occlusion"]["drop"]["mean"] is None


class Moody(LandmarkParser):
    """A parser that fails on pictures whose name says so."""

    def parse(self, face, crop):
        if face.path.stem == "bad":
            raise RuntimeError("the network\nis in no mood")
        return super().parse(face, crop)


def test_a_parser_that_fails_on_one_face_costs_that_face_only(faces, tmp_path, monkeypatch):
    more = tmp_path / "faces"
    for person in faces.iterdir():
        (more / person.name).mkdir(parents=True)
        for picture in person.iterdir():
            (more / person.name / picture.name).write_bytes(picture.read_bytes())
    (more / "Grace Hopper" / "bad.png").write_bytes((more / "Grace Hopper" / "0.png").read_bytes())
    monkeypatch.setattr("leam.study.worker.load_parser", lambda *_: Moody())
    summary = study(more, tmp_path / "run")
    reason = "the parser landmarks failed: the network"
    assert summary["exclusions"] == [{"image": "Grace Hopper/bad.png", "reason": reason}]
    assert log_of(tmp_path / "run") == [f"picture Grace Hopper/bad.png: {reason}"]
    assert summary["recognizers"] == study(faces, tmp_path / "without")["recognizers"]


@pytest.mark.parametrize("checked", [True, False])
def test_a_card_whose_weights_changed(faces, tmp_path, checked):
    weights, card = tmp_path / "facenet.safetensors", tmp_path / "card.toml"
    state = load_recognizer("dlib_resnet").module.state_dict()
    name = next(key for key, value in state.items() if value.ndim == 4)
    save_file({key: value.contiguous() for key, value in state.items()}, weights)
    pinned = f'sha256 = "{sha256_of(weights)}"\n' if checked else ""
    card.write_text(f'name = "mine"\narchitecture = "iresnet"\nfile = "{weights.name}"\n{pinned}')
    state[name] = state[name] + 1
    save_file({key: value.contiguous() for key, value in state.items()}, weights)
    wanted = "not the card's" if checked else "not a checkpoint of"
    with pytest.raises(WeightsError, match=wanted):
        load_recognizer(card)

"""The ten recognizers give the embeddings that were recorded from their original files."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from leam.recognizers.card import read_card
from leam.recognizers.catalogue import load_recognizer, read_catalogue

CARDS = Path(__file__).resolve().parents[2] / "examples" / "cards"
NAMES = sorted(path.stem for path in CARDS.glob("*.toml"))
ONNX = [name for name in NAMES if read_card(CARDS / f"{name}.toml").architecture == "onnx"]


@pytest.fixture(scope="module")
def reference(assets):
    with np.load(assets / "zoo" / "reference.npz") as arrays:
        return dict(arrays)


def inputs(recognizer, reference):
    chips = reference["chips150" if recognizer.card.template == "dlib" else "chips112"]
    return np.stack([recognizer.crop.from_chip(chip) for chip in chips])


def relative_error(found, wanted):
    return np.abs(found - wanted).max() / np.abs(wanted).max()


@pytest.mark.parametrize("name", ["dlib_resnet", *NAMES])
def test_reproduces_recorded_embeddings(assets, reference, name):
    recognizer = read_catalogue(folders=[CARDS])[name].load()
    embeddings = recognizer.embed(inputs(recognizer, reference)).numpy()
    assert relative_error(embeddings, reference[f"embedding_{name}"]) < 1e-5


@pytest.mark.parametrize("name", ONNX)
def test_equals_onnxruntime(assets, reference, name):
    onnxruntime = pytest.importorskip("onnxruntime")
    recognizer = load_recognizer(CARDS / f"{name}.toml")
    x = recognizer.preprocess(inputs(recognizer, reference))
    session = onnxruntime.InferenceSession(
        assets / "zoo" / f"{name}.onnx", providers=["CPUExecutionProvider"]
    )
    feed = session.get_inputs()[0].name
    wanted = np.concatenate(
        [session.run(None, {feed: face[None].numpy()})[0].reshape(1, -1) for face in x]
    )
    with torch.inference_mode():
        assert relative_error(recognizer.module(x).numpy(), wanted) < 1e-5


def test_cards_say_what_the_zoo_says(assets):
    zoo = json.loads((assets / "zoo" / "zoo.json").read_text())
    for name in NAMES:
        card, facts = read_card(CARDS / f"{name}.toml"), zoo[name]
        assert card.sha256 == facts["sha256"]
        assert card.license == facts["license"]
        assert list(card.input_size) == facts["input"]
        assert card.embedding_size == facts["dim"]

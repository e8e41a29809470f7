"""The eleven recognizers give the embeddings that were recorded from their original files."""

import json
import pickle
from dataclasses import replace
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
import pytest
import torch

from leam.faces.detection import find_face
from leam.recognizers.card import read_card
from leam.recognizers.catalogue import load_recognizer, read_catalogue

CARDS = Path(__file__).resolve().parents[2] / "examples" / "cards"
NAMES = sorted(path.stem for path in CARDS.glob("*.toml"))
ONNX = [name for name in NAMES if read_card(CARDS / f"{name}.toml").architecture == "onnx"]


LARGE = "mobilenet_v1_hse"


@pytest.fixture(scope="module")
def reference(assets):
    with (
        np.load(assets / "zoo" / "reference.npz") as arrays,
        np.load(assets / "zoo" / "reference_224.npz") as large,
    ):
        return {**arrays, **large, f"embedding_{LARGE}": large[LARGE]}


def inputs(recognizer, reference):
    if recognizer.name == LARGE:
        return reference["chips224"]
    chips = reference["chips150" if recognizer.card.template == "dlib" else "chips112"]
    return np.stack([recognizer.crop.from_chip(chip) for chip in chips])


def relative_error(found, wanted):
    return np.abs(found - wanted).max() / np.abs(wanted).max()


@pytest.mark.parametrize("name", ["dlib_resnet", *NAMES])
def test_reproduces_recorded_embeddings(assets, reference, name):
    recognizer = read_catalogue(folders=[CARDS])[name].load()
    embeddings = recognizer.embed(inputs(recognizer, reference)).numpy()
    assert relative_error(embeddings, reference[f"embedding_{name}"]) < 1e-5


@pytest.mark.parametrize("name", ["dlib_resnet", *NAMES])
def test_is_sent_to_another_process(assets, reference, name):
    """A worker of a study is a new process, which gets the recognizer as bytes."""
    recognizer = read_catalogue(folders=[CARDS])[name].load()
    sent = pickle.loads(bytes(ForkingPickler.dumps(recognizer)))
    face = inputs(recognizer, reference)[:1]
    assert torch.equal(sent.embed(face), recognizer.embed(face))


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


def test_an_input_of_224_pixels_is_cut_from_the_picture(assets, reference, detector):
    """The recorded chips were enlarged from 112 pixels, so a straight cut shows the same, a little sharper."""
    recognizer = load_recognizer(CARDS / f"{LARGE}.toml")
    faces = [
        find_face(assets / "lfw" / "people" / name, detector) for name in reference["pictures"]
    ]
    straight = np.stack([recognizer.crop.align(face).image for face in faces])
    enlarged = replace(recognizer.crop, resized_chip=True)
    wanted = reference["chips224"]
    np.testing.assert_array_equal([enlarged.align(face).image for face in faces], wanted)
    difference = np.abs(straight.astype(float) - wanted).mean(axis=(1, 2, 3))
    assert (difference > 0.3).all()
    assert (difference < 1.2).all()
    embeddings = recognizer.embed(straight).numpy()
    recorded = reference[f"embedding_{LARGE}"]
    lengths = np.linalg.norm(embeddings, axis=1) * np.linalg.norm(recorded, axis=1)
    assert ((embeddings * recorded).sum(axis=1) / lengths).min() > 0.995


def test_cards_say_what_the_zoo_says(assets):
    zoo = json.loads((assets / "zoo" / "zoo.json").read_text())
    for name in NAMES:
        card, facts = read_card(CARDS / f"{name}.toml"), zoo[name]
        assert card.sha256 == facts["sha256"]
        assert card.license == facts["license"]
        assert list(card.input_size) == facts["input"]
        assert card.embedding_size == facts["dim"]
        assert card.resized_chip == ("resize" in facts)


def test_every_card_names_its_family():
    families: dict[str | None, set[str]] = {}
    for name, entry in read_catalogue(folders=[CARDS]).items():
        families.setdefault(entry.card.family, set()).add(name)
    measured = {"dlib_resnet", *NAMES}
    assert {family: names & measured for family, names in families.items() if names & measured} == {
        "EdgeNeXt": {"edgeface_xs_q"},
        "MobileFace": {"mobileface_v2", "mobileface_v3"},
        "MobileFaceNet": {name for name in NAMES if name.startswith("mobilefacenet")},
        "MobileNet v1": {LARGE},
        "MobileNetV2+SE": {"face_reidentification_retail_0095"},
        "ResNet": {"dlib_resnet"},
    }
    assert None not in families

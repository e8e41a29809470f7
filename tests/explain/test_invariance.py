"""Maps depend on what a network computes, and not on how its file is written."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from torch import nn

from layouts import CORNERS, NETWORKS, SIZE, mass, network
from leam.explain.explainer import Explainer
from leam.explain.masks import critical_mask
from leam.recognizers.card import Card
from leam.recognizers.catalogue import load_recognizer, locate
from leam.recognizers.recognizer import Recognizer

ROOT = Path(__file__).resolve().parents[2]
SIDE = 32


def benchmark(name: str):
    """A module of the benchmarks, which are no package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert spec
    assert spec.loader
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


rewriting = benchmark("rewriting")


class Small(nn.Module):
    """Two blocks with normalisations, PReLUs with a slope for each channel, biases and a sum."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.PReLU(8)
        )
        self.block = nn.Sequential(
            nn.Conv2d(8, 8, 3, 1, 1, groups=8), nn.BatchNorm2d(8), nn.PReLU(8), nn.Conv2d(8, 8, 1)
        )
        self.last = nn.Sequential(nn.Conv2d(8, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.ReLU())
        self.fc = nn.Linear(6 * (SIDE // 4) ** 2, 16)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight)
                nn.init.normal_(module.bias)
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
            if isinstance(module, nn.PReLU):
                nn.init.uniform_(module.weight, -0.5, 1)

    def forward(self, x):
        x = self.stem(x)
        return self.fc(self.last(x + self.block(x)).flatten(1))


CARD = Card(name="small", input_size=(SIDE, SIDE))


@pytest.fixture(scope="module")
def small():
    module = Small().eval()
    return Recognizer(module, CARD), rewriting.exported(module, (SIDE, SIDE), traced=False)


def saved(card, model, folder):
    path = folder / "rewritten.onnx"
    path.write_bytes(model.SerializeToString())
    unchecked = {"architecture": "onnx", "file": str(path), "options": {}}
    return load_recognizer(card.model_copy(update={**unchecked, "sha256": None, "bytes": None}))


def compare(one, other, chips, layers="convolutions"):
    """The least overlap of critical masks, and the median over faces of the largest difference of maps."""
    before, after = (Explainer(each, layers=layers).explain(chips) for each in (one, other))
    masks = [critical_mask(maps.overall, 0.05) for maps in (before, after)]
    overlap = (masks[0] & masks[1]).sum(dim=(1, 2)) / masks[0].sum(dim=(1, 2))
    apart = (before.overall - after.overall).abs().amax(dim=(1, 2))
    return float(overlap.min()), float((apart / before.overall.amax(dim=(1, 2))).median())


@pytest.mark.parametrize("name", rewriting.REWRITINGS)
def test_a_rewritten_network_has_the_same_maps(small, name, tmp_path):
    recognizer, model = small
    if name in {"BatchNorm folded", "onnxruntime, basic"}:
        # The exporter has merged everything that they would merge.
        model = rewriting.normalised(model)
    other = rewriting.REWRITINGS[name](model)
    assert [node.op_type for node in other.graph.node] != [
        node.op_type for node in model.graph.node
    ]
    chips = np.random.default_rng(0).integers(0, 256, (4, SIDE, SIDE, 3), dtype=np.uint8)
    found = saved(CARD, other, tmp_path)
    overlap, apart = compare(recognizer, found, chips)
    assert overlap >= 0.99
    assert apart <= 1e-4
    if name == "BatchNorm inserted":
        # The network's own outputs are another layer.
        assert compare(recognizer, found, chips, "raw_convolutions")[0] < 0.9


@pytest.mark.parametrize("traced", [False, True])
def test_an_export_has_the_same_maps(small, traced, tmp_path):
    recognizer, _ = small
    model = rewriting.exported(recognizer.module, (SIDE, SIDE), traced=traced)
    chips = np.random.default_rng(0).integers(0, 256, (4, SIDE, SIDE, 3), dtype=np.uint8)
    overlap, apart = compare(recognizer, saved(CARD, model, tmp_path), chips)
    assert overlap >= 0.99
    assert apart <= 1e-4


@pytest.mark.parametrize(
    ("traced", "optimised"), [(False, ""), (True, ""), (False, "extended")], ids=str
)
@pytest.mark.parametrize("name", NETWORKS)
def test_exported_transformers_have_the_same_layers_and_maps(name, traced, optimised, tmp_path):
    """Also after onnxruntime's optimiser. The corners take turns, since exports are slow."""
    corner = CORNERS[(list(NETWORKS).index(name) + traced) % 4]
    card = Card(name="layouts", input_size=SIZE)
    recognizer = Recognizer(network(name, corner), card)
    model = rewriting.exported(recognizer.module, SIZE, traced=traced)
    if optimised:
        model = rewriting.optimised(optimised)(model)
    chips = np.random.default_rng(0).integers(0, 256, (2, *SIZE, 3), dtype=np.uint8)
    other = saved(card, model, tmp_path)
    one, two = Explainer(recognizer), Explainer(other)
    assert [layer.size for layer in one.layers] == [layer.size for layer in two.layers]
    overlap, apart = compare(recognizer, other, chips)
    assert overlap >= 0.99
    assert apart <= 1e-4
    assert (mass(two.explain(chips).overall, corner) >= 0.7).all()


CARDS = ROOT / "examples" / "cards"
NAMES = ["dlib_resnet", *sorted(path.stem for path in CARDS.glob("*.toml"))]


# Where an input of a ReLU is zero to seven digits, rounding decides on its side. In this network of ten million units
# that happens in most faces, and moves single pixels.
KINKS = {"mobilenet_v1_hse": 1e-2}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_rewritten_recognizer_has_the_same_maps(assets, name, tmp_path):
    recognizer = load_recognizer(name if name == "dlib_resnet" else CARDS / f"{name}.toml")
    card = recognizer.card
    with np.load(assets / "zoo" / "reference.npz") as arrays:
        chips = np.stack([resized(chip, card.input_size) for chip in arrays["chips112"]])
    if card.architecture == "onnx":
        model = onnx.load(locate(card, CARDS))
    else:
        model = rewriting.exported(recognizer.module, card.input_size, traced=True)
        assert compare(recognizer, saved(card, model, tmp_path), chips)[0] >= 0.99
    for rewrite in (rewriting.normalised, rewriting.optimised("extended")):
        overlap, apart = compare(recognizer, saved(card, rewrite(model), tmp_path), chips)
        assert overlap >= 0.99
        assert apart <= KINKS.get(name, 1e-3)


def resized(chip, size):
    return cv2.resize(chip, size[::-1])

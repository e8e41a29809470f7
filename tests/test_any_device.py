"""Everything that computes runs on a device other than the processor, with the same values: see ``accelerator.py``."""

from __future__ import annotations

import copy
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from accelerator import DEVICE, OtherDeviceError, Placed, accelerator
from kinds import KINDS, faces, module_of
from leam.demo import portraits
from leam.explain.aggregates import AGGREGATES
from leam.explain.backends import BACKENDS
from leam.explain.explainer import Explainer
from leam.explain.explanation import explain_faces
from leam.explain.memory import batch_size
from leam.explain.methods import METHODS, create_method
from leam.explain.person_explanation import explain_person
from leam.explain.targets import contrast_target, reference_target, self_target
from leam.explain.weightings import WEIGHTINGS
from leam.faces.detection import find_face
from leam.metrics.occlusion import occlusion_curve
from leam.parsers import load_parser
from leam.recognizers.card import Card
from leam.recognizers.catalogue import load_recognizer
from leam.recognizers.recognizer import Recognizer
from leam.study.engine import EngineOptions
from leam.study.run import run_study
from leam.study.store import RunFolder
from small import digests, plan_of, recognizer, write_faces
from tiny import TinyNet, wrap

CARDS = Path(__file__).resolve().parents[1] / "examples" / "cards"


@pytest.fixture
def device() -> Iterator[torch.device]:
    with accelerator() as found:
        yield found


def as_onnx(module: nn.Module, folder: Path) -> Recognizer:
    """The module by way of an ONNX file, whose shapes are computed on the processor."""
    stream = io.BytesIO()
    torch.onnx.export(
        module, (torch.zeros(2, 3, 16, 16),), stream, dynamo=False, opset_version=17,
        input_names=["x"], dynamic_axes={"x": {0: "batch"}},
    )  # fmt: skip
    (folder / "m.onnx").write_bytes(stream.getvalue())
    card = Card(name="onnx", architecture="onnx", file="m.onnx", input_size=(16, 16))
    return load_recognizer(card, folder=folder)


def on_cpu(tensor: Tensor) -> Tensor:
    """The values of a tensor that must be on the accelerator."""
    assert isinstance(tensor, Placed)
    return tensor.detach().cpu()


def assert_same(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(on_cpu(found), expected.detach(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("backend", list(BACKENDS))
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_module_is_embedded_and_explained(device, kind, backend):
    module, chips = module_of(kind), faces()
    here = wrap(copy.deepcopy(module), 16)
    there = wrap(module, 16, device=device)
    assert there.device == DEVICE
    assert_same(there.embed(chips), here.embed(chips))
    expected = Explainer(here, backend=backend).explain(chips)
    found = Explainer(there, backend=backend).explain(chips)
    assert found.backend == expected.backend
    assert [layer.name for layer in found.layers] == [layer.name for layer in expected.layers]
    assert_same(found.overall, expected.overall)
    for one, other in zip(found.layer_maps, expected.layer_maps, strict=True):
        assert_same(one, other)


@pytest.mark.parametrize("backend", list(BACKENDS))
@pytest.mark.parametrize("kind", ["tiny", "transformer", "channels_last", "normalised"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_every_kind_of_graph_is_embedded_and_explained(tmp_path, kind, backend):
    here, chips = as_onnx(module_of(kind), tmp_path), faces()
    expected = Explainer(here, backend=backend).explain(chips)
    # The importer predicts sizes with torch's own device of this name.
    there = load_recognizer(here.card, folder=tmp_path)
    with accelerator() as device:
        there.to(device)
        assert_same(there.embed(chips), here.embed(chips))
        found = Explainer(there, backend=backend).explain(chips)
        assert_same(found.overall, expected.overall)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["dlib_resnet", *sorted(path.stem for path in CARDS.glob("*.toml"))]
)
def test_real_recognizers(assets, name):
    source = name if name == "dlib_resnet" else CARDS / f"{name}.toml"
    here = load_recognizer(source, trust=True)
    chips = np.random.default_rng(0).integers(0, 256, (2, *here.card.input_size, 3), dtype=np.uint8)
    expected = Explainer(here).explain(chips)
    there = load_recognizer(source, trust=True)
    with accelerator() as device:
        found = Explainer(there.to(device)).explain(chips)
        assert_same(found.embeddings, expected.embeddings)
        assert_same(found.overall, expected.overall)


@pytest.mark.parametrize("backend", list(BACKENDS))
@pytest.mark.parametrize("weighting", list(WEIGHTINGS))
def test_every_weighting(device, weighting, backend):
    options, chips = {"weighting": weighting, "backend": backend}, faces(side=8)
    torch.manual_seed(0)
    module = TinyNet()
    expected = Explainer(wrap(copy.deepcopy(module)), **options).explain(chips)
    found = Explainer(wrap(module, device=device), **options).explain(chips)
    assert_same(found.overall, expected.overall)
    assert_same(found.at_input_size(), expected.at_input_size())
    assert on_cpu(found.empty).equal(expected.empty)


@pytest.mark.parametrize("aggregate", list(AGGREGATES))
def test_every_aggregate(device, aggregate):
    module, chips = module_of("normalised"), faces()
    expected = Explainer(wrap(copy.deepcopy(module), 16), aggregate=aggregate).explain(chips)
    found = Explainer(wrap(module, 16, device=device), aggregate=aggregate).explain(chips)
    assert_same(found.overall, expected.overall)


def targets(recognizer: Recognizer) -> dict[str, object]:
    mates = recognizer.embed(faces()[::-1].copy())
    return {
        "self": self_target,
        "reference": reference_target(mates, "cosine"),
        "euclidean": reference_target(mates, "euclidean"),
        "contrast": contrast_target(mates, mates.flip(0)[:, None], "cosine"),
    }


@pytest.mark.parametrize("name", ["self", "reference", "euclidean", "contrast"])
def test_every_target_and_portions(device, name):
    module = module_of("tiny")
    here = wrap(copy.deepcopy(module), 16)
    there = wrap(module, 16, device=device, batch_size=2)
    expected = Explainer(here).explain(faces(), targets(here)[name])
    found = Explainer(there).explain(faces(), targets(there)[name])
    assert_same(found.overall, expected.overall)
    assert_same(found.scores, expected.scores)
    assert batch_size(there, Explainer(there).layers, memory=1 << 30) > 1


@pytest.mark.parametrize("method", list(METHODS))
def test_every_method(device, method):
    module = module_of("normalised")
    here, there = wrap(copy.deepcopy(module), 16), wrap(module, 16, device=device)
    expected = create_method(method, here).explain(faces(2), targets_of(here))
    found = create_method(method, there).explain(faces(2), targets_of(there))
    torch.testing.assert_close(found.overall.cpu(), expected.overall, rtol=1e-4, atol=1e-6)


def targets_of(recognizer: Recognizer) -> object:
    return reference_target(recognizer.embed(faces(2)[::-1].copy()), "cosine")


def test_similarity_drops(device):
    module, chips = module_of("tiny"), faces()
    curves = []
    for one in (wrap(copy.deepcopy(module), 16), wrap(module, 16, device=device)):
        clean = one.embed(chips)
        maps = Explainer(one).explain(chips).overall
        curves.append(occlusion_curve(chips, maps, clean.flip(0), one.embed, "cosine"))
    torch.testing.assert_close(curves[1], curves[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["compact", "bisenet", "segformer", "facer"])
def test_parsers(detector, name, tmp_path, monkeypatch):
    face = find_face(portraits()["Grace Hopper"], detector)
    make = parsers(name, tmp_path, monkeypatch)
    expected = make("cpu").parse(face, Recognizer(nn.Identity(), Card(name="m")).crop)
    with accelerator() as device:
        parser = make(device)
        assert parser.device == DEVICE
        found = parser.parse(face, Recognizer(nn.Identity(), Card(name="m")).crop)
    assert (found.labels == expected.labels).all()
    np.testing.assert_allclose(found.confidence, expected.confidence, atol=1e-6)


def parsers(name, folder, monkeypatch):
    """How to load a parser; those whose weights are not in the package have random ones."""
    torch.manual_seed(0)
    if name == "bisenet":
        from leam.parsers.builtin.bisenet import BiSeNet

        path = folder / "bisenet.pt"
        torch.save(BiSeNet((2, 2, 2, 2)).state_dict(), path)
        monkeypatch.setenv("LEAM_BISENET", str(path))
    if name == "segformer":
        transformers = pytest.importorskip("transformers")
        names = ["background", "skin", "nose", "hair"]
        config = transformers.SegformerConfig(
            num_labels=4, id2label=dict(enumerate(names)), depths=[1] * 4, hidden_sizes=[8] * 4,
            decoder_hidden_size=8, num_attention_heads=[1] * 4,
        )  # fmt: skip
        transformers.SegformerForSemanticSegmentation(config).save_pretrained(folder)
        monkeypatch.setenv("LEAM_SEGFORMER", str(folder))
    if name == "facer":
        # The values of script modules are out of Python's reach: a module stands for the script.
        module = nn.Sequential(nn.Conv2d(3, 19, 3, padding=1), Several()).eval()
        monkeypatch.setattr(torch.jit, "load", lambda *_args, **_more: copy.deepcopy(module))
        (folder / "facer.pt").write_bytes(b"script")
        monkeypatch.setenv("LEAM_FACER", str(folder / "facer.pt"))
    return lambda device: load_parser(name, device)


class Several(nn.Module):
    """Scores, and something beside them."""

    def forward(self, x: Tensor) -> tuple[Tensor, int]:
        return x, 1


def test_explanations_and_person_maps(detector, tmp_path):
    found = [find_face(path, detector) for path in portraits().values()]
    module, parser = TinyNet(24), load_parser("landmarks")
    card = Card(name="tiny", input_size=(24, 24))
    records = []
    with accelerator() as device:
        for one in (Recognizer(copy.deepcopy(module), card), Recognizer(module, card, device)):
            explainer = Explainer(one)
            made = explain_faces(found[:2], explainer, parser, references=found[1::-1])
            made[0].save(tmp_path / str(one.device))
            person = explain_person(found[:2], explainer, parser)
            person.save(tmp_path / f"person {one.device}")
            records.append((made[0].record(), person.record()))
    (here, person_here), (there, person_there) = records
    assert (here.device, there.device, there.precision) == ("cpu", "meta", "float32")
    assert there.regions == here.regions
    assert person_there.regions == person_here.regions


@pytest.mark.slow
def test_a_study_of_everything(tmp_path):
    write_faces(tmp_path / "faces")
    settings = {
        "controls": ("scattered", "moved", "centre", "lowest", "edges"), "effect": True,
        "transfer": True, "subset": 2, "person_maps": ("mean",), "parser": "compact",
        "second_parser": "landmarks", "target": "contrast",
    }  # fmt: skip
    runs = {}
    for name in ("cpu", "meta"):
        models = [recognizer("one"), recognizer("two", 1)]
        plan = plan_of(tmp_path / "faces", *models, **settings)
        folder = RunFolder(tmp_path / name)
        with accelerator() as device:
            chosen = device if name == "meta" else "cpu"
            run_study(plan, models, folder, options=EngineOptions(device=chosen))
        assert folder.devices() == {"one": [name], "two": [name]}
        runs[name] = digests(folder.path)
        assert runs[name].pop("summary.json")
    assert runs["meta"] == runs["cpu"]


class TestTheDeviceItself:
    """What fails on a GPU fails here."""

    @pytest.mark.parametrize(
        "wrong",
        [
            lambda there, here: there + here,
            lambda there, here: torch.cat([there, here]),
            lambda there, here: nn.functional.linear(here, there),
            lambda there, here: here[there.long()],
            lambda there, here: torch.where(there > 0, here, there),
            lambda there, here: there.masked_fill_(here > 0, 0),
            lambda there, here: torch.stack([here, there]),
        ],
    )
    def test_two_devices_do_not_mix(self, device, wrong):
        with pytest.raises((OtherDeviceError, RuntimeError)):
            wrong(torch.zeros(2, 2, device=device), torch.zeros(2, 2))

    @pytest.mark.parametrize(
        "wrong",
        [torch.Tensor.numpy, np.asarray, torch.Tensor.double],
    )
    def test_what_needs_the_processor_fails(self, device, wrong):
        with pytest.raises((OtherDeviceError, RuntimeError, TypeError)):
            wrong(torch.zeros(2, device=device))

    def test_what_may_cross_crosses(self, device):
        there = torch.arange(6.0, device=device).view(2, 3)
        assert (there * torch.tensor(2.0)).cpu().tolist() == [[0, 2, 4], [6, 8, 10]]
        assert there[torch.tensor([1])].tolist() == [[3, 4, 5]]
        assert there[[0], 1].tolist() == [1]
        assert float(there.sum()) == 15
        there.copy_(torch.ones(2, 3))
        assert there.tolist() == [[1] * 3] * 2
        copied = there.cpu()
        copied += 1
        assert there.tolist() == [[1] * 3] * 2

    def test_a_network_that_makes_tensors_on_the_processor_is_caught(self, device):
        class Careless(TinyNet):
            def forward(self, x: Tensor) -> Tensor:
                return super().forward(x + torch.ones(3, 1, 1))

        with pytest.raises(OtherDeviceError, match="tensors on several devices"):
            wrap(Careless(), device=device).embed(faces(side=8))

"""A GPU gives what the processor gives. These tests run where there is one; the others use a fake device."""

from __future__ import annotations

import copy
import time

import numpy as np
import pytest
import torch

from kinds import KINDS, faces, module_of
from leam.demo import portraits
from leam.devices import resolve
from leam.explain.backends import BACKENDS
from leam.explain.explainer import Explainer
from leam.explain.methods import METHODS, create_method
from leam.faces.detection import find_face
from leam.parsers import load_parser
from leam.recognizers.catalogue import load_recognizer
from leam.study.engine import EngineOptions
from leam.study.run import run_study
from leam.study.store import RunFolder
from small import plan_of, recognizer, write_faces
from tiny import wrap

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("gpu"),
    pytest.mark.skipif(
        not torch.cuda.is_available() and not torch.backends.mps.is_available(), reason="no GPU"
    ),
]
_TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def gpu() -> torch.device:
    return resolve("auto")


def assert_same(found: torch.Tensor, expected: torch.Tensor) -> None:
    limit = _TOLERANCE * float(expected.abs().max())
    torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=limit)


@pytest.mark.parametrize("backend", list(BACKENDS))
@pytest.mark.parametrize("kind", KINDS)
def test_small_networks(gpu, kind, backend):
    module = module_of(kind)
    here, there = wrap(copy.deepcopy(module), 16), wrap(module, 16, device=gpu)
    assert_same(there.embed(faces()), here.embed(faces()))
    expected = Explainer(here, backend=backend).explain(faces())
    assert_same(Explainer(there, backend=backend).explain(faces()).overall, expected.overall)


@pytest.mark.parametrize("backend", list(BACKENDS))
def test_dlib_resnet_and_images_per_second(gpu, backend, capsys):
    here, there = load_recognizer("dlib_resnet"), load_recognizer("dlib_resnet", device=gpu)
    chips = faces(64, here.card.input_size[0])
    assert_same(there.embed(chips), here.embed(chips))
    expected = Explainer(here, backend=backend).explain(chips[:8])
    explainer = Explainer(there, backend=backend)
    assert_same(explainer.explain(chips[:8]).overall, expected.overall)
    for name, run in (("embed", there.embed), ("explain", explainer.explain)):
        run(chips)
        start = time.perf_counter()
        for _ in range(5):
            run(chips)
        torch.zeros(1, device=gpu).cpu()
        speed = 5 * len(chips) / (time.perf_counter() - start)
        with capsys.disabled():
            print(f"{gpu} {backend} {name}: {speed:.0f} images a second")  # noqa: T201  what the test is for


def test_bfloat16(gpu):
    exact = load_recognizer("dlib_resnet", device=gpu)
    fast = load_recognizer("dlib_resnet", device=gpu, precision="bfloat16")
    chips = faces(8, exact.card.input_size[0])
    assert torch.cosine_similarity(fast.embed(chips), exact.embed(chips)).min() > 0.99
    assert not Explainer(fast).explain(chips).overall_empty.any()


@pytest.mark.parametrize("method", list(METHODS))
def test_every_method(gpu, method):
    module = module_of("normalised")
    here, there = wrap(copy.deepcopy(module), 16), wrap(module, 16, device=gpu)
    for one in (here, there):
        assert one.embed(faces()).device == one.device
    if METHODS[method].compares:
        pytest.skip("needs pairs")
    expected = create_method(method, here).explain(faces(2))
    assert_same(create_method(method, there).explain(faces(2)).overall, expected.overall)


def test_the_compact_parser(gpu, detector):
    face = find_face(portraits()["Grace Hopper"], detector)
    crop = load_recognizer("dlib_resnet").crop
    expected = load_parser("compact").parse(face, crop)
    found = load_parser("compact", gpu).parse(face, crop)
    assert (found.labels == expected.labels).mean() > 0.999
    assert np.abs(found.confidence - expected.confidence).mean() < _TOLERANCE


def test_a_study(gpu, tmp_path):
    write_faces(tmp_path / "faces")
    model, folder = recognizer(), RunFolder(tmp_path / "run")
    plan = plan_of(tmp_path / "faces", model)
    run_study(plan, [model], folder, options=EngineOptions(device="auto", workers=2))
    (names,) = folder.devices().values()
    assert all(name.startswith(gpu.type) for name in names)

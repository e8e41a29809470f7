import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from leam.errors import WeightsError
from leam.parsers import load_parser
from leam.parsers.builtin.bisenet import canonical, normalised, read_bisenet
from leam.parsers.regions import ORDERS, translate

MANIFESTS = Path(__file__).parents[1] / "manifests"


def random_state(layout, seed=0):
    """Random weights with the names and shapes of a public checkpoint."""
    generator = torch.Generator().manual_seed(seed)
    manifest = json.loads((MANIFESTS / f"{layout}.json").read_text())
    state = {}
    for name, shape in manifest.items():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(7)
        elif name.endswith("running_var"):
            state[name] = torch.ones(shape)
        elif name.endswith("running_mean"):
            state[name] = torch.zeros(shape)
        else:
            fan = max(1, int(np.prod(shape[1:])))
            state[name] = torch.randn(shape, generator=generator) * (2 / fan) ** 0.5
    return state


@pytest.mark.parametrize("layout", ["zllrunning", "yakhyo_resnet18", "yakhyo_resnet34"])
def test_each_layout_loads_and_scores_every_class(layout, tmp_path):
    torch.save(random_state(layout), tmp_path / "face.pth")
    parser = read_bisenet(tmp_path / "face.pth")
    assert parser.labels == translate(ORDERS["bisenet"])
    with torch.inference_mode():
        scores = parser.network(torch.rand(1, 3, 64, 64) * 255)
    assert scores.shape == (1, 19, 64, 64)
    assert scores.isfinite().all()


def test_the_original_has_as_many_bytes_as_the_public_file():
    """zllrunning's 79999_iter.pth has 53,289,463 bytes: the tensors and some packing."""
    manifest = json.loads((MANIFESTS / "zllrunning.json").read_text())
    sizes = [
        (8 if name.endswith("num_batches_tracked") else 4) * int(np.prod(shape))
        for name, shape in manifest.items()
    ]
    assert 0 < 53_289_463 - sum(sizes) < 100_000


def test_both_layouts_of_one_network_are_one_network(tmp_path):
    """The same tensors under either project's names give the same scores."""
    ours = canonical(random_state("zllrunning"))
    theirs = canonical(random_state("yakhyo_resnet18", seed=1))
    assert ours.keys() == theirs.keys()
    assert {name: value.shape for name, value in ours.items()} == {
        name: value.shape for name, value in theirs.items()
    }
    torch.save(random_state("zllrunning"), tmp_path / "one.pth")
    torch.save({"state_dict": {f"module.{k}": v for k, v in ours.items()}}, tmp_path / "other.pt")
    picture = torch.rand(1, 3, 64, 64) * 255
    with torch.inference_mode():
        one = read_bisenet(tmp_path / "one.pth").network(picture)
        other = read_bisenet(tmp_path / "other.pt").network(picture)
    torch.testing.assert_close(one, other)


def test_an_onnx_graph_runs_on_normalised_pictures(tmp_path):
    """A graph that copies red to class 0 and green to class 1 shows what reaches it."""
    pytest.importorskip("onnxruntime")
    weight = np.zeros((19, 3, 1, 1), dtype=np.float32)
    weight[0, 0], weight[1, 1] = 1, 1
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["input", "weight"], ["output"]),
            helper.make_node("Identity", ["output"], ["coarse"]),
        ],
        "bisenet",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 8, 8])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 19, 8, 8])
            for name in ("output", "coarse")
        ],
        [helper.make_tensor("weight", TensorProto.FLOAT, weight.shape, weight.ravel())],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "face.onnx")
    scores = read_bisenet(tmp_path / "face.onnx").network(torch.full((1, 3, 8, 8), 255.0))
    np.testing.assert_allclose(
        scores[0, :3, 0, 0], [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, 0], 1e-5
    )


def test_imagenet_normalisation_by_hand():
    picture = torch.tensor([124.0, 116, 104])[None, :, None, None]
    expected = [
        (124 / 255 - 0.485) / 0.229,
        (116 / 255 - 0.456) / 0.224,
        (104 / 255 - 0.406) / 0.225,
    ]
    np.testing.assert_allclose(normalised(picture).ravel(), expected, atol=1e-6)


def test_errors_name_the_file_and_the_key(tmp_path, monkeypatch):
    monkeypatch.setenv("LEAM_BISENET", str(tmp_path / "none.pth"))
    with pytest.raises(WeightsError, match=r"none\.pth, named by LEAM_BISENET, does not exist"):
        load_parser("bisenet")

    state = random_state("yakhyo_resnet18")
    del state["ffm.conv1.weight"]
    torch.save(state, tmp_path / "short.pt")
    with pytest.raises(WeightsError, match=r"short\.pt: .*missing ffm\.conv1\.weight"):
        read_bisenet(tmp_path / "short.pt")

    state = random_state("yakhyo_resnet18")
    state["conv_out.conv.weight"] = torch.zeros(11, 256, 1, 1)
    torch.save(state, tmp_path / "eleven.pt")
    with pytest.raises(WeightsError, match=r"conv_out\.conv\.weight has shape \(11, 256, 1, 1\)"):
        read_bisenet(tmp_path / "eleven.pt")

    (tmp_path / "text.pth").write_text("weights")
    with pytest.raises(WeightsError, match=r"text\.pth: "):
        read_bisenet(tmp_path / "text.pth")
    (tmp_path / "text.onnx").write_text("graph")
    with pytest.raises(WeightsError, match="not an ONNX graph"):
        read_bisenet(tmp_path / "text.onnx")


def test_a_pickle_is_refused_and_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return Path.touch, (tmp_path / "touched",)

    torch.save({"state_dict": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(WeightsError, match="opening it could run code"):
        read_bisenet(tmp_path / "evil.pth")
    assert not (tmp_path / "touched").exists()

"""The native networks: they read the public layouts, and their ONNX exports equal them."""

import re
import warnings
from importlib.util import find_spec

import pytest
import torch
from torch import nn

from leam.errors import CardError, ModelError, WeightsError
from leam.recognizers.architectures.inception_resnet_v1 import InceptionResNetV1
from leam.recognizers.architectures.iresnet import IResNet
from leam.recognizers.architectures.mobilefacenet import MobileFaceNet
from leam.recognizers.card import Card
from leam.recognizers.catalogue import load_recognizer

pytestmark = pytest.mark.slow


def randomised(module):
    """Give every parameter and statistic a value that shows when it lands in the wrong place."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if value.is_floating_point():
                low = 0.5 if value.ndim == 1 and "running_mean" not in name else -0.05
                value.copy_(torch.rand(value.shape, generator=generator) * 0.1 + low)
    return module.eval()


def load(state, tmp_path, **fields):
    torch.save(state, tmp_path / "c.pth")
    return load_recognizer(Card(name="mine", file=str(tmp_path / "c.pth"), **fields)).module


def same(module, other, size=(112, 112)):
    x = torch.rand((2, 3, *size), generator=torch.Generator().manual_seed(1)) - 0.5
    with torch.no_grad():
        wanted = other(x)
        return (module(x) - wanted).abs().max() < 1e-5 * wanted.abs().max()


def as_adaface(name, counts):
    """A name of arcface_torch's layout in AdaFace's."""
    singles = {"conv1": "input_layer.0", "bn1": "input_layer.1", "prelu": "input_layer.2"}
    singles |= {"bn2": "output_layer.0", "fc": "output_layer.3", "features": "output_layer.4"}
    order = ["bn1", "conv1", "bn2", "prelu", "conv2", "bn3"]
    parts = {part: f"res_layer.{place}" for place, part in enumerate(order)}
    parts |= {f"downsample.{i}": f"shortcut_layer.{i}" for i in range(2)}
    if found := re.fullmatch(r"layer(\d)\.(\d+)\.(.+)\.(\w+)", name):
        stage, block, part, what = found.groups()
        return f"body.{sum(counts[: int(stage) - 1]) + int(block)}.{parts[part]}.{what}"
    part, _, what = name.rpartition(".")
    return f"{singles[part]}.{what}"


@pytest.mark.parametrize("prefix", ["", "module.", "features.module."])
def test_iresnet_reads_arcface_torch_and_its_successors(tmp_path, prefix):
    network = randomised(IResNet(18))
    state = {prefix + name: value for name, value in network.state_dict().items()}
    # MagFace's wrapper has a classifier called fc, as the network has a layer.
    state["fc.weight" if prefix else "head.weight"] = torch.ones(4)
    checkpoint = {"epoch": 3, "state_dict": state} if prefix else state
    module = load(checkpoint, tmp_path, architecture="iresnet", options={"depth": 18})
    assert same(module, network)


def test_iresnet_reads_adaface(tmp_path):
    network = randomised(IResNet(18, subsampled=True))
    nn.init.ones_(network.features.weight)
    nn.init.zeros_(network.features.bias)
    state = {
        f"model.{as_adaface(name, (2, 2, 2, 2))}": value
        for name, value in network.state_dict().items()
    }
    for last in ("weight", "bias"):
        del state[f"model.output_layer.4.{last}"]
    checkpoint = {"state_dict": state | {"head.kernel": torch.ones(4)}}
    module = load(checkpoint, tmp_path, architecture="iresnet", options={"depth": 18})
    assert same(module, network)


def test_magfaces_eps_is_an_option(tmp_path):
    state = randomised(IResNet(18)).state_dict()
    module = load(state, tmp_path, architecture="iresnet", options={"depth": 18, "eps": 2e-5})
    assert {layer.eps for layer in module.modules() if isinstance(layer, nn.BatchNorm2d)} == {2e-5}


@pytest.mark.parametrize(("depth", "parameters"), [(18, 24.0), (34, 34.1), (50, 43.6), (100, 65.2)])
def test_iresnet_has_the_size_that_is_published(depth, parameters):
    with torch.device("meta"):
        network = IResNet(depth)
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(parameters, abs=0.06)


def test_depth_that_is_unknown_or_wrong_is_said_so(tmp_path):
    state = randomised(IResNet(18)).state_dict()
    with pytest.raises(CardError, match=r"options.depth is 20; available: 18, 34, 50, 100"):
        load(state, tmp_path, architecture="iresnet", options={"depth": 20})
    with pytest.raises(
        WeightsError, match=r"not a checkpoint of IResNet: missing layer1.2.bn1.weight, .* more$"
    ):
        load(state, tmp_path, architecture="iresnet", options={"depth": 34})


def test_inception_resnet_reads_facenet_pytorch_without_its_classifier(tmp_path):
    network = randomised(InceptionResNetV1())
    state = network.state_dict() | {
        "logits.weight": torch.ones(9, 512),
        "logits.bias": torch.ones(9),
    }
    module = load(state, tmp_path, architecture="inception_resnet_v1", input_size=(160, 160))
    assert same(module, network, (160, 160))
    embeddings = module(torch.rand(2, 3, 160, 160))
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(2))
    # The count that facenet-pytorch's network has without its classifier.
    assert sum(p.numel() for p in network.parameters()) == 23_482_624


def test_mobilefacenet_reads_insightface_pytorchs_own_names(tmp_path):
    """Its last layer is fully connected there; the two other layouts are real files of the zoo."""
    network = randomised(MobileFaceNet(embedding_size=64))
    groups = [
        ("conv_23", 1),
        ("conv_3", 4),
        ("conv_34", 1),
        ("conv_4", 6),
        ("conv_45", 1),
        ("conv_5", 2),
    ]
    blocks = [g if n == 1 else f"{g}.model.{i}" for g, n in groups for i in range(n)]
    parts = {"expand": "conv", "depthwise": "conv_dw", "project": "project"}
    tops = {"stem": "conv1", "depthwise": "conv2_dw", "widen": "conv_6_sep", "pool": "conv_6_dw"}

    def theirs(name):
        if found := re.fullmatch(r"blocks\.(\d+)\.(\w+)\.(.+)", name):
            return f"{blocks[int(found[1])]}.{parts[found[2]]}.{found[3]}"
        name = name.replace("embed.conv", "linear").replace("embed.bn", "bn")
        first, _, rest = name.partition(".")
        return f"{tops.get(first, first)}.{rest}"

    state = {theirs(name): value for name, value in network.state_dict().items()}
    state["linear.weight"] = state["linear.weight"].flatten(1)
    assert same(load(state, tmp_path, architecture="mobilefacenet"), network)


@pytest.mark.parametrize(
    ("network", "side"),
    [
        (IResNet(18), 112),
        (IResNet(18, subsampled=True), 112),
        (InceptionResNetV1(), 160),
        (MobileFaceNet(), 112),
    ],
    ids=["iresnet", "iresnet_subsampled", "inception_resnet_v1", "mobilefacenet"],
)
def test_onnx_export_equals_the_network(tmp_path, network, side):
    randomised(network)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network, torch.rand(1, 3, side, side), str(tmp_path / "m.onnx"), dynamo=False
        )
    card = Card(
        name="m", architecture="onnx", file=str(tmp_path / "m.onnx"), input_size=(side, side)
    )
    assert same(load_recognizer(card).module, network, (side, side))


@pytest.mark.skipif(find_spec("timm") is not None, reason="timm is installed")
def test_edgeface_without_timm_says_what_to_install(tmp_path):
    with pytest.raises(ModelError, match=r"mine: EdgeFace needs timm .*leam-xai\[edgeface\]"):
        load({"stem.0.weight": torch.ones(1)}, tmp_path, architecture="edgeface")


def test_edgeface_size_is_checked(tmp_path):
    with pytest.raises(ModelError, match=r"options.size is 'tiny', not one of xx_small"):
        load(
            {"stem.0.weight": torch.ones(1)},
            tmp_path,
            architecture="edgeface",
            options={"size": "tiny"},
        )

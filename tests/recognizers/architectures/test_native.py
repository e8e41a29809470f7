"""The native networks: they read the public layouts, and their ONNX exports equal them."""

import re
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn
from torch.nn import functional

import public_networks as layouts
from leam.errors import CardError, ModelError, WeightsError
from leam.recognizers.architectures.inception_resnet_v1 import InceptionResNetV1
from leam.recognizers.architectures.iresnet import BlockForm, IResNet
from leam.recognizers.architectures.mobilefacenet import MobileFaceNet
from leam.recognizers.card import Card, read_card
from leam.recognizers.catalogue import load_recognizer
from leam.recognizers.recognizer import Recognizer
from public_networks import scrambled

CARDS = Path(__file__).resolve().parents[3] / "examples" / "cards"

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


def normalized(module):
    """The module, its embeddings at length 1, as some of the originals give them."""
    return lambda x: functional.normalize(module(x))


def same(module, other, size=(112, 112)):
    kind = next(other.parameters()).dtype if isinstance(other, nn.Module) else torch.float32
    x = (torch.rand((2, 3, *size), generator=torch.Generator().manual_seed(1)) - 0.5).to(kind)
    with torch.no_grad():
        wanted = other(x)
        return (module(x) - wanted).abs().max() < 1e-5 * wanted.abs().max()


@pytest.mark.parametrize("depth", [18, 34, 50, 200])
def test_iresnet_reads_arcface_torch(tmp_path, depth):
    network = scrambled(layouts.Staged(depth))
    module = load(network.state_dict(), tmp_path, architecture="iresnet")
    assert same(module, network)


@pytest.mark.parametrize("prefix", ["module.", "features.module."])
def test_iresnet_reads_magface(tmp_path, prefix):
    """Its epsilon differs, which small variances show; its wrapper has a classifier called fc, as the network has."""
    network = scrambled(layouts.Staged(18, eps=2e-5))
    with torch.no_grad():
        network.bn2.running_var.fill_(1e-5)
    state = {prefix + name: value for name, value in network.state_dict().items()}
    checkpoint = {"epoch": 3, "state_dict": state | {"fc.weight": torch.ones(4)}}
    options = {} if prefix == "features.module." else {"eps": 2e-5}
    assert same(load(checkpoint, tmp_path, architecture="iresnet", options=options), network)


@pytest.mark.parametrize(("depth", "excited"), [(50, None), (50, "numbered"), (152, None)])
def test_iresnet_reads_insightface_pytorch(tmp_path, depth, excited):
    network = scrambled(layouts.Flat(depth, "bare", excited))
    module = load(network.state_dict(), tmp_path, architecture="iresnet")
    assert same(normalized(module), network)


@pytest.mark.parametrize(
    ("depth", "kind", "excited", "prefix"),
    [
        (18, "basic", None, "net."),
        (100, "basic", None, "model."),
        (50, "basic", "named", "model.net."),
        (152, "bottleneck", None, "model."),
    ],
)
def test_iresnet_reads_adaface_and_cvlface(tmp_path, depth, kind, excited, prefix):
    network = scrambled(layouts.Flat(depth, kind, excited, affine=False))
    state = {prefix + name: value for name, value in network.state_dict().items()}
    checkpoint = {"state_dict": state | {"head.kernel": torch.ones(4)}}
    assert same(normalized(load(checkpoint, tmp_path, architecture="iresnet")), network)


@pytest.mark.parametrize(("depth", "parameters"), [(18, 24.0), (34, 34.1), (50, 43.6), (100, 65.2)])
def test_iresnet_has_the_size_that_is_published(depth, parameters):
    with torch.device("meta"):
        network = IResNet(depth)
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(parameters, abs=0.06)


def test_depth_that_is_unknown_or_wrong_is_said_so(tmp_path):
    state = scrambled(layouts.Staged(18)).state_dict()
    with pytest.raises(
        CardError, match=r"options.depth is 20; available: 18, 34, 50, 100, 152, 200"
    ):
        load(state, tmp_path, architecture="iresnet", options={"depth": 20})
    with pytest.raises(CardError, match=r"options.depth is 34, but .*c.pth has depth 18"):
        load(state, tmp_path, architecture="iresnet", options={"depth": 34})
    load(state, tmp_path, architecture="iresnet", options={"depth": 18})


def test_a_depth_that_was_never_published_is_a_warning(tmp_path, caplog):
    state = scrambled(layouts.Staged(18)).state_dict()
    load(state, tmp_path, architecture="iresnet")
    assert "published" not in caplog.text
    state = {name: value for name, value in state.items() if "layer3.1." not in name}
    load(state, tmp_path, architecture="iresnet")
    assert "has stages of 2, 2, 1, 2 blocks, which no published IResNet has" in caplog.text


@pytest.mark.parametrize(
    ("network", "architecture", "name"),
    [
        (layouts.Staged(18), "iresnet", "fc.weight"),
        (layouts.Flat(50, "bare"), "iresnet", "output_layer.3.weight"),
        (layouts.Foamliu(), "mobilefacenet", "gdconv.depthwise.weight"),
    ],
    ids=["staged", "flat", "foamliu"],
)
def test_another_input_size_or_grey_pictures_are_refused_with_the_way_out(
    tmp_path, network, architecture, name
):
    state = network.state_dict()
    with pytest.raises(
        WeightsError, match=rf"{name} has shape .*; .* correct input_size in the card$"
    ):
        load(state, tmp_path, architecture=architecture, input_size=(128, 112))
    first = next(key for key, value in state.items() if value.ndim == 4)
    state[first] = state[first][:, :1].clone()
    with pytest.raises(
        WeightsError, match=rf'{first} has shape .* grey .* write channels = "GRAY"$'
    ):
        load(state, tmp_path, architecture=architecture)


def test_iresnet_takes_inputs_of_any_size(tmp_path):
    network = layouts.Staged(18)
    network.fc = torch.nn.Linear(512 * 8 * 7, 512)
    network = scrambled(network)
    module = load(network.state_dict(), tmp_path, architecture="iresnet", input_size=(120, 100))
    assert same(module, network, (120, 100))


def test_errors_quote_the_names_in_the_file(tmp_path):
    state = {f"net.{name}": value for name, value in layouts.Flat(18, "basic").state_dict().items()}
    del state["net.body.3.res_layer.4.weight"]
    state["net.body.3.res_layer.conv.weight"] = torch.ones(3)
    with pytest.raises(
        WeightsError,
        match=r"missing net.body.3.res_layer.4.weight; unexpected net.body.3.res_layer.conv.weight$",
    ):
        load(state, tmp_path, architecture="iresnet")
    state = layouts.Foamliu().state_dict()
    state["gdconv.bn.weight"] = torch.ones(7)
    with pytest.raises(WeightsError, match=r"gdconv.bn.weight has shape \(7,\), not \(512,\)"):
        load(state, tmp_path, architecture="mobilefacenet")


@pytest.mark.parametrize(
    "name", ["mobilefacenet", "iresnet", "vit", "ghostfacenet", "inception_resnet_v1"]
)
def test_a_checkpoint_of_another_network_is_said_so(tmp_path, name):
    state = {"layer.0.weight": torch.zeros(4, 3), "layer.0.bias": torch.zeros(4)}
    with pytest.raises(
        WeightsError,
        match=r"c.pth: not a checkpoint of \w+, which has .*; it contains layer.0.weight, layer.0.bias$",
    ):
        load(state, tmp_path, architecture=name)


def test_a_part_of_a_foamliu_checkpoint_is_named_as_it_is(tmp_path):
    state = {"conv1.0.weight": torch.zeros(64, 3, 3, 3), "conv1.1.weight": torch.zeros(64)}
    state |= {
        "conv2.weight": torch.zeros(512, 128, 1, 1),
        "conv3.weight": torch.zeros(128, 512, 1, 1),
    }
    with pytest.raises(WeightsError, match=r"missing conv1.1.bias, .*; unexpected conv2.weight$"):
        load(state, tmp_path, architecture="mobilefacenet")
    del state["conv3.weight"]
    with pytest.raises(WeightsError, match=r"missing conv3.weight; it contains conv1.0.weight, "):
        load(state, tmp_path, architecture="mobilefacenet")


VITS = {
    "arcface_torch vit_t": ((9, 256, 12, 8, 4), {}),
    "without masks": ((9, 256, 12, 8, 4), {"mask": False}),
    "arcface_torch vit_s": ((9, 512, 12, 8, 4), {}),
    "cvlface base": ((8, 512, 24, 16, 3), {}),
    "batch normalisation": ((14, 256, 12, 8, 4), {"norm": "bn", "bias": True}),
}


@pytest.mark.parametrize(("sizes", "options"), VITS.values(), ids=VITS)
def test_vit_reads_arcface_torch_and_cvlface(tmp_path, sizes, options):
    network = scrambled(layouts.Transformer(*sizes, **options))
    state = {f"net.{name}": value for name, value in network.state_dict().items()}
    # In float32, rounding alone moves the embeddings of the network with batch normalisation by 0.5 %.
    assert same(load(state, tmp_path, architecture="vit").double(), network.double())


def test_vit_of_unpublished_size_asks_for_its_heads(tmp_path):
    network = scrambled(layouts.Transformer(14, 48, 2, 6, 4))
    with pytest.raises(
        CardError, match=r"48 channels and 2 blocks is not known; write it in options.heads"
    ):
        load(network.state_dict(), tmp_path, architecture="vit")
    assert same(
        load(network.state_dict(), tmp_path, architecture="vit", options={"heads": 6}), network
    )
    other = load(network.state_dict(), tmp_path, architecture="vit", options={"heads": 3})
    assert not same(other, network)


def test_vit_for_another_input_and_with_key_points_is_said_so(tmp_path):
    state = layouts.Transformer(14, 256, 1, 8, 4).state_dict()
    with pytest.raises(
        WeightsError, match=r"pos_embed has 64 tokens, but an input of 128x128 .* 9x9 patches"
    ):
        load(state, tmp_path, architecture="vit", input_size=(128, 128))
    state["blocks.0.attn.rpe_k.lookup_table_weight"] = torch.ones(3)
    with pytest.raises(WeightsError, match=r"relative positions \(blocks.0.attn.rpe_k"):
        load(state, tmp_path, architecture="vit")


GHOSTS = {
    "deepface": layouts.DeepfaceGhost,
    "ellzaf version 1": lambda: layouts.Ellzaf(1, 1.3),
    "ellzaf version 2": lambda: layouts.Ellzaf(2),
    "ellzaf with a classifier": lambda: layouts.Ellzaf(2, classes=9),
    "ellzaf with a small kernel": lambda: layouts.Ellzaf(1, kernel=1),
}


@pytest.mark.parametrize("make", GHOSTS.values(), ids=GHOSTS)
def test_ghostfacenet_reads_its_ports(tmp_path, make):
    network = scrambled(make())
    assert same(load(network.state_dict(), tmp_path, architecture="ghostfacenet"), network)


def test_ghostfacenet_for_another_input_is_said_so(tmp_path):
    with pytest.raises(
        WeightsError, match=r"another input size than 160: gdc_dw.weight has 7x7 pixels"
    ):
        load(
            layouts.DeepfaceGhost().state_dict(),
            tmp_path,
            architecture="ghostfacenet",
            input_size=(160, 160),
        )


def test_mobilefacenet_reads_foamliu(tmp_path):
    network = scrambled(layouts.Foamliu())
    assert same(load(network.state_dict(), tmp_path, architecture="mobilefacenet"), network)


def test_foamlius_own_weights_give_the_embeddings_of_its_onnx_file(tmp_path, assets):
    """In its graph, normalisations are merged into convolutions; here they only add the biases."""
    graph = onnx.load(assets / "zoo" / "mobilefacenet_foamliu.onnx").graph
    stored = {
        entry.name: torch.tensor(onnx.numpy_helper.to_array(entry)) for entry in graph.initializer
    }
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    network = layouts.Foamliu()
    state = network.state_dict()
    layers = [name for name, value in state.items() if value.ndim == 4]
    # The file's order is that of the computation; the state dict's is that of the attributes.
    order = [n for n in layers if n.startswith(("conv1", "dw_conv"))]
    order += [n for n in layers if n.startswith("features")] + [
        "conv2.0.weight",
        "gdconv.depthwise.weight",
        "conv3.weight",
    ]
    scale = (1 + network.bn.eps) ** 0.5
    for name in state:
        if name.endswith(("bias", "running_mean")):
            state[name].zero_()
        elif state[name].ndim == 1:
            state[name].fill_(1 if name.endswith("var") else scale)
    norms = {
        "dw_conv.depthwise": "dw_conv.bn1",
        "dw_conv.pointwise": "dw_conv.bn2",
        "gdconv.depthwise": "gdconv.bn",
        "conv3": "bn",
    }
    for name, node in zip(order, convolutions, strict=True):
        layer = name.removesuffix(".weight")
        head, _, last = layer.rpartition(".")
        norm = norms.get(layer) or f"{head}.{int(last) + 1}"
        state[name] = stored[node.input[1]]
        state[f"{norm}.bias"] = stored[node.input[2]]
    module = load(state, tmp_path, architecture="mobilefacenet")
    with np.load(assets / "zoo" / "reference.npz") as recorded:
        chips, wanted = recorded["chips112"], recorded["embedding_mobilefacenet_foamliu"]
    card = read_card(CARDS / "mobilefacenet_foamliu.toml")
    found = Recognizer(module, card).embed(chips).numpy()
    assert np.abs(found - wanted).max() < 1e-5 * np.abs(wanted).max()


@pytest.mark.parametrize(("blocks", "scale"), [((1, 4, 6, 2), 2), ((2, 8, 12, 4), 4)])
def test_mobilefacenet_reads_arcface_torch(tmp_path, blocks, scale):
    network = scrambled(layouts.arcface_torch_mobilefacenet(blocks, scale))
    assert same(load(network.state_dict(), tmp_path, architecture="mobilefacenet"), network)


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
        (IResNet(18, form=BlockForm("bare", subsampled=True, squeezed=True)), 112),
        (InceptionResNetV1(), 160),
        (MobileFaceNet(), 112),
    ],
    ids=["iresnet", "ir_se", "inception_resnet_v1", "mobilefacenet"],
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

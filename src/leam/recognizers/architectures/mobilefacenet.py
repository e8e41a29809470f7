"""MobileFaceNet, in the layouts of the public checkpoints.

Chen et al., "MobileFaceNets: Efficient CNNs for Accurate Real-Time Face Verification on Mobile Devices", CCBR 2018.
Five layouts are known: Xiaoccer/MobileFaceNet_Pytorch; TreB1eN/InsightFace_Pytorch; bubbliiiing/arcface-pytorch, with
other names for the latter's last layers; InsightFace's arcface_torch, which is wider; and foamliu/MobileFaceNet, which
has ReLU6 instead of PReLU and one more convolution. Widths and the number of blocks are read from the file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from torch import Tensor, nn

from leam.recognizers.architectures import architecture
from leam.recognizers.card import Card
from leam.weights.checkpoints import Weights, fill, find_weights, fitting

# Inner width, output width and stride of each block.
_BLOCKS = (
    (128, 64, 2), *((128, 64, 1),) * 4,
    (256, 128, 2), *((256, 128, 1),) * 6,
    (512, 128, 2), *((256, 128, 1),) * 2,
)  # fmt: skip
_WIDTH = 512
_FOAMLIU, _ARCFACE_TORCH, _XIAOCCER = (
    "conv1.0.weight",
    "layers.0.layers.0.weight",
    "blocks.0.conv.0.weight",
)
# The first layer in each layout; Xiaoccer's and InsightFace_Pytorch's have the same name.
_MARKERS = ("conv1.conv.weight", _FOAMLIU, _ARCFACE_TORCH)
# InsightFace_Pytorch's groups of blocks, and how many blocks each has.
_GROUPS = (
    ("conv_23", 1),
    ("conv_3", 4),
    ("conv_34", 1),
    ("conv_4", 6),
    ("conv_45", 1),
    ("conv_5", 2),
)
_PLACES = {"conv": 0, "bn": 1, "prelu": 2}
_PARTS = {"expand": 0, "depthwise": 1, "project": 2}


@dataclass(frozen=True)
class Activation:
    """Which activations the network has: PReLU, or ReLU6 with ReLU around the first depthwise convolution."""

    learned: bool = True

    def after(self, width: int, *, capped: bool = True) -> tuple[str, nn.Module]:
        """The name and the layer of an activation."""
        if self.learned:
            return "prelu", nn.PReLU(width)
        return "relu", nn.ReLU6() if capped else nn.ReLU()


class Unit(nn.Sequential):
    """Convolution, batch normalisation and, unless linear, an activation."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int | tuple[int, int] = 1,
        stride: int = 1,
        *,
        groups: int = 1,
        bias: bool = False,
        activation: tuple[str, nn.Module] | None = None,
    ) -> None:
        super().__init__()
        # Only 3x3 kernels are padded; the last kernel covers the whole map and reduces it to one pixel.
        padding = 1 if kernel == 3 else 0  # noqa: PLR2004
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=bias)
        self.bn = nn.BatchNorm2d(outputs)
        if activation:
            self.add_module(*activation)


class Block(nn.Module):
    """An inverted residual block: expansion, depthwise convolution, projection."""

    def __init__(
        self, inputs: int, inner: int, outputs: int, stride: int, activation: Activation
    ) -> None:
        super().__init__()
        self.expand = Unit(inputs, inner, activation=activation.after(inner))
        self.depthwise = Unit(
            inner, inner, 3, stride, groups=inner, activation=activation.after(inner)
        )
        self.project = Unit(inner, outputs)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, h, w)`` to ``(B, C', h', w')``."""
        y: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + y if self.residual else y


class MobileFaceNet(nn.Module):
    """``(B, 3, h, w)`` to embeddings ``(B, D)``, not normalised.

    Args:
        size: Height and width of the input, multiples of 16.
        embedding_size: ``D``.
        blocks: Inner width, output width and stride of each block.
        width: Channels before the blocks.
        groups: Groups of the second convolution: 64 also in wider networks. None if blocks take its place.
        learned: PReLU; otherwise foamliu's variant, with ReLU6 and one more convolution before the blocks.
    """

    def __init__(
        self,
        size: tuple[int, int] = (112, 112),
        embedding_size: int = 128,
        blocks: Sequence[tuple[int, int, int]] = _BLOCKS,
        width: int = 64,
        groups: int | None = 64,
        *,
        learned: bool = True,
    ) -> None:
        super().__init__()
        activation = Activation(learned)
        self.stem = Unit(3, width, 3, 2, activation=activation.after(width))
        self.depthwise: nn.Module = nn.Identity()
        if groups is not None:
            after = activation.after(width, capped=False)
            self.depthwise = Unit(width, width, 3, groups=groups, activation=after)
        self.pointwise: nn.Module = nn.Identity()
        if not learned:
            self.pointwise = Unit(width, width, activation=activation.after(width, capped=False))
        built = []
        for inner, outputs, stride in blocks:
            built.append(Block(width, inner, outputs, stride, activation))
            width = outputs
        self.blocks = nn.Sequential(*built)
        self.widen = Unit(width, _WIDTH, activation=activation.after(_WIDTH))
        self.pool = Unit(_WIDTH, _WIDTH, (size[0] // 16, size[1] // 16), groups=_WIDTH)
        self.embed = Unit(_WIDTH, embedding_size, bias=not learned)

    def forward(self, x: Tensor) -> Tensor:
        """Embeddings ``(B, D)`` of ``(B, 3, h, w)``."""
        x = self.widen(self.blocks(self.pointwise(self.depthwise(self.stem(x)))))
        embeddings: Tensor = self.embed(self.pool(x))
        return embeddings.flatten(1)


@architecture("mobilefacenet", options=("weights",))
def build(card: Card, path: Path) -> nn.Module:
    """Build the network with the weights of a public checkpoint of any of the layouts.

    Card option: ``weights``, one of several sets of weights in the file.

    Raises:
        WeightsError: The file does not hold this network.
    """
    weights = find_weights(path, _MARKERS, card.options.get("weights"), network="MobileFaceNet")
    if _FOAMLIU in weights.tensors:
        names: Callable[[str], str] = _foamliu_name
        size = weights.shape("conv3.weight")[0]
        module = MobileFaceNet(card.input_size, size, learned=False)
    elif _ARCFACE_TORCH in weights.tensors:
        with fitting(path):
            module, names = _arcface_torch(weights, card.input_size)
    else:
        names = _xiaoccer_name if _XIAOCCER in weights.tensors else _insightface_name(weights)
        size = weights.shape(names("embed.conv.weight"))[0]
        module = MobileFaceNet(card.input_size, size)
    sized = ("pool.conv.weight",)
    fill(module, weights.tensors, path, names=names, prefix=weights.prefix, sized=sized)
    return module


def _xiaoccer_name(name: str) -> str:
    """Xiaoccer's name for a tensor of ours: the layers of a block are a flat sequence."""
    if found := re.fullmatch(r"blocks\.(\d+)\.(\w+)\.(\w+)\.(\w+)", name):
        block, part, layer, what = found.groups()
        return f"blocks.{block}.conv.{3 * _PARTS[part] + _PLACES[layer]}.{what}"
    tops = {
        "stem": "conv1",
        "depthwise": "dw_conv1",
        "widen": "conv2",
        "pool": "linear7",
        "embed": "linear1",
    }
    first, _, rest = name.partition(".")
    return f"{tops[first]}.{rest}"


def _insightface_name(weights: Weights) -> Callable[[str], str]:
    """InsightFace_Pytorch's name for a tensor of ours, or arcface-pytorch's if the file has its last layers."""
    blocks = [
        group if number == 1 else f"{group}.model.{i}"
        for group, number in _GROUPS
        for i in range(number)
    ]
    parts = {"expand": "conv", "depthwise": "conv_dw", "project": "project"}
    tops = {"stem": "conv1", "depthwise": "conv2_dw"}
    lasts = {
        "widen": "conv_6_sep", "pool": "conv_6_dw", "embed.conv": "linear", "embed.bn": "bn",
    }  # fmt: skip
    if "last_bn.weight" in weights.tensors:
        lasts = {
            "widen.conv": "sep", "widen.bn": "sep_bn", "widen.prelu": "prelu",
            "pool.conv": "GDC_dw", "pool.bn": "GDC_bn", "embed.conv": "features", "embed.bn": "last_bn",
        }  # fmt: skip

    def theirs(name: str) -> str:
        if found := re.fullmatch(r"blocks\.(\d+)\.(\w+)\.(.+)", name):
            return f"{blocks[int(found[1])]}.{parts[found[2]]}.{found[3]}"
        for ours, others in (tops | lasts).items():
            if name.startswith(f"{ours}."):
                return others + name.removeprefix(ours)
        raise AssertionError(name)

    return theirs


def _foamliu_name(name: str) -> str:
    """Name of a tensor of ours in foamliu's layout."""
    if found := re.fullmatch(r"blocks\.(\d+)\.(\w+)\.(\w+)\.(\w+)", name):
        block, part, layer, what = found.groups()
        place = 2 + _PLACES[layer] if part == "project" else f"{_PARTS[part]}.{_PLACES[layer]}"
        return f"features.{block}.conv.{place}.{what}"
    layer, _, what = name.rpartition(".")
    return {
        "stem.conv": "conv1.0",
        "stem.bn": "conv1.1",
        "depthwise.conv": "dw_conv.depthwise",
        "depthwise.bn": "dw_conv.bn1",
        "pointwise.conv": "dw_conv.pointwise",
        "pointwise.bn": "dw_conv.bn2",
        "widen.conv": "conv2.0",
        "widen.bn": "conv2.1",
        "pool.conv": "gdconv.depthwise",
        "pool.bn": "gdconv.bn",
        "embed.conv": "conv3",
        "embed.bn": "bn",
    }[layer] + f".{what}"


def _arcface_torch(
    weights: Weights, size: tuple[int, int]
) -> tuple[MobileFaceNet, Callable[[str], str]]:
    """The network of a checkpoint of arcface_torch, and the names there.

    Its layers are a list: the stem, a depthwise convolution or a group of blocks, and alternately a block of stride 2
    and a group of blocks.
    """
    single = "layers.1.layers.0.weight" in weights.tensors
    blocks = []
    for layer in range(2 if single else 1, 8):
        group = f"layers.{layer}.layers"
        if layer % 2 == 0:
            blocks.append((group, 2))
            continue
        numbers = (
            n for n in count() if f"{group}.{n}.layers.0.layers.0.weight" not in weights.tensors
        )
        blocks += [(f"{group}.{i}.layers", 1) for i in range(next(numbers))]
    forms = [
        (
            weights.shape(f"{block}.0.layers.0.weight")[0],
            weights.shape(f"{block}.2.layers.0.weight")[0],
            stride,
        )
        for block, stride in blocks
    ]
    width = weights.shape(_ARCFACE_TORCH)[0]
    groups = width // weights.shape("layers.1.layers.0.weight")[1] if single else None
    embedding_size = weights.shape("features.layers.2.weight")[0]
    tops = {"stem": "layers.0.layers", "depthwise": "layers.1.layers", "widen": "conv_sep.layers"}
    tops |= {"pool": "features.layers.0.layers"}
    lasts = {"embed.conv": "features.layers.2", "embed.bn": "features.layers.3"}

    def theirs(name: str) -> str:
        if found := re.fullmatch(r"blocks\.(\d+)\.(\w+)\.(\w+)\.(\w+)", name):
            block, part, layer, what = found.groups()
            return f"{blocks[int(block)][0]}.{_PARTS[part]}.layers.{_PLACES[layer]}.{what}"
        unit, layer, what = name.split(".")
        return f"{lasts.get(f'{unit}.{layer}') or f'{tops[unit]}.{_PLACES[layer]}'}.{what}"

    return MobileFaceNet(size, embedding_size, forms, width, groups), theirs

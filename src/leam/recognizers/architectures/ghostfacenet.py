"""GhostFaceNet, in the layouts of its PyTorch ports.

Alansari et al., "GhostFaceNets: Lightweight Face Recognition Model From Cheap Operations", IEEE Access 2023. The
original is a Keras model. Two layouts are known: that of deepface, whose weights are the original's, and that of
ellzaf_ml (versions 1 and 2), which is meant for training; they differ in padding, gates and normalisation. Widths,
kernels, strides and the layers of each block are read from the file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from leam.errors import WeightsError
from leam.recognizers.architectures import architecture
from leam.recognizers.card import Card
from leam.weights.checkpoints import Weights, fill, find_weights, fitting

# The first layer in each layout, and the classifier of ellzaf_ml's.
_DEEPFACE, _ELLZAF = "stem.conv.weight", "conv_stem.weight"
_HEAD = "classifier.linear"


@dataclass(frozen=True)
class Dialect:
    """How a port computes what the shapes of its weights leave open.

    Attributes:
        same: TensorFlow's padding, which is larger at the right and bottom if the stride is 2.
        slope: Slope of the hard sigmoid in gates: 0.2 in Keras, 1/6 in torch.
        eps: Epsilon of the batch normalisations of maps; that of the embedding differs.
        last_eps: Epsilon of the embedding's batch normalisation.
    """

    same: bool
    slope: float
    eps: float
    last_eps: float


_KERAS = Dialect(same=True, slope=0.2, eps=1e-3, last_eps=1e-3)
_TORCH = Dialect(same=False, slope=1 / 6, eps=1e-5, last_eps=1e-5)


class Reader:
    """Builds layers from the shapes in a file.

    Args:
        weights: The file's tensors.
        names: From our names to the file's.
        dialect: What the shapes leave open.
    """

    def __init__(self, weights: Weights, names: Callable[[str], str], dialect: Dialect) -> None:
        self.weights, self.names, self.dialect = weights, names, dialect

    def has(self, name: str) -> bool:
        """Whether the file has a tensor with our name."""
        return self.names(name) in self.weights.tensors

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor with our name."""
        return self.weights.shape(self.names(name))

    def conv(self, name: str, inputs: int, stride: int = 1, *, padded: bool = True) -> nn.Conv2d:
        """A convolution of ``inputs`` channels."""
        outputs, part, *kernel = self.shape(f"{name}.weight")
        size = kernel[0], kernel[1]
        if not padded:
            padding: str | tuple[int, int] = (0, 0)
        else:
            padding = size[0] // 2, size[1] // 2
        groups = inputs // part
        bias = self.has(f"{name}.bias")
        if padded and self.dialect.same and stride > 1:
            return SameConv(inputs, outputs, size, stride, groups=groups, bias=bias)
        return nn.Conv2d(inputs, outputs, size, stride, padding, groups=groups, bias=bias)

    def linear(self, name: str, inputs: int, stride: int = 1, *, padded: bool = True) -> Unit:
        """A convolution with its normalisation."""
        conv = self.conv(f"{name}.conv", inputs, stride, padded=padded)
        unit = Unit()
        unit.add_module("conv", conv)
        unit.add_module("bn", nn.BatchNorm2d(conv.out_channels, self.dialect.eps))
        return unit

    def unit(self, name: str, inputs: int, stride: int = 1) -> Unit:
        """A convolution with its normalisation and, if the file has one, its PReLU."""
        unit = self.linear(name, inputs, stride)
        if self.has(f"{name}.prelu.weight"):
            unit.add_module("prelu", self.prelu(f"{name}.prelu"))
        return unit

    def prelu(self, name: str) -> nn.PReLU:
        """A PReLU with one slope, or one for each channel."""
        return nn.PReLU(self.shape(f"{name}.weight")[0])


class Unit(nn.Sequential):
    """Convolution, batch normalisation and perhaps PReLU."""

    @property
    def width(self) -> int:
        """Number of output channels."""
        conv = self.get_submodule("conv")
        assert isinstance(conv, nn.Conv2d)  # noqa: S101  Reader puts it there
        return conv.out_channels


class SameConv(nn.Conv2d):
    """A convolution with TensorFlow's ``same`` padding."""

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, h, w)`` to ``(B, C', ceil(h / stride), ceil(w / stride))``."""
        pads: list[int] = []
        for side, kernel, stride in zip(
            x.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True
        ):
            pad = max((math.ceil(side / stride) - 1) * stride + kernel - side, 0)
            pads += [pad // 2, pad - pad // 2]
        return super().forward(functional.pad(x, pads))


class Gate(nn.Module):
    """Squeeze and excitation with a hard sigmoid."""

    def __init__(self, reader: Reader, name: str, width: int) -> None:
        super().__init__()
        self.reduce = reader.conv(f"{name}.reduce", width)
        self.prelu = reader.prelu(f"{name}.prelu")
        self.expand = reader.conv(f"{name}.expand", self.reduce.out_channels)
        self.slope = reader.dialect.slope

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, h, w)`` to the same shape."""
        gate = self.expand(self.prelu(self.reduce(x.mean(dim=(2, 3), keepdim=True))))
        out: Tensor = x * (gate * self.slope + 0.5).clamp(0, 1)
        return out


class Ghost(nn.Module):
    """Half of the channels from a convolution, the other half from a depthwise one after it.

    In version 2, a gate is computed on the map at half its size, with long thin kernels: Tang et al., "GhostNetV2",
    NeurIPS 2022.
    """

    def __init__(self, reader: Reader, name: str, inputs: int) -> None:
        super().__init__()
        self.primary = reader.unit(f"{name}.primary", inputs)
        self.cheap = reader.unit(f"{name}.cheap", self.primary.width)
        self.attention: nn.Sequential | None = None
        if reader.has(f"{name}.attention.0.conv.weight"):
            units, width = [], inputs
            for place in range(3):
                units.append(reader.linear(f"{name}.attention.{place}", width))
                width = units[-1].width
            self.attention = nn.Sequential(*units)

    @property
    def width(self) -> int:
        """Number of output channels."""
        return self.primary.width + self.cheap.width

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, h, w)`` to ``(B, C', h, w)``."""
        primary = self.primary(x)
        out = torch.cat([primary, self.cheap(primary)], dim=1)
        if self.attention is None:
            return out
        gate = self.attention(functional.avg_pool2d(x, 2, 2)).sigmoid()
        gated: Tensor = out * functional.interpolate(gate, size=out.shape[-2:], mode="nearest")
        return gated


class Bottleneck(nn.Module):
    """Two ghost modules; between them, perhaps a depthwise convolution of stride 2 and a gate."""

    def __init__(self, reader: Reader, name: str, inputs: int) -> None:
        super().__init__()
        stride = 2 if reader.has(f"{name}.down.conv.weight") else 1
        self.ghost1 = Ghost(reader, f"{name}.ghost1", inputs)
        width = self.ghost1.width
        self.down: nn.Module = nn.Identity()
        if stride > 1:
            self.down = reader.linear(f"{name}.down", width, stride)
        self.gate: nn.Module = nn.Identity()
        if reader.has(f"{name}.gate.reduce.weight"):
            self.gate = Gate(reader, f"{name}.gate", width)
        self.ghost2 = Ghost(reader, f"{name}.ghost2", width)
        self.shortcut: nn.Module = nn.Identity()
        if reader.has(f"{name}.shortcut.0.conv.weight"):
            self.shortcut = nn.Sequential(
                reader.linear(f"{name}.shortcut.0", inputs, stride),
                reader.linear(f"{name}.shortcut.1", inputs),
            )

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, h, w)`` to ``(B, C', h', w')``."""
        y: Tensor = self.ghost2(self.gate(self.down(self.ghost1(x))))
        out: Tensor = y + self.shortcut(x)
        return out


class GhostFaceNet(nn.Module):
    """``(B, 3, h, w)`` to embeddings ``(B, D)``, not normalised."""

    def __init__(self, reader: Reader, count: int, stride: int) -> None:
        super().__init__()
        self.stem = reader.unit("stem", 3, stride)
        blocks, width = [], self.stem.width
        for number in range(count):
            block = Bottleneck(reader, f"blocks.{number}", width)
            blocks.append(block)
            width = block.ghost2.width
        self.blocks = nn.Sequential(*blocks)
        self.tail = reader.unit("tail", width)
        self.pool = reader.linear("pool", self.tail.width, padded=False)
        self.embed = reader.conv("embed", self.tail.width)
        self.last = nn.BatchNorm1d(reader.shape("last.weight")[0], reader.dialect.last_eps)

    def forward(self, x: Tensor) -> Tensor:
        """Embeddings ``(B, D)`` of ``(B, 3, h, w)``."""
        x = self.pool(self.tail(self.blocks(self.stem(x))))
        embeddings: Tensor = self.last(self.embed(x).flatten(1))
        return embeddings


@architecture("ghostfacenet", options=("weights",))
def build(card: Card, path: Path) -> nn.Module:
    """Build the network with the weights of a checkpoint.

    Card option: ``weights``, one of several sets of weights in the file.

    Raises:
        WeightsError: The file does not hold this network, or one for another input size.
    """
    weights = find_weights(
        path, (_DEEPFACE, _ELLZAF), card.options.get("weights"), network="GhostFaceNet"
    )
    if _DEEPFACE in weights.tensors:
        blocks = _numbers(weights, r"bottlenecks\.(\d+)\.")
        reader = Reader(weights, _deepface_name, _KERAS)
    else:
        blocks = _numbers(weights, r"blocks\.(\d+\.\d+)\.ghost1\.")
        reader = Reader(weights, _ellzaf_name(blocks), _TORCH)
    with fitting(path):
        stride = _stem_stride(reader, len(blocks), card.input_size[0])
        module = GhostFaceNet(reader, len(blocks), stride)
    fill(module, weights.tensors, path, heads=(_HEAD,), names=reader.names, prefix=weights.prefix)
    return module


def _numbers(weights: Weights, pattern: str) -> list[str]:
    """The numbers of the blocks, in their order."""
    found = {match[1] for name in weights.tensors if (match := re.match(pattern, name))}
    return sorted(found, key=lambda number: [int(part) for part in number.split(".")])


def _stem_stride(reader: Reader, blocks: int, side: int) -> int:
    """The stride of the first layer, which the shapes show only through the size of the last map."""
    kernel = reader.shape("pool.conv.weight")[2]
    rest = math.isqrt(reader.shape("last.weight")[0] // reader.shape("embed.weight")[0])
    for stride in (1, 2):
        last = math.ceil(side / stride)
        for number in range(blocks):
            last = math.ceil(last / 2) if reader.has(f"blocks.{number}.down.conv.weight") else last
        if last - kernel + 1 == rest:
            return stride
    raise WeightsError(
        f"{reader.weights.path}: made for another input size than {side}: "
        f"{reader.weights.prefix}{reader.names('pool.conv.weight')} has {kernel}x{kernel} pixels"
    )


_DEEPFACE_TOPS = {
    "pool.conv": "gdc_dw",
    "pool.bn": "gdc_bn",
    "embed": "gdc_conv",
    "last": "pre_embedding",
}
_DEEPFACE_PARTS = {"ghost1": "ghost_1", "ghost2": "ghost_2", "down": "downsample", "gate": "se"}


def _deepface_name(name: str) -> str:
    """The name in deepface's layout."""
    if found := re.fullmatch(r"blocks\.(\d+)\.(\w+)\.(.+)", name):
        number, part, rest = found.groups()
        return f"bottlenecks.{number}.{_DEEPFACE_PARTS.get(part, part)}.{rest}"
    layer, _, what = name.rpartition(".")
    return f"{_DEEPFACE_TOPS.get(layer, layer)}.{what}"


def _ellzaf_name(blocks: list[str]) -> Callable[[str], str]:
    """From our names to those in ellzaf_ml's layout, where blocks with these numbers are grouped by stage."""
    tail = f"blocks.{int(blocks[-1].partition('.')[0]) + 1}.0" if blocks else "blocks"
    tops = {
        "stem.conv": "conv_stem", "stem.bn": "bn1", "stem.prelu": "act1",
        "tail.conv": f"{tail}.conv", "tail.bn": f"{tail}.bn1", "tail.prelu": f"{tail}.act1",
        "pool.conv": "classifier.conv_dw", "pool.bn": "classifier.bn1",
        "embed": "classifier.conv", "last": "classifier.bn2",
    }  # fmt: skip
    places = {"conv": 0, "bn": 1, "prelu": 2}
    parts = {
        "gate.reduce": "se.conv_reduce", "gate.prelu": "se.act1", "gate.expand": "se.conv_expand",
        "down.conv": "conv_dw", "down.bn": "bn_dw",
        "ghost1.primary": "ghost1.primary_conv", "ghost1.cheap": "ghost1.cheap_operation",
        "ghost2.primary": "ghost2.primary_conv", "ghost2.cheap": "ghost2.cheap_operation",
    }  # fmt: skip

    def theirs(name: str) -> str:
        layer, _, what = name.rpartition(".")
        if layer in tops:
            return f"{tops[layer]}.{what}"
        _, number, rest = layer.split(".", 2)
        block = f"blocks.{blocks[int(number)]}"
        if rest in parts:
            return f"{block}.{parts[rest]}.{what}"
        unit, _, kind = rest.rpartition(".")
        if unit in parts:
            return f"{block}.{parts[unit]}.{places[kind]}.{what}"
        # A flat sequence of convolutions and normalisations.
        sequence, _, place = unit.rpartition(".")
        sequence = sequence.replace("attention", "short_conv")
        return f"{block}.{sequence}.{2 * int(place) + places[kind]}.{what}"

    return theirs

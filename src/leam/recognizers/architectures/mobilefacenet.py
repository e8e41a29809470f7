"""MobileFaceNet, in the layouts of the public checkpoints.

Chen et al., "MobileFaceNets: Efficient CNNs for Accurate Real-Time Face Verification on Mobile
Devices", CCBR 2018. Three layouts of one network are known: Xiaoccer/MobileFaceNet_Pytorch,
TreB1eN/InsightFace_Pytorch, and bubbliiiing/arcface-pytorch, which renames the latter's last
layers.
"""

from __future__ import annotations

import re
from pathlib import Path

from torch import Tensor, nn

from leam.recognizers.architectures import architecture
from leam.recognizers.card import Card
from leam.weights.checkpoints import fill, read_state, without_prefix

# Inner width, output width and stride of each block.
_BLOCKS = (
    (128, 64, 2), *((128, 64, 1),) * 4,
    (256, 128, 2), *((256, 128, 1),) * 6,
    (512, 128, 2), *((256, 128, 1),) * 2,
)  # fmt: skip
_WIDTH = 512
# Index of the first block of each group in InsightFace_Pytorch's layout.
_GROUPS = {"conv_23": 0, "conv_3": 1, "conv_34": 5, "conv_4": 6, "conv_45": 12, "conv_5": 13}
_PARTS = {"conv": "expand", "conv_dw": "depthwise", "project": "project"}
# Our names for the layers outside blocks, for all layouts.
_SINGLES = {
    "conv1": "stem",
    "dw_conv1": "depthwise",
    "conv2": "widen",
    "linear7": "pool",
    "linear1": "embed",
    "conv2_dw": "depthwise",
    "conv_6_sep": "widen",
    "conv_6_dw": "pool",
    "linear": "embed.conv",
    "bn": "embed.bn",
    "sep": "widen.conv",
    "sep_bn": "widen.bn",
    "prelu": "widen.prelu",
    "GDC_dw": "pool.conv",
    "GDC_bn": "pool.bn",
    "features": "embed.conv",
    "last_bn": "embed.bn",
}
# Our names for the elements of Xiaoccer's blocks, which are flat sequences.
_PLACES = ("expand.conv", "expand.bn", "expand.prelu", "depthwise.conv", "depthwise.bn",
           "depthwise.prelu", "project.conv", "project.bn")  # fmt: skip


class Unit(nn.Sequential):
    """Convolution without bias, batch normalisation and, unless linear, PReLU."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int | tuple[int, int] = 1,
        stride: int = 1,
        *,
        groups: int = 1,
        linear: bool = False,
    ) -> None:
        super().__init__()
        # Only 3x3 kernels are padded; the last kernel covers the whole map and reduces it to one pixel.
        padding = 1 if kernel == 3 else 0  # noqa: PLR2004
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        if not linear:
            self.prelu = nn.PReLU(outputs)


class Block(nn.Module):
    """An inverted residual block: expansion, depthwise convolution, projection."""

    def __init__(self, inputs: int, inner: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.expand = Unit(inputs, inner)
        self.depthwise = Unit(inner, inner, 3, stride, groups=inner)
        self.project = Unit(inner, outputs, linear=True)
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
    """

    def __init__(self, size: tuple[int, int] = (112, 112), embedding_size: int = 128) -> None:
        super().__init__()
        self.stem = Unit(3, 64, 3, 2)
        self.depthwise = Unit(64, 64, 3, groups=64)
        blocks, width = [], 64
        for inner, outputs, stride in _BLOCKS:
            blocks.append(Block(width, inner, outputs, stride))
            width = outputs
        self.blocks = nn.Sequential(*blocks)
        self.widen = Unit(width, _WIDTH)
        self.pool = Unit(_WIDTH, _WIDTH, (size[0] // 16, size[1] // 16), groups=_WIDTH, linear=True)
        self.embed = Unit(_WIDTH, embedding_size, linear=True)

    def forward(self, x: Tensor) -> Tensor:
        """Embeddings ``(B, D)`` of ``(B, 3, h, w)``."""
        x = self.widen(self.blocks(self.depthwise(self.stem(x))))
        embeddings: Tensor = self.embed(self.pool(x))
        return embeddings.flatten(1)


@architecture("mobilefacenet", options=())
def build(card: Card, path: Path) -> nn.Module:
    """Build the network with the weights of a public checkpoint of any of the layouts.

    Raises:
        WeightsError: The file does not hold this network.
    """
    found = without_prefix(read_state(path), "conv1.conv.weight")
    state = {_our_name(name): value for name, value in found.items()}
    last = state.get("embed.conv.weight")
    if last is not None and last.ndim == 2:  # noqa: PLR2004  a fully connected layer, not 1x1
        state["embed.conv.weight"] = last[:, :, None, None]
    size = card.embedding_size or (128 if last is None else len(last))
    module = MobileFaceNet(card.input_size, size)
    fill(module, state, path)
    return module


def _our_name(name: str) -> str:
    """Our name for a key of any of the layouts."""
    first, _, rest = name.partition(".")
    if first == "blocks" and (found := re.fullmatch(r"(\d+)\.conv\.([0-7])\.(\w+)", rest)):
        block, place, what = found.groups()
        return f"blocks.{block}.{_PLACES[int(place)]}.{what}"
    if first in _GROUPS and (found := re.fullmatch(r"(?:model\.(\d+)\.)?(\w+)\.(.+)", rest)):
        block, part, what = found.groups()
        return f"blocks.{_GROUPS[first] + int(block or 0)}.{_PARTS.get(part, part)}.{what}"
    return f"{_SINGLES.get(first, first)}.{rest}"

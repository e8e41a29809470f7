"""IResNet, the backbone of ArcFace and its successors, in the layouts of the public checkpoints.

Deng et al., "ArcFace", CVPR 2019; Duta et al., "Improved Residual Networks", ICPR 2020. Two layouts
are known: that of InsightFace's arcface_torch (ArcFace, CosFace, MagFace, ElasticFace), and the IR
layout of AdaFace, whose shortcuts of unchanged width are bare subsampling.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor, nn

from leam.errors import CardError
from leam.recognizers.architectures import architecture
from leam.recognizers.card import Card
from leam.weights.checkpoints import State, fill, read_state, without_prefix

_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 14, 3), 100: (3, 13, 30, 3)}
_WIDTHS = (64, 128, 256, 512)
# From the names in AdaFace's flat sequences to those of the InsightFace layout.
_SINGLES = {
    "input_layer.0": "conv1",
    "input_layer.1": "bn1",
    "input_layer.2": "prelu",
    "output_layer.0": "bn2",
    "output_layer.3": "fc",
    "output_layer.4": "features",
}
_PARTS = {
    "res_layer.0": "bn1",
    "res_layer.1": "conv1",
    "res_layer.2": "bn2",
    "res_layer.3": "prelu",
    "res_layer.4": "conv2",
    "res_layer.5": "bn3",
    "shortcut_layer.0": "downsample.0",
    "shortcut_layer.1": "downsample.1",
}


class Block(nn.Module):
    """A residual block: normalisation, two convolutions, and a shortcut."""

    def __init__(
        self, inputs: int, width: int, stride: int, eps: float, *, subsampled: bool
    ) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs, eps)
        self.conv1 = nn.Conv2d(inputs, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width, eps)
        self.prelu = nn.PReLU(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width, eps)
        self.downsample: nn.Module = nn.Identity()
        if subsampled and inputs == width:
            self.downsample = nn.MaxPool2d(1, stride)
        elif stride > 1 or inputs != width:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, width, 1, stride, bias=False), nn.BatchNorm2d(width, eps)
            )

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, h, w)`` to ``(B, C', h', w')``."""
        y = self.bn2(self.conv1(self.bn1(x)))
        out: Tensor = self.bn3(self.conv2(self.prelu(y))) + self.downsample(x)
        return out


class IResNet(nn.Module):
    """``(B, 3, h, w)`` to embeddings ``(B, D)``, not normalised.

    Args:
        depth: 18, 34, 50 or 100.
        size: Height and width of the input, multiples of 16.
        embedding_size: ``D``.
        eps: Epsilon of the batch normalisations: 1e-5 in arcface_torch, 2e-5 in MagFace.
        subsampled: Shortcuts of unchanged width only subsample, as AdaFace's do.
    """

    def __init__(
        self,
        depth: int = 50,
        size: tuple[int, int] = (112, 112),
        embedding_size: int = 512,
        eps: float = 1e-5,
        *,
        subsampled: bool = False,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64, eps)
        self.prelu = nn.PReLU(64)
        inputs = 64
        for stage, (width, count) in enumerate(zip(_WIDTHS, _BLOCKS[depth], strict=True), 1):
            blocks = [
                Block(width if i else inputs, width, 1 if i else 2, eps, subsampled=subsampled)
                for i in range(count)
            ]
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
            inputs = width
        self.bn2 = nn.BatchNorm2d(512, eps)
        self.fc = nn.Linear(512 * (size[0] // 16) * (size[1] // 16), embedding_size)
        self.features = nn.BatchNorm1d(embedding_size, eps)

    def forward(self, x: Tensor) -> Tensor:
        """Embeddings ``(B, D)`` of ``(B, 3, h, w)``."""
        x = self.prelu(self.bn1(self.conv1(x)))
        for stage in range(1, 5):
            x = self.get_submodule(f"layer{stage}")(x)
        embeddings: Tensor = self.features(self.fc(self.bn2(x).flatten(1)))
        return embeddings


@architecture("iresnet", options=("depth", "eps"))
def build(card: Card, path: Path) -> nn.Module:
    """Build the network with the weights of a public checkpoint.

    Card options: ``depth`` (18, 34, 50 or 100; 50 by default) and ``eps`` (1e-5 by default).

    Raises:
        CardError: The depth is another.
        WeightsError: The file does not hold this network.
    """
    depth = card.options.get("depth", 50)
    if depth not in _BLOCKS:
        known = ", ".join(map(str, _BLOCKS))
        raise CardError(f"{card.name}: options.depth is {depth!r}; available: {known}")
    state = read_state(path)
    subsampled = any("input_layer." in name for name in state)
    marker = "input_layer.0.weight" if subsampled else "conv1.weight"
    state = without_prefix(state, marker)
    if subsampled:
        state = _as_insightface(state, _BLOCKS[int(depth)])
    module = IResNet(
        int(depth),
        card.input_size,
        card.embedding_size or 512,
        card.number("eps", 1e-5),
        subsampled=subsampled,
    )
    fill(module, state, path, heads=("head",))
    return module


def _as_insightface(state: State, counts: tuple[int, ...]) -> State:
    """A state dict with arcface_torch's names for AdaFace's; AdaFace's last normalisation has no scale and bias."""
    stages = [(stage, i) for stage, count in enumerate(counts, 1) for i in range(count)]

    def renamed(name: str) -> str:
        if found := re.fullmatch(r"body\.(\d+)\.(\w+\.\d)\.(\w+)", name):
            block, part, what = found.groups()
            if int(block) < len(stages) and part in _PARTS:
                stage, i = stages[int(block)]
                return f"layer{stage}.{i}.{_PARTS[part]}.{what}"
        part, _, what = name.rpartition(".")
        return f"{_SINGLES.get(part, part)}.{what}"

    ours = {renamed(name): value for name, value in state.items()}
    mean = ours.get("features.running_mean", torch.zeros(0))
    plain = {"features.weight": torch.ones_like(mean), "features.bias": torch.zeros_like(mean)}
    return plain | ours

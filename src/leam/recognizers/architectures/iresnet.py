"""IResNet, the backbone of ArcFace and its successors, in the layouts of the public checkpoints.

Deng et al., "ArcFace", CVPR 2019; Duta et al., "Improved Residual Networks", ICPR 2020. Two naming schemes are known:
that of InsightFace's arcface_torch (ArcFace, CosFace, MagFace, ElasticFace), and that of InsightFace_Pytorch with its
successors (face.evoLVe, AdaFace, CVLface), whose shortcuts of unchanged width are bare subsampling. Depth, squeeze and
excitation (IR-SE), and the kind of block are read from the file.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from leam.errors import CardError, WeightsError
from leam.recognizers.architectures import architecture
from leam.recognizers.card import Card
from leam.weights.checkpoints import Weights, fill, find_weights, fitting

# Number of blocks in each stage. InsightFace_Pytorch and AdaFace have two more depths.
_LOGGER = logging.getLogger(__name__)
_COUNTS: dict[int, tuple[int, ...]] = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 14, 3),
    100: (3, 13, 30, 3),
    200: (6, 26, 60, 6),
}
_DEPTHS = {counts: depth for depth, counts in _COUNTS.items()} | {
    (3, 8, 36, 3): 152,
    (3, 24, 36, 3): 200,
}
# The first layer in arcface_torch's layout, and in that of InsightFace_Pytorch.
_MARKERS = ("conv1.weight", "input_layer.0.weight")
# MagFace's training script saves its network under this prefix; its normalisations have another epsilon.
_MAGFACE, _MAGFACE_EPS = "features.module.", 2e-5
_REDUCTION = 16
_FIRST = "body.0.res_layer."
# From our names to those of InsightFace_Pytorch's flat sequences.
_SINGLES = {
    "conv1": "input_layer.0",
    "bn1": "input_layer.1",
    "prelu": "input_layer.2",
    "bn2": "output_layer.0",
    "fc": "output_layer.3",
    "features": "output_layer.4",
}
# The order of a block's layers there: with and without a normalisation in the middle, and with a bottleneck.
_ORDERS = {
    "basic": ("bn1", "conv1", "bn2", "prelu", "conv2", "bn3"),
    "bare": ("bn1", "conv1", "prelu", "conv2", "bn3"),
    "bottleneck": (
        "bn1", "conv1", "bn2", "prelu", "conv2", "bn3", "prelu2", "conv3", "bn4",
    ),
}  # fmt: skip


class SqueezeExcite(nn.Module):
    """Weighs channels by a gate computed from their means; Hu et al., CVPR 2018."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(width, width // _REDUCTION, 1, bias=False)
        self.fc2 = nn.Conv2d(width // _REDUCTION, width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, h, w)`` to the same shape."""
        gate = self.fc2(self.fc1(x.mean(dim=(2, 3), keepdim=True)).relu()).sigmoid()
        out: Tensor = x * gate
        return out


@dataclass(frozen=True)
class BlockForm:
    """What the blocks of a network have in common.

    Attributes:
        kind: ``basic``; ``bare``: without a normalisation after the first convolution, as in InsightFace_Pytorch; or
            ``bottleneck``: AdaFace's blocks of depth 152 and 200.
        subsampled: Shortcuts of unchanged width only subsample.
        squeezed: Blocks end with squeeze and excitation.
        eps: Epsilon of the batch normalisations.
    """

    kind: str = "basic"
    subsampled: bool = False
    squeezed: bool = False
    eps: float = 1e-5


class Block(nn.Module):
    """A residual block: normalisation, two or three convolutions, and a shortcut."""

    def __init__(self, inputs: int, width: int, stride: int, form: BlockForm) -> None:
        super().__init__()
        eps, bottleneck = form.eps, form.kind == "bottleneck"
        inner = width // 4 if bottleneck else width
        self.bn1 = nn.BatchNorm2d(inputs, eps)
        side = 1 if bottleneck else 3
        self.conv1 = nn.Conv2d(inputs, inner, side, padding=side // 2, bias=False)
        self.bn2 = nn.Identity() if form.kind == "bare" else nn.BatchNorm2d(inner, eps)
        self.prelu = nn.PReLU(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, 1 if bottleneck else stride, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(inner, eps)
        if bottleneck:
            self.prelu2 = nn.PReLU(inner)
            self.conv3 = nn.Conv2d(inner, width, 1, stride, bias=False)
            self.bn4 = nn.BatchNorm2d(width, eps)
        self.squeeze = SqueezeExcite(width) if form.squeezed else nn.Identity()
        self.downsample: nn.Module = nn.Identity()
        if form.subsampled and inputs == width:
            self.downsample = nn.MaxPool2d(1, stride)
        elif stride > 1 or inputs != width:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, width, 1, stride, bias=False), nn.BatchNorm2d(width, eps)
            )
        self.bottleneck = bottleneck

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, h, w)`` to ``(B, C', h', w')``."""
        y = self.bn3(self.conv2(self.prelu(self.bn2(self.conv1(self.bn1(x))))))
        if self.bottleneck:
            y = self.bn4(self.conv3(self.prelu2(y)))
        out: Tensor = self.squeeze(y) + self.downsample(x)
        return out


class IResNet(nn.Module):
    """``(B, 3, h, w)`` to embeddings ``(B, D)``, not normalised.

    Args:
        depth: 18, 34, 50, 100 or 200, or the number of blocks in each of the four stages.
        size: Height and width of the input.
        embedding_size: ``D``.
        form: The kind of the blocks.
    """

    def __init__(
        self,
        depth: int | Sequence[int] = 50,
        size: tuple[int, int] = (112, 112),
        embedding_size: int = 512,
        form: BlockForm = BlockForm(),
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64, form.eps)
        self.prelu = nn.PReLU(64)
        counts = _COUNTS[depth] if isinstance(depth, int) else depth
        widths = [(4 if form.kind == "bottleneck" else 1) * width for width in (64, 128, 256, 512)]
        inputs = 64
        for stage, (width, count) in enumerate(zip(widths, counts, strict=True), 1):
            blocks = [
                Block(width if i else inputs, width, 1 if i else 2, form) for i in range(count)
            ]
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
            inputs = width
        self.bn2 = nn.BatchNorm2d(inputs, form.eps)
        rows, columns = (-(-side // 16) for side in size)
        self.fc = nn.Linear(inputs * rows * columns, embedding_size)
        self.features = nn.BatchNorm1d(embedding_size, form.eps)

    def forward(self, x: Tensor) -> Tensor:
        """Embeddings ``(B, D)`` of ``(B, 3, h, w)``."""
        x = self.prelu(self.bn1(self.conv1(x)))
        for stage in range(1, 5):
            x = self.get_submodule(f"layer{stage}")(x)
        embeddings: Tensor = self.features(self.fc(self.bn2(x).flatten(1)))
        return embeddings


@architecture("iresnet", options=("depth", "eps", "weights"))
def build(card: Card, path: Path) -> nn.Module:
    """Build the network with the weights of a public checkpoint.

    Card options: ``eps``, the epsilon of the normalisations (1e-5; 2e-5 where the file is MagFace's), ``depth``, which
    the file must then have, and ``weights``, one of several sets of weights in the file.

    Raises:
        CardError: The file has another depth.
        WeightsError: The file does not hold this network.
    """
    weights = find_weights(path, _MARKERS, card.options.get("weights"), network="IResNet")
    flat = _MARKERS[1] in weights.tensors
    counts = _flat_counts(weights) if flat else _counts(weights)
    _check_depth(card, path, counts)
    eps = card.number("eps", _MAGFACE_EPS if weights.prefix == _MAGFACE else 1e-5)
    form = _flat_form(weights, eps) if flat else BlockForm(eps=eps)
    last = "output_layer.3.weight" if flat else "fc.weight"
    with fitting(path):
        module = IResNet(counts, card.input_size, weights.shape(last)[0], form)
    names = _flat_names(counts, form, weights) if flat else str
    # AdaFace's last normalisation has no scale and no bias.
    width = module.features.num_features
    plain = {"features.weight": torch.ones(width), "features.bias": torch.zeros(width)}
    fill(
        module,
        weights.tensors,
        path,
        heads=("head",),
        names=names,
        prefix=weights.prefix,
        defaults=plain if flat else None,
        sized=("fc.weight",),
    )
    return module


def _counts(weights: Weights) -> tuple[int, ...]:
    """The number of blocks in each stage, in arcface_torch's layout."""
    found = [re.match(r"layer([1-4])\.(\d+)\.", name) for name in weights.tensors]
    blocks = {(int(match[1]), int(match[2])) for match in found if match}
    return tuple(sum(stage == s for s, _ in blocks) for stage in range(1, 5))


def _flat_counts(weights: Weights) -> tuple[int, ...]:
    """The number of blocks in each stage, in a layout without stages: a stage begins where the width grows."""
    found = [re.match(r"body\.(\d+)\.", name) for name in weights.tensors]
    total = len({match[1] for match in found if match})
    starts = [i for i in range(1, total) if f"body.{i}.shortcut_layer.0.weight" in weights.tensors]
    if len(starts) != 3:  # noqa: PLR2004  four stages
        raise WeightsError(
            f"{weights.path}: not a checkpoint of IResNet: expected 4 stages of blocks, found "
            f"{len(starts) + 1} (a stage begins at a block with {weights.prefix}body.N.shortcut_layer)"
        )
    return tuple(end - start for start, end in pairwise((0, *starts, total)))


def _check_depth(card: Card, path: Path, counts: tuple[int, ...]) -> None:
    wanted, found = card.options.get("depth"), _DEPTHS.get(counts)
    if wanted not in {None, found} and wanted not in _DEPTHS.values():
        known = ", ".join(map(str, sorted(set(_DEPTHS.values()))))
        raise CardError(f"{card.name}: options.depth is {wanted!r}; available: {known}")
    if wanted not in {None, found}:
        raise CardError(
            f"{card.name}: options.depth is {wanted}, but {path} has depth {found or counts}; "
            "leave the option out"
        )
    if found is None:
        _LOGGER.warning(
            "%s: has stages of %s blocks, which no published IResNet has; check that the file is whole",
            path,
            ", ".join(map(str, counts)),
        )


def _flat_form(weights: Weights, eps: float) -> BlockForm:
    """The kind of the blocks, from the layers of the first one."""
    first = [name.removeprefix(_FIRST) for name in weights.tensors if name.startswith(_FIRST)]
    kind = "bottleneck" if "8.weight" in first else "basic"
    if "2.running_mean" not in first:
        kind = "bare"
    squeezed = any(name.endswith(".fc1.weight") for name in first)
    return BlockForm(kind, subsampled=True, squeezed=squeezed, eps=eps)


def _flat_names(counts: tuple[int, ...], form: BlockForm, weights: Weights) -> Callable[[str], str]:
    """From our names to those of a layout without stages."""
    order = _ORDERS[form.kind]
    named = f"{_FIRST}se_block.fc1.weight" in weights.tensors

    def theirs(name: str) -> str:
        if found := re.fullmatch(r"layer(\d)\.(\d+)\.(\w+)\.(.+)", name):
            stage, i, part, what = found.groups()
            block = f"body.{sum(counts[: int(stage) - 1]) + int(i)}"
            if part == "downsample":
                return f"{block}.shortcut_layer.{what}"
            if part == "squeeze":
                return f"{block}.res_layer.{'se_block' if named else len(order)}.{what}"
            return f"{block}.res_layer.{order.index(part)}.{what}"
        part, _, what = name.rpartition(".")
        return f"{_SINGLES[part]}.{what}"

    return theirs

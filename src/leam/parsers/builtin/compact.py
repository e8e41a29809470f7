"""The project's own parser: a small U-Net whose weights come with the package.

``training/`` contains its training on CelebAMask-HQ, ``docs/models/compact.md`` its model card.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn import functional

from leam.errors import WeightsError, first_line
from leam.files import sha256_of
from leam.parsers import PARSERS
from leam.parsers.network import HeadParser
from leam.parsers.regions import translate

WEIGHTS = Path(__file__).parent / "weights" / "compact.safetensors"
"""The weights in the package, float16, with the classes and the side of the view as metadata."""


@PARSERS("compact")
def compact() -> HeadParser:
    """The whole head: the face's parts, ears, hair, neck, glasses, jewellery, hats and clothes.

    Raises:
        WeightsError: The weights in the package are missing or damaged.
    """
    return read_compact(WEIGHTS)


def read_compact(path: Path) -> HeadParser:
    """The parser from a weights file.

    Raises:
        WeightsError: The file is missing, damaged, or has another layout.
    """
    try:
        with safe_open(path, framework="pt") as stored:
            metadata = stored.metadata() or {}
            state = {name: stored.get_tensor(name).float() for name in stored.keys()}  # noqa: SIM118
        classes, side = metadata["classes"].split(), int(metadata["side"])
        network = CompactNet(len(classes))
        missing, unexpected = network.load_state_dict(state, strict=False)
        if unexpected or any(not name.endswith("num_batches_tracked") for name in missing):
            raise WeightsError(f"{path}: its tensors are not those of compact")
    except FileNotFoundError:
        raise WeightsError(f"{path}: not found; install the package again") from None
    except (SafetensorError, OSError, KeyError, ValueError, RuntimeError) as error:
        raise WeightsError(f"{path}: not the weights of compact ({first_line(error)})") from None
    return HeadParser("compact", translate(classes), side, network.eval(), sha256=sha256_of(path))


class CompactNet(nn.Module):
    """Scores of every class at half the input's resolution.

    The encoder downsamples four times. The finer levels have few channels and use dense convolutions; at the coarsest
    level, depthwise 5x5 convolutions and a global average widen the receptive field to the whole head. The decoder adds
    each level's features to the upsampled features of the next coarser level.
    """

    def __init__(self, classes: int, widths: tuple[int, int, int, int] = (24, 48, 96, 96)) -> None:
        super().__init__()
        half, quarter, eighth, sixteenth = widths
        self.stem = _conv(3, half, 3, stride=2)
        self.quarter = nn.Sequential(
            _conv(half, quarter, 3, stride=2), _Residual(quarter), _Residual(quarter)
        )
        self.eighth = nn.Sequential(
            _conv(quarter, eighth, 3, stride=2), _Residual(eighth), _Residual(eighth)
        )
        self.sixteenth = nn.Sequential(
            _conv(eighth, sixteenth, 3, stride=2),
            *(_Wide(sixteenth) for _ in range(3)),
            _Global(sixteenth),
        )
        self.to_eighth = _Up(sixteenth, eighth, 64)
        self.to_quarter = _Up(64, quarter, 48)
        self.to_half = _Up(48, half, 32)
        self.scores = nn.Conv2d(32, classes, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        """Class scores ``(n, classes, h / 2, w / 2)`` of RGB pictures ``(n, 3, h, w)``, 0-255."""
        half = self.stem((pictures - 127.5) / 64)
        quarter = self.quarter(half)
        eighth = self.eighth(quarter)
        x = self.to_eighth(self.sixteenth(eighth), eighth)
        x = self.to_half(self.to_quarter(x, quarter), half)
        scores: Tensor = self.scores(x)
        return scores


def _conv(
    inputs: int, outputs: int, size: int, *, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    return nn.Sequential(
        _normed(inputs, outputs, size, stride=stride, groups=groups), nn.ReLU(inplace=True)
    )


def _normed(
    inputs: int, outputs: int, size: int, *, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs))


class _Residual(nn.Module):
    """A residual block of two dense 3x3 convolutions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_conv(width, width, 3), _normed(width, width, 3))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.body(x))


class _Wide(nn.Module):
    """An inverted residual, 5x5 depthwise (Sandler et al., MobileNetV2, CVPR 2018)."""

    def __init__(self, width: int, expansion: int = 4) -> None:
        super().__init__()
        inner = width * expansion
        self.body = nn.Sequential(
            _conv(width, inner, 1), _conv(inner, inner, 5, groups=inner), _normed(inner, width, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)  # type: ignore[no-any-return]


class _Global(nn.Module):
    """Adds global context: a projection of the average features to every position."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.mix(x.mean(dim=(2, 3), keepdim=True)))


class _Up(nn.Module):
    """Upsamples coarse features by two, adds those of the finer level, and mixes them."""

    def __init__(self, coarse: int, fine: int, width: int) -> None:
        super().__init__()
        self.coarse = _normed(coarse, width, 1)
        self.fine = _normed(fine, width, 1)
        self.mix = _conv(width, width, 3)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        up = functional.interpolate(
            self.coarse(coarse), scale_factor=2.0, mode="bilinear", align_corners=False
        )
        mixed: Tensor = self.mix(torch.relu(up + self.fine(fine)))
        return mixed

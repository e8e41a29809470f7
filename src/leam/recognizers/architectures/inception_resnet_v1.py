"""Inception-ResNet v1 in the layout of facenet-pytorch's checkpoints (VGGFace2, CASIA-WebFace).

Szegedy et al., "Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning",
AAAI 2017; trained as FaceNet by David Sandberg, converted by Tim Esler.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from leam.recognizers.architectures import architecture
from leam.recognizers.card import Card
from leam.weights.checkpoints import fill, find_weights

_EPS = 0.001
Size = int | tuple[int, int]


class Unit(nn.Sequential):
    """Convolution without bias, batch normalisation, ReLU."""

    def __init__(
        self, inputs: int, outputs: int, kernel: Size = 1, stride: int = 1, padding: Size = 0
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, _EPS)
        self.relu = nn.ReLU()


class Branches(nn.Module):
    """Parallel branches whose outputs are concatenated along the channels."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self._names = [f"branch{i}" for i in range(len(branches))]
        for name, branch in zip(self._names, branches, strict=True):
            self.add_module(name, branch)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, h, w)`` to ``(B, C', h', w')``."""
        return torch.cat([self.get_submodule(name)(x) for name in self._names], dim=1)


class Residual(Branches):
    """Parallel branches, projected to the input's width, scaled, and added to the input."""

    def __init__(
        self, *branches: nn.Module, joined: int, width: int, scale: float, active: bool = True
    ) -> None:
        super().__init__(*branches)
        self.conv2d = nn.Conv2d(joined, width, 1)
        self.relu = nn.ReLU() if active else nn.Identity()
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, h, w)`` to the same shape."""
        out: Tensor = self.relu(self.conv2d(super().forward(x)) * self.scale + x)
        return out


def _block35() -> Residual:
    return Residual(
        Unit(256, 32),
        nn.Sequential(Unit(256, 32), Unit(32, 32, 3, padding=1)),
        nn.Sequential(Unit(256, 32), Unit(32, 32, 3, padding=1), Unit(32, 32, 3, padding=1)),
        joined=96,
        width=256,
        scale=0.17,
    )


def _block17() -> Residual:
    return Residual(
        Unit(896, 128),
        nn.Sequential(
            Unit(896, 128),
            Unit(128, 128, (1, 7), padding=(0, 3)),
            Unit(128, 128, (7, 1), padding=(3, 0)),
        ),
        joined=256,
        width=896,
        scale=0.1,
    )


def _block8(scale: float = 0.2, *, active: bool = True) -> Residual:
    return Residual(
        Unit(1792, 192),
        nn.Sequential(
            Unit(1792, 192),
            Unit(192, 192, (1, 3), padding=(0, 1)),
            Unit(192, 192, (3, 1), padding=(1, 0)),
        ),
        joined=384,
        width=1792,
        scale=scale,
        active=active,
    )


class InceptionResNetV1(nn.Module):
    """``(B, 3, 160, 160)`` to embeddings ``(B, 512)`` of norm 1."""

    def __init__(self) -> None:
        super().__init__()
        self.conv2d_1a = Unit(3, 32, 3, 2)
        self.conv2d_2a = Unit(32, 32, 3)
        self.conv2d_2b = Unit(32, 64, 3, padding=1)
        self.maxpool_3a = nn.MaxPool2d(3, 2)
        self.conv2d_3b = Unit(64, 80)
        self.conv2d_4a = Unit(80, 192, 3)
        self.conv2d_4b = Unit(192, 256, 3, 2)
        self.repeat_1 = nn.Sequential(*(_block35() for _ in range(5)))
        self.mixed_6a = Branches(
            Unit(256, 384, 3, 2),
            nn.Sequential(Unit(256, 192), Unit(192, 192, 3, padding=1), Unit(192, 256, 3, 2)),
            nn.MaxPool2d(3, 2),
        )
        self.repeat_2 = nn.Sequential(*(_block17() for _ in range(10)))
        self.mixed_7a = Branches(
            nn.Sequential(Unit(896, 256), Unit(256, 384, 3, 2)),
            nn.Sequential(Unit(896, 256), Unit(256, 256, 3, 2)),
            nn.Sequential(Unit(896, 256), Unit(256, 256, 3, padding=1), Unit(256, 256, 3, 2)),
            nn.MaxPool2d(3, 2),
        )
        self.repeat_3 = nn.Sequential(*(_block8() for _ in range(5)))
        self.block8 = _block8(1.0, active=False)
        self.last_linear = nn.Linear(1792, 512, bias=False)
        self.last_bn = nn.BatchNorm1d(512, _EPS)

    def forward(self, x: Tensor) -> Tensor:
        """Embeddings ``(B, 512)`` of ``(B, 3, 160, 160)``."""
        x = self.maxpool_3a(self.conv2d_2b(self.conv2d_2a(self.conv2d_1a(x))))
        x = self.repeat_1(self.conv2d_4b(self.conv2d_4a(self.conv2d_3b(x))))
        x = self.repeat_3(self.mixed_7a(self.repeat_2(self.mixed_6a(x))))
        pooled = self.block8(x).mean(dim=(2, 3))
        return functional.normalize(self.last_bn(self.last_linear(pooled)))


@architecture("inception_resnet_v1", options=("weights",))
def build(card: Card, path: Path) -> nn.Module:
    """Build the network with the weights of a facenet-pytorch checkpoint, without its classifier.

    Card option: ``weights``, one of several sets of weights in the file.

    Raises:
        WeightsError: The file does not hold this network.
    """
    weights = find_weights(
        path, ("conv2d_1a.conv.weight",), card.options.get("weights"), network="InceptionResNetV1"
    )
    module = InceptionResNetV1()
    fill(module, weights.tensors, path, heads=("logits",), prefix=weights.prefix)
    return module

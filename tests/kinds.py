"""Small networks of the kinds that recognizers are made of, and random faces for them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from tiny import TinyNet

KINDS = ["tiny", "transformer", "channels_last", "normalised", "double"]
SIDE = 16


class Block(nn.Module):
    """Attention and a perceptron, each with a residual connection."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(8), nn.LayerNorm(8)
        self.qkv, self.proj = nn.Linear(8, 24), nn.Linear(8, 8)
        self.mlp = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm1(x)).chunk(3, dim=-1)
        weights = (q @ k.transpose(1, 2) / 8**0.5).softmax(dim=-1)
        x = x + self.proj(weights @ v)
        return x + self.mlp(self.norm2(x))


class Transformer(nn.Module):
    """A small vision transformer with a class token, as timm writes them."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 8, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.position = nn.Parameter(torch.randn(1, 17, 8))
        self.blocks = nn.ModuleList([Block(), Block()])
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], dim=1) + self.position
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])


class ChannelsLast(nn.Module):
    """Blocks of ``(B, h, w, C)``, as in ConvNeXt and Swin."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 2, 2)
        self.norm, self.mix = nn.LayerNorm(8), nn.Linear(8, 8)
        self.depthwise = nn.Conv2d(8, 8, 3, 1, 1, groups=8)
        self.head = nn.Linear(8, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.depthwise(self.stem(x)).permute(0, 2, 3, 1)
        x = x + nn.functional.gelu(self.mix(self.norm(x)))
        return self.head(x.mean(dim=(1, 2)))


class Normalised(nn.Module):
    """Batch normalisations, PReLU, a depthwise convolution, and constants that the code creates."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.PReLU(8),
            nn.Conv2d(8, 8, 3, 1, 1, groups=8), nn.BatchNorm2d(8), nn.ReLU6(),
            nn.Conv2d(8, 6, 1), nn.BatchNorm2d(6),
        )  # fmt: skip
        self.pooled = nn.AdaptiveAvgPool2d(2)
        self.head = nn.Linear(24, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x) * 2 + x.new_tensor([0.5])
        return self.head(self.pooled(x).flatten(1))


def module_of(kind: str) -> nn.Module:
    torch.manual_seed(0)
    return {
        "tiny": lambda: TinyNet(16),
        "transformer": Transformer,
        "channels_last": ChannelsLast,
        "normalised": Normalised,
        "double": lambda: TinyNet(16).double(),
    }[kind]().eval()


def faces(count: int = 3, side: int = 16) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)

"""Networks small enough to differentiate by hand."""

from __future__ import annotations

import torch
from torch import nn

from leam.devices import Precision
from leam.recognizers.card import Card
from leam.recognizers.recognizer import Recognizer


class TinyNet(nn.Module):
    """Two convolutions, a nonlinearity and a linear embedding: small enough to differentiate by hand."""

    def __init__(self, size: int = 8, *, inplace: bool = False) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1)
        self.relu1 = nn.ReLU(inplace=inplace)
        self.conv2 = nn.Conv2d(4, 5, 3, stride=2, padding=1)
        self.relu2 = nn.ReLU(inplace=inplace)
        self.fc = nn.Linear(5 * (size // 2) ** 2, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.relu2(self.conv2(self.relu1(self.conv1(x)))).flatten(1))


def wrap(
    module: nn.Module,
    size: int = 8,
    *,
    device: torch.device | str | None = None,
    precision: Precision = "float32",
    batch_size: int | None = None,
    **fields: object,
) -> Recognizer:
    """A recognizer around a module that takes ``(B, 3, size, size)``."""
    card = Card(name="tiny", input_size=(size, size), **fields)
    return Recognizer(module, card, device, precision, batch_size)

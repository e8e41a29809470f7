"""An architecture: one convolution and a mean over the picture."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from leam.recognizers.architectures import architecture
from leam.recognizers.card import Card
from leam.weights.checkpoints import fill, read_state


class Pooled(nn.Module):
    """``(B, 3, h, w)`` to the mean of each channel of a convolution, ``(B, 8)``."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """The embeddings."""
        return self.conv(x).relu().mean(dim=(2, 3))


@architecture("pooled", options=())
def build(card: Card, path: Path) -> nn.Module:
    """The network with the weights of a checkpoint."""
    module = Pooled()
    fill(module, read_state(path), path)
    return module

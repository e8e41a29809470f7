"""EdgeFace: timm's EdgeNeXt as a face recognizer.

George et al., "EdgeFace: Efficient Face Recognition Model for Edge Devices", T-BIOM 2024. The checkpoints in its
repository are state dicts of timm's network; in those with ``gamma`` in their names, linear layers are factorised into
two of lower rank.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from leam.errors import ModelError, first_line
from leam.recognizers.architectures import architecture
from leam.recognizers.card import Card
from leam.weights.checkpoints import fill, find_weights

_SIZES = ("xx_small", "x_small", "small", "base")


class LowRank(nn.Module):
    """A linear layer, factorised into two of lower rank."""

    def __init__(self, inputs: int, outputs: int, rank: int, *, bias: bool) -> None:
        super().__init__()
        self.linear1 = nn.Linear(inputs, rank, bias=False)
        self.linear2 = nn.Linear(rank, outputs, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """``(..., inputs)`` to ``(..., outputs)``."""
        out: Tensor = self.linear2(self.linear1(x))
        return out


@architecture("edgeface", options=("size", "gamma", "weights"))
def build(card: Card, path: Path) -> nn.Module:
    """Build the network with the weights of a public checkpoint.

    Card options: ``size`` (``xx_small``, ``x_small``, ``small`` or ``base``) and ``gamma``, the ratio of ranks (0.6 for
    edgeface_xs_gamma_06, 0.5 for edgeface_s_gamma_05; none by default), ``weights``, one of several sets of weights in
    the file.

    Raises:
        ModelError: timm cannot be imported, or the size is unknown.
        WeightsError: The file does not fit this network.
    """
    size = card.options.get("size", "x_small")
    if size not in _SIZES:
        raise ModelError(f"{card.name}: options.size is {size!r}, not one of {', '.join(_SIZES)}")
    module: nn.Module = _timm(card).create_model(
        f"edgenext_{size}", num_classes=card.embedding_size or 512
    )
    gamma = card.number("gamma", 0)
    if gamma:
        _split(module, gamma)
    weights = find_weights(
        path, ("stem.0.weight",), card.options.get("weights"), network="EdgeNeXt"
    )
    fill(module, weights.tensors, path, prefix=weights.prefix)
    return module


def _timm(card: Card) -> Any:  # noqa: ANN401  an untyped module
    try:
        return importlib.import_module("timm")
    except Exception as error:  # noqa: BLE001  a torchvision for another torch may raise anything
        raise ModelError(
            f"{card.name}: EdgeFace needs timm and a torchvision that fits your torch "
            f"(`pip install leam-xai[edgeface]`; {first_line(error)}); exported to ONNX it needs neither"
        ) from None


def _split(module: nn.Module, gamma: float) -> None:
    """Replace every linear layer outside the head with two of lower rank."""
    for name, child in module.named_children():
        if "head" in name:
            continue
        if isinstance(child, nn.Linear):
            rank = max(2, int(min(child.in_features, child.out_features) * gamma))
            bias = child.bias is not None
            setattr(module, name, LowRank(child.in_features, child.out_features, rank, bias=bias))
        else:
            _split(child, gamma)

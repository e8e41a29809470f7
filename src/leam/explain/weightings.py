"""From a layer's activations and their gradients to its map.

Each weighting takes activations ``(B, C, h, w)`` and the target's gradients with respect to them, of the same shape,
and gives ``(B, h, w)``, non-negative. The linear view they share: ``sum(gradient * activation)`` is the first-order
contribution of a place to the target.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from leam.explain.backends import kernels as compiled
from leam.plugins import Registry

Weighting = Callable[[Tensor, Tensor], Tensor]

POSITIVE = "positive"
PRODUCTS = frozenset({POSITIVE, "signed", "magnitude", "absolute"})
"""Weightings to which an activation does not matter where its gradient is zero."""

WEIGHTINGS: Registry[Weighting] = Registry("weighting", "leam.weightings")
"""The weightings by name."""


@WEIGHTINGS("signed")
def signed(activations: Tensor, gradients: Tensor) -> Tensor:
    """Elementwise products summed over channels, the positive part (HiResCAM; Draelos and Carin 2020)."""
    return (gradients * activations).sum(dim=1).relu_()


@WEIGHTINGS(POSITIVE)
def positive(activations: Tensor, gradients: Tensor) -> Tensor:
    """Products with the positive gradients only, the positive part (LayerCAM; Jiang et al., TIP 2021)."""
    found = compiled.positive(activations, gradients)
    if found is None:
        found = gradients.relu().mul_(activations).sum(dim=1).relu_()
    return found


@WEIGHTINGS("channel_mean")
def channel_mean(activations: Tensor, gradients: Tensor) -> Tensor:
    """Channels weighted by their mean gradient, the positive part (Grad-CAM; Selvaraju et al., ICCV 2017)."""
    return (gradients.mean(dim=(2, 3), keepdim=True) * activations).sum(dim=1).relu()


@WEIGHTINGS("magnitude")
def magnitude(activations: Tensor, gradients: Tensor) -> Tensor:
    """The size of the elementwise contribution, for or against: ``|sum(gradient * activation)|``."""
    return (gradients * activations).sum(dim=1).abs()


@WEIGHTINGS("absolute")
def absolute(activations: Tensor, gradients: Tensor) -> Tensor:
    """All channels' contributions, for or against, none cancelling another: ``sum |gradient * activation|``."""
    return (gradients * activations).abs().sum(dim=1)

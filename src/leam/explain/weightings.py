"""Weightings: from a layer's activations and their gradients to the layer's raw map.

Each takes activations ``(B, C, h, w)`` and the target's gradients with respect to them, of the same shape, and returns
``(B, h, w)``, non-negative. To first order, a location contributes ``sum(gradient * activation)`` over channels to the
target; the weightings differ in which part of that sum they keep.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from leam.plugins import Registry

Weighting = Callable[[Tensor, Tensor], Tensor]

WEIGHTINGS: Registry[Weighting] = Registry("weighting", "leam.weightings")
"""The weightings by name."""


# Rounding errors of float32 are then at most 1e-5 of the sums.
_CANCELLED = 1e-2


@WEIGHTINGS("signed")
def signed(activations: Tensor, gradients: Tensor) -> Tensor:
    """Positive part of the products' sum over channels (HiResCAM; Draelos and Carin 2020).

    Where a normalisation over channels follows (layer normalisation), the scale of the activations does not matter, and
    the products cancel at every location. What remains are rounding errors: a face's map is therefore zero if the sums'
    absolute values are below 1e-2 of those of the products, over the whole grid.
    """
    products = gradients * activations
    return without_cancelled(products.sum(dim=1), products.abs_().sum(dim=1))


def without_cancelled(sums: Tensor, magnitudes: Tensor) -> Tensor:
    """Positive part of sums of products, zero for a face whose products cancel; see :func:`signed`.

    Args:
        sums: Sums over channels, ``(B, h, w)``.
        magnitudes: Sums over channels of the products' absolute values, ``(B, h, w)``.
    """
    kept = sums.abs().sum(dim=(1, 2)) >= _CANCELLED * magnitudes.sum(dim=(1, 2))
    return sums.relu() * kept[:, None, None]


@WEIGHTINGS("positive")
def positive(activations: Tensor, gradients: Tensor) -> Tensor:
    """Positive part of the sum of products with positive gradients only (LayerCAM; Jiang et al., TIP 2021)."""
    return gradients.relu().mul_(activations).sum(dim=1).relu_()


@WEIGHTINGS("channel_mean")
def channel_mean(activations: Tensor, gradients: Tensor) -> Tensor:
    """Positive part of the channels' sum, weighted by their mean gradients (Grad-CAM; Selvaraju et al., ICCV 2017)."""
    return (gradients.mean(dim=(2, 3), keepdim=True) * activations).sum(dim=1).relu()


@WEIGHTINGS("magnitude")
def magnitude(activations: Tensor, gradients: Tensor) -> Tensor:
    """Absolute value of the products' sum: ``|sum(gradient * activation)|``."""
    return (gradients * activations).sum(dim=1).abs()


@WEIGHTINGS("absolute")
def absolute(activations: Tensor, gradients: Tensor) -> Tensor:
    """Sum of the products' absolute values, so that channels do not cancel: ``sum |gradient * activation|``."""
    return (gradients * activations).abs().sum(dim=1)

"""A weighting, an aggregate, an estimate of a person map and an attribution method."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from leam.explain.aggregates import upsample
from leam.explain.methods import Attribution, AttributionMethod
from leam.explain.person import PersonEstimate, Population, Values
from leam.recognizers.recognizer import Recognizer


def squared(activations: Tensor, gradients: Tensor) -> Tensor:
    """The squared contributions summed over channels."""
    return (gradients * activations).square().sum(dim=1)


def median(maps: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    """The median over the layers."""
    return torch.stack([upsample(layer, size) for layer in maps]).median(dim=0).values


def middle(maps: Tensor, _population: Population | None) -> Values:
    """The median over the person's pictures."""
    found: Values = maps.double().median(dim=0).values.numpy()
    return found


MIDDLE = PersonEstimate(middle)


def _darkness(_recognizer: Recognizer) -> Attribution:
    return lambda chips, _target: 255 - torch.as_tensor(chips).float().mean(dim=3)


darkness = AttributionMethod(_darkness, needs="scores")
"""Dark pixels, whatever the recognizer."""

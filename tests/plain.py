"""Maps by the plain definition, which every backend must equal."""

from __future__ import annotations

import copy

import torch

from leam.explain.explainer import Explainer, Maps
from leam.explain.targets import self_target


def plain(explainer: Explainer, chips, target=self_target) -> Maps:
    """The maps of an explainer's recognizer, layers, weighting and aggregate by the plain definition."""
    definition = copy.copy(explainer)
    definition._compute = explainer._plain
    return definition.explain(chips, target)


def assert_same(found: Maps, expected: Maps) -> None:
    """Equal to 1e-5 of each layer's largest value."""
    for one, other in zip(found.layer_maps, expected.layer_maps, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5 * float(other.max()), rtol=0)
    torch.testing.assert_close(
        found.overall, expected.overall, atol=1e-5 * float(expected.overall.max()), rtol=0
    )
    torch.testing.assert_close(found.embeddings, expected.embeddings)
    torch.testing.assert_close(found.scores, expected.scores)

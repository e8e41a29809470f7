"""The method: layer maps and the overall map of a recognizer, in one forward and one backward pass."""

from leam.mapping.aggregate import AGGREGATES, aggregate
from leam.mapping.explainer import Explainer, Maps
from leam.mapping.layers import Layer
from leam.mapping.targets import TARGETS, Target, contrast_target, reference_target, self_target
from leam.mapping.weighting import WEIGHTINGS, weighting

__all__ = [
    "AGGREGATES",
    "TARGETS",
    "WEIGHTINGS",
    "Explainer",
    "Layer",
    "Maps",
    "Target",
    "aggregate",
    "contrast_target",
    "reference_target",
    "self_target",
    "weighting",
]

"""Other attribution methods under one protocol, so that they can be compared on the same faces.

Each is built for a recognizer and then maps what supports the similarity of faces with their mates. All are our own
implementations of the cited papers.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from leam.explain.backends import Chips
from leam.explain.explainer import Explainer
from leam.explain.targets import reference_target, self_target
from leam.plugins import Registry
from leam.recognizers.recognizer import Recognizer

Method = Callable[[Chips, Tensor], Tensor]
"""From aligned faces and the embeddings ``(B, D)`` that they are compared with to overall maps ``(B, h, w)``:
non-negative, each summing to 1 or all zero."""

Builder = Callable[[Recognizer], Method]

METHODS: Registry[Builder] = Registry(
    "attribution method", "leam.methods", package="leam.explain.methods", one_each=False
)
"""The methods' builders by name."""


def explained(explainer: Explainer, *, alone: bool = False) -> Method:
    """An explainer as an attribution method.

    Args:
        explainer: The explainer.
        alone: Explain each face's own embedding (the ``self`` target) and ignore its mate.
    """
    kind = explainer.recognizer.card.similarity

    def method(chips: Chips, mates: Tensor) -> Tensor:
        target = self_target if alone else reference_target(mates, kind)
        return explainer.explain(chips, target).overall

    return method

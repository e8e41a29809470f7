"""Other attribution methods under one protocol, so that they can be measured on the same faces.

Each is built for a recognizer and then maps what supports the similarity of faces with their mates.
All is own code after the papers named.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from leam.explain.explainer import Explainer
from leam.explain.targets import reference_target, self_target
from leam.plugins import Registry
from leam.recognizers.recognizer import Recognizer

Chips = NDArray[np.uint8] | Tensor

Method = Callable[[Chips, Tensor], Tensor]
"""From aligned faces, RGB ``(B, h, w, 3)``, 0-255, and the embeddings ``(B, D)`` that they are
compared with, to overall maps ``(B, h, w)``: non-negative, each summing to 1 or all zero."""

Builder = Callable[[Recognizer], Method]

METHODS: Registry[Builder] = Registry(
    "attribution method", "leam.methods", package="leam.explain.methods", one_each=False
)
"""The builders of the methods by name."""


def explained(explainer: Explainer, *, alone: bool = False) -> Method:
    """An explainer as a method like its peers.

    Args:
        explainer: What maps.
        alone: Explain each face's own embedding (the ``self`` target), whatever its mate.
    """
    kind = explainer.recognizer.card.similarity

    def method(chips: Chips, mates: Tensor) -> Tensor:
        target = self_target if alone else reference_target(mates, kind)
        return explainer.explain(chips, target).overall

    return method

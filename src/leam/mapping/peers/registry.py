"""Which methods there are besides this package's own, and what they all can do."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from leam.errors import InputError
from leam.mapping.explainer import Explainer
from leam.mapping.targets import reference_target, self_target
from leam.recognizers.recognizer import Recognizer

Chips = NDArray[np.uint8] | Tensor

Method = Callable[[Chips, Tensor], Tensor]
"""From aligned faces, RGB ``(B, h, w, 3)``, 0-255, and the embeddings ``(B, D)`` that they are
compared with, to overall maps ``(B, h, w)``: non-negative, each summing to 1 or all zero."""

Builder = Callable[[Recognizer], Method]

PEERS: dict[str, Builder] = {}
"""The builders of the methods by name."""


def peer(name: str) -> Callable[[Builder], Builder]:
    """Register a method's builder under a name."""

    def register(builder: Builder) -> Builder:
        PEERS[name] = builder
        return builder

    return register


def build_peer(name: str, recognizer: Recognizer) -> Method:
    """The method of this name for a recognizer.

    Raises:
        InputError: There is none.
        LayerError: The method needs a convolution and the recognizer has none.
    """
    if name not in PEERS:
        raise InputError(f"{name}: no such method; known are {', '.join(PEERS)}")
    return PEERS[name](recognizer)


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

"""Backends: ways to compute the raw layer maps of a batch of faces.

``plain`` is the definition. Every other backend gives the same maps to 1e-5 of a map's largest value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from leam.explain.layers import Layer
from leam.explain.targets import Target
from leam.explain.weightings import Weighting
from leam.plugins import Registry
from leam.recognizers.recognizer import Recognizer

AUTO = "auto"
"""The name that stands for the fastest backend."""
FASTEST = "fused"


@dataclass(frozen=True)
class RawMaps:
    """What one forward and one backward pass give.

    Attributes:
        maps: One ``(B, h_l, w_l)`` float32 for each layer, as the weighting gives it.
        embeddings: ``(B, D)`` float32, not normalised, without a graph.
        scores: The target's values, ``(B,)``, without a graph.
    """

    maps: tuple[Tensor, ...]
    embeddings: Tensor
    scores: Tensor


class Backend(Protocol):
    """Computes the layer maps of one recognizer, by one weighting.

    A call leaves the recognizer's module as it was, also after an exception, and may run in any thread.
    """

    def __call__(self, chips: NDArray[np.uint8] | Tensor, target: Target) -> RawMaps:
        """Run one forward and one backward pass.

        Args:
            chips: Aligned faces, RGB ``(B, h, w, 3)``, 0-255.
            target: From embeddings ``(B, D)`` to scores ``(B,)``.

        Raises:
            ModelError: The chips or the module's output have the wrong shape.
            LayerError: A layer took no part in this forward pass, or does not reach the embedding.
        """


Builder = Callable[[Recognizer, tuple[Layer, ...], Weighting], Backend]

BACKENDS: Registry[Builder] = Registry("backend", "leam.backends", package="leam.explain.backends")
"""The backends by name. Each module without a leading underscore holds the backend of its name."""


def resolve(name: str) -> str:
    """The name of a backend, where ``auto`` stands for the fastest.

    Raises:
        InputError: There is no such backend.
    """
    name = FASTEST if name == AUTO else name
    BACKENDS[name]
    return name

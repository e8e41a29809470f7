"""Backends: ways to compute the raw layer maps of a batch of faces.

``plain`` is the definition. Every other backend gives the same maps to 1e-5 of a map's largest value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from leam.explain.layers import Layer
from leam.explain.targets import Target
from leam.explain.weightings import Weighting
from leam.plugins import Registry
from leam.recognizers.recognizer import Recognizer

AUTO, FASTEST = "auto", "fused"
"""The name that stands for the fastest backend, and that backend's name."""

Layers = tuple[Layer, ...]
Chips = NDArray[np.uint8] | Tensor
"""Aligned faces, RGB ``(B, h, w, 3)``, 0-255; for a backend as :meth:`leam.Recognizer.as_chips` returns them."""


@dataclass(frozen=True)
class RawMaps:
    """The results of one forward and one backward pass, detached from the graph.

    Attributes:
        maps: One ``(B, h_l, w_l)`` float32 for each layer, as the weighting returns it.
        embeddings: ``(B, D)`` float32, not normalised.
        scores: The target's values, ``(B,)``.
        backend: The name of the backend that computed them.
    """

    maps: tuple[Tensor, ...]
    embeddings: Tensor
    scores: Tensor
    backend: str


Backend = Callable[[Chips, Target], RawMaps]
"""Computes the layer maps of a batch, from one forward and one backward pass.

A call leaves the recognizer's module as it was, also after an exception, and may run in any thread. It raises
ModelError if the chips or the module's output have the wrong shape, and LayerError if a layer takes no part in the
forward pass or does not reach the embedding.
"""

Builder = Callable[[Recognizer, Layers, Weighting], Backend]
"""Makes a backend for the layers of a recognizer."""

BACKENDS: Registry[Builder] = Registry("backend", "leam.backends", package="leam.explain.backends")
"""The backends by name. Each module without a leading underscore holds the backend of its name."""

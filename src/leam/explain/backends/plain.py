"""The definition: one forward pass, the target, one backward pass, the weighting of each layer."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leam.errors import LayerError
from leam.explain.backends import BACKENDS, RawMaps
from leam.explain.layers import Layer, differentiable, recording
from leam.explain.targets import Target
from leam.explain.weightings import Weighting
from leam.recognizers.recognizer import Recognizer


@BACKENDS("plain")
class Plain:
    """The backend that follows the definition word for word; it holds all activations and gradients."""

    def __init__(
        self, recognizer: Recognizer, layers: tuple[Layer, ...], weighting: Weighting
    ) -> None:
        self.recognizer, self.layers, self.weighting = recognizer, layers, weighting

    def __call__(self, chips: NDArray[np.uint8] | Tensor, target: Target) -> RawMaps:
        """See :class:`leam.explain.backends.Backend`."""
        activations, gradients, embeddings, scores = differentiate(
            self.recognizer, self.layers, chips, target
        )
        maps = tuple(map(self.weighting, activations, gradients))
        return RawMaps(maps, embeddings, scores)


def differentiate(
    recognizer: Recognizer,
    layers: tuple[Layer, ...],
    chips: NDArray[np.uint8] | Tensor,
    target: Target,
) -> tuple[list[Tensor], list[Tensor], Tensor, Tensor]:
    """The activations of layers, and the gradients of the scores with respect to them.

    Args:
        recognizer: Whose module runs.
        layers: The layers.
        chips: Aligned faces, ``(B, h, w, 3)``.
        target: From embeddings ``(B, D)`` to scores ``(B,)``.

    Returns:
        Each layer's activations ``(B, C, h, w)``, their gradients of the same shape, the embeddings ``(B, D)`` and the
        scores ``(B,)``, all without a graph.

    Raises:
        ModelError, LayerError: As for :class:`leam.explain.backends.Backend`.
    """
    with differentiable(recognizer.module):
        inputs = recognizer.preprocess(chips).requires_grad_()
        with recording(recognizer.module, layers) as outputs:
            # The network gets a copy, since it may write into its input.
            embeddings = recognizer.forward(inputs * 1)
        for layer in layers:
            if layer.name not in outputs:
                raise LayerError(f"layer {layer.name}: took no part in this forward pass")
        scores = target(embeddings)
        recorded = [outputs[layer.name] for layer in layers]
        found = torch.autograd.grad(scores.sum(), recorded, allow_unused=True)
    activations, gradients = [], []
    for layer, output, gradient in zip(layers, recorded, found, strict=True):
        if gradient is None:
            raise LayerError(f"layer {layer.name}: does not reach the embedding")
        activations.append(layer.on_grid(output.detach()))
        gradients.append(layer.on_grid(gradient))
    return activations, gradients, embeddings.detach(), scores.detach()

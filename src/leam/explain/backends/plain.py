"""The definition: one forward pass, the target, one backward pass, the weighting of each layer."""

from __future__ import annotations

import torch
from torch import Tensor

from leam.errors import LayerError
from leam.explain.backends import BACKENDS, Chips, Layers, RawMaps
from leam.explain.layers import differentiable, recording
from leam.explain.targets import Target
from leam.explain.weightings import Weighting
from leam.recognizers.recognizer import Recognizer


@BACKENDS("plain")
class Plain:
    """The backend that follows the definition step by step; it holds all activations and gradients."""

    def __init__(self, recognizer: Recognizer, layers: Layers, weighting: Weighting) -> None:
        self.recognizer, self.layers, self.weighting = recognizer, layers, weighting

    def __call__(self, chips: Chips, target: Target) -> RawMaps:
        """See :data:`leam.explain.backends.Backend`."""
        activations, gradients, embeddings, scores = self.differentiate(chips, target)
        maps = tuple(map(self.weighting, activations, gradients))
        return RawMaps(maps, embeddings, scores, "plain")

    def differentiate(
        self, chips: Chips, target: Target
    ) -> tuple[list[Tensor], list[Tensor], Tensor, Tensor]:
        """See :meth:`leam.explain.explainer.Explainer.differentiate`."""
        with differentiable(self.recognizer.module):
            inputs = self.recognizer.normalise(torch.as_tensor(chips)).requires_grad_()
            with recording(self.recognizer.module, self.layers) as outputs:
                # The network gets a copy, since it may write into its input.
                embeddings = self.recognizer.forward(inputs * 1)
            for layer in self.layers:
                if layer.name not in outputs:
                    raise LayerError(f"layer {layer.name}: took no part in this forward pass")
            scores = target(embeddings)
            recorded = [outputs[layer.name] for layer in self.layers]
            found = torch.autograd.grad(scores.sum(), recorded, allow_unused=True)
        activations, gradients = [], []
        for layer, output, gradient in zip(self.layers, recorded, found, strict=True):
            if gradient is None:
                raise LayerError(f"layer {layer.name}: does not reach the embedding")
            activations.append(layer.activations(output.detach()))
            gradients.append(layer.gradients(gradient))
        return activations, gradients, embeddings.detach(), scores.detach()

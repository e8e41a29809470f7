"""The engine: the maps of all layers from one forward and one backward pass of a batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from leam.errors import LayerError
from leam.explain.aggregates import AGGREGATES, distribution, distributions, upsample
from leam.explain.backends.fusion import StrayedError, find_units, running
from leam.explain.backends.hooks import tapping
from leam.explain.backends.operations import Tap
from leam.explain.layers import CONVOLUTIONS, Layer, choose_layers, recording
from leam.explain.memory import portion
from leam.explain.targets import RowTarget, Target, self_target
from leam.explain.weightings import POSITIVE, PRODUCTS, WEIGHTINGS
from leam.recognizers.recognizer import Recognizer, evaluating

DEFAULT_WEIGHTING = POSITIVE
DEFAULT_AGGREGATE = "sizes"


@dataclass(frozen=True)
class Maps:
    """What supports the embeddings of a batch of faces.

    Every map is non-negative and sums to 1, or is all zero and flagged in ``empty``.

    Attributes:
        layers: The layers, in the order of ``layer_maps``.
        layer_maps: One ``(B, h_l, w_l)`` float32 for each layer, at the layer's own size.
        overall: The aggregate of the layer maps, ``(B, h, w)`` float32 at the input's size.
        embeddings: ``(B, D)`` float32, not normalised.
        scores: The target's value, ``(B,)``.
        empty: True where a layer's map was zero or not finite, ``(L, B)``.
    """

    layers: tuple[Layer, ...]
    layer_maps: tuple[Tensor, ...]
    overall: Tensor
    embeddings: Tensor
    scores: Tensor
    empty: Tensor

    @property
    def overall_empty(self) -> Tensor:
        """True where no overall map could be made, ``(B,)``."""
        return self.overall.sum(dim=(1, 2)) == 0

    def layer_map(self, name: str) -> Tensor:
        """A layer's maps by its name, ``(B, h_l, w_l)``.

        Raises:
            LayerError: The layer is not among those explained.
        """
        for layer, maps in zip(self.layers, self.layer_maps, strict=True):
            if layer.name == name:
                return maps
        raise LayerError(f"layer {name}: not among those explained")

    def at_input_size(self) -> Tensor:
        """All layer maps at the input's size, ``(L, B, h, w)``, each summing to 1 or empty."""
        size = (self.overall.shape[1], self.overall.shape[2])
        return torch.stack([distribution(upsample(maps, size)) for maps in self.layer_maps])


class Explainer:
    """Layer Embedding Activation Mapping of a recognizer.

    Args:
        recognizer: What is explained. Its module is left as it was found after every call: mode, hooks,
            ``requires_grad`` and ``.grad``.
        layers: ``convolutions``, ``stages``, or names and globs; see :func:`leam.mapping.layers.choose_layers`.
        weighting: How activations and gradients become a layer's map; see :mod:`leam.explain.weightings`.
        aggregate: How layer maps become the overall map; see :mod:`leam.explain.aggregates`.

    Raises:
        LayerError: A layer does not exist, has no grid or does not reach the embedding.
        InputError: There is no such weighting or aggregate.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        *,
        layers: str | Sequence[str] = CONVOLUTIONS,
        weighting: str = DEFAULT_WEIGHTING,
        aggregate: str = DEFAULT_AGGREGATE,
    ) -> None:
        self.recognizer = recognizer
        self.weighting = weighting
        self.aggregate = aggregate
        self._weigh = WEIGHTINGS[weighting]
        self._join = AGGREGATES[aggregate]
        with _differentiable(recognizer.module):
            blank = torch.zeros(1, 3, *recognizer.card.input_size, device=recognizer.device)
            self.layers = choose_layers(recognizer.module, blank, layers)
            self._units = find_units(recognizer.module, blank, self.layers)
        # Layers whose output a later step was seen to overwrite in place.
        self._overwritten: frozenset[str] = frozenset()

    def explain(self, chips: NDArray[np.uint8] | Tensor, target: Target = self_target) -> Maps:
        """Map what supports the target in each face.

        One forward and one backward pass serve all layers. A large batch is taken in portions that stay in fast memory:
        a face's maps do not depend on the others in its batch (to rounding), nor do the targets of this package.

        Args:
            chips: Aligned faces, RGB ``(B, h, w, 3)``, 0-255, at the recognizer's input size.
            target: From embeddings ``(B, D)`` to scores ``(B,)``; see :mod:`leam.explain.targets`.

        Raises:
            ModelError: The chips or the module's output have the wrong shape.
            InputError: The target's references are not one for each face.
            LayerError: A layer took no part in this forward pass.
        """
        return self._maps(_joined(self._parts(chips, target)))

    def differentiate(
        self, chips: NDArray[np.uint8] | Tensor, target: Target = self_target
    ) -> tuple[list[Tensor], list[Tensor], Tensor, Tensor]:
        """The plain definition: one forward and one backward pass, as any network runs, and all that they give.

        :meth:`explain` gives the maps of these, without holding all of them at once.

        Args:
            chips: As for :meth:`explain`.
            target: As for :meth:`explain`.

        Returns:
            Each layer's activations ``(B, C, h, w)``, the gradients of the scores with respect to them, the embeddings
            ``(B, D)`` and the scores ``(B,)``; all detached.

        Raises:
            ModelError, InputError, LayerError: As for :meth:`explain`.
        """
        with _differentiable(self.recognizer.module):
            outputs, embeddings = self._forward(chips)
            scores = target(embeddings)
            found = torch.autograd.grad(scores.sum(), outputs, allow_unused=True)
        activations, gradients = [], []
        for layer, output, gradient in zip(self.layers, outputs, found, strict=True):
            if gradient is None:
                raise LayerError(f"layer {layer.name}: does not reach the embedding")
            activations.append(layer.on_grid(output.detach()))
            gradients.append(layer.on_grid(gradient))
        return activations, gradients, embeddings.detach(), scores.detach()

    def _forward(self, chips: NDArray[np.uint8] | Tensor) -> tuple[list[Tensor], Tensor]:
        """The layers' activations and the embeddings, joined by a graph."""
        module = self.recognizer.module
        inputs = self.recognizer.preprocess(chips).requires_grad_()
        with recording(module, self.layers, copied=self._overwritten) as recorded:
            # The graph starts at a copy, since a network may write into what it is given.
            embeddings = self.recognizer.forward(inputs * 1)
        if overwritten := recorded.overwritten():
            self._overwritten |= overwritten
            return self._forward(chips)
        for layer in self.layers:
            if layer.name not in recorded.outputs:
                raise LayerError(f"layer {layer.name}: took no part in this forward pass")
        return [recorded.outputs[layer.name] for layer in self.layers], embeddings

    def _parts(self, chips: NDArray[np.uint8] | Tensor, target: Target) -> list[_Part]:
        """The batch in portions, each in one forward and one backward pass."""
        count = len(chips)
        size = portion(self.layers, count, self.recognizer.device)
        if not isinstance(target, RowTarget) or size >= count:
            return [self._part(chips, target)]
        places = [slice(start, start + size) for start in range(0, count, size)]
        return [self._part(chips[rows], target.rows(rows, count)) for rows in places]

    def _part(self, chips: NDArray[np.uint8] | Tensor, target: Target) -> _Part:
        """Raw layer maps, made while the backward pass runs."""
        raw: dict[str, Tensor] = {}
        inputs = self.recognizer.preprocess(chips)
        with _differentiable(self.recognizer.module):
            anchor = torch.zeros((), device=inputs.device, requires_grad=True)
            taps = {layer.name: self._tap(layer, raw) for layer in self.layers}
            try:
                embeddings, leaves = self._tapped(inputs, taps, anchor)
            except StrayedError:
                self._units = ()
                return self._part(chips, target)
            if leaves is None:
                return self._part(chips, target)
            scores = target(embeddings)
            if scores.requires_grad:
                torch.autograd.grad(scores.sum(), [anchor, *leaves], allow_unused=True)
        for layer in self.layers:
            if layer.name not in raw:
                raise LayerError(f"layer {layer.name}: does not reach the embedding")
        maps = [raw[layer.name] for layer in self.layers]
        return _Part(maps, embeddings.detach(), scores.detach())

    def _tap(self, layer: Layer, raw: dict[str, Tensor]) -> Tap:
        def tap(activations: Tensor, gradients: Tensor, sums: Tensor | None) -> None:
            if sums is not None and self.weighting == POSITIVE:
                raw[layer.name] = sums
                return
            with torch.no_grad():
                raw[layer.name] = self._weigh(layer.on_grid(activations), layer.on_grid(gradients))

        return tap

    def _tapped(
        self, inputs: Tensor, taps: dict[str, Tap], anchor: Tensor
    ) -> tuple[Tensor, list[Tensor] | None]:
        """The embeddings, and where their graph begins; None where the pass must be run again."""
        module, copied = self.recognizer.module, self._overwritten
        products = self.weighting in PRODUCTS
        units = [unit for unit in self._units if unit.free]
        inside = {unit.convolution for unit in units}
        others = [layer for layer in self.layers if layer.name not in inside]
        with (
            running(units, taps, anchor, copied=copied, products=products) as steps,
            tapping(module, others, taps, copied=copied) as tapped,
        ):
            embeddings = self.recognizer.forward(inputs)
            overwritten = tapped.overwritten() | {
                name for name, step in steps.items() if step.settle()
            }
        for layer in others:
            if layer.name not in tapped.outputs:
                raise LayerError(f"layer {layer.name}: took no part in this forward pass")
        self._overwritten |= overwritten
        return embeddings, None if overwritten else tapped.leaves

    def _maps(self, part: _Part) -> Maps:
        with torch.no_grad():
            layer_maps, empty = distributions(part.raw)
            overall = distribution(self._join(layer_maps, self.recognizer.card.input_size))
        return Maps(
            self.layers, layer_maps, overall.contiguous(), part.embeddings, part.scores, empty
        )


@dataclass(frozen=True)
class _Part:
    """What a portion of a batch gives."""

    raw: list[Tensor]
    embeddings: Tensor
    scores: Tensor


def _joined(parts: Sequence[_Part]) -> _Part:
    """The portions of a batch as one."""
    if len(parts) == 1:
        return parts[0]
    return _Part(
        [torch.cat(maps) for maps in zip(*(part.raw for part in parts), strict=True)],
        torch.cat([part.embeddings for part in parts]),
        torch.cat([part.scores for part in parts]),
    )


@contextmanager
def _differentiable(module: nn.Module) -> Iterator[None]:
    """Evaluation mode, gradients on, and frozen parameters, which spare gradients nobody asked for; restored after."""
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    # A caller's inference mode would leave nothing to differentiate.
    with torch.inference_mode(mode=False), torch.enable_grad(), evaluating(module):
        for parameter in trainable:
            parameter.requires_grad_(False)  # noqa: FBT003
        try:
            yield
        finally:
            for parameter in trainable:
                parameter.requires_grad_(True)  # noqa: FBT003

"""The fast backend: fused operations, and maps that are made while the backward pass runs.

A convolution, its frozen normalisations and its activation run as one operation, which computes no gradients of
weights, statistics or slopes and keeps fewer activations. The graph begins at the first explained layer, and no two
layers' gradients are held at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leam.errors import LayerError
from leam.explain.backends import BACKENDS, RawMaps
from leam.explain.backends._fusion import Chain, find_chains
from leam.explain.backends._operations import FusedOperation, Hook
from leam.explain.backends.plain import Plain
from leam.explain.layers import Layer, differentiable, hooked
from leam.explain.targets import Target
from leam.explain.weightings import Weighting, positive
from leam.recognizers.recognizer import Recognizer


class _OtherWayError(Exception):
    """The network called its modules in another order than when its chains were found."""


@dataclass
class _Call:
    """The state of one call.

    Attributes:
        copied: The layers whose outputs the network overwrites: it continues with copies of them.
        leaves: The tensors at which the graph begins; the first one makes fused operations part of it.
        shared: Outputs that both the network and a layer's map are made from, and their versions, by layer.
        maps: The raw maps by layer.
    """

    copied: frozenset[str]
    leaves: list[Tensor]
    shared: dict[str, tuple[Tensor, int]] = field(default_factory=dict)
    maps: dict[str, Tensor] = field(default_factory=dict)


@BACKENDS("fused")
class Fused:
    """The backend of fused operations. Where a network calls its modules in a new order, the plain one takes over."""

    def __init__(
        self, recognizer: Recognizer, layers: tuple[Layer, ...], weighting: Weighting
    ) -> None:
        self.recognizer, self.layers, self.weighting = recognizer, layers, weighting
        self.plain = Plain(recognizer, layers, weighting)
        with differentiable(recognizer.module):
            blank = torch.zeros(1, 3, *recognizer.card.input_size, device=recognizer.device)
            self.chains = find_chains(recognizer.module, blank, layers)

    def __call__(self, chips: NDArray[np.uint8] | Tensor, target: Target) -> RawMaps:
        """See :class:`leam.explain.backends.Backend`."""
        with differentiable(self.recognizer.module):
            try:
                call, embeddings = self._forward(chips, frozenset())
            except _OtherWayError:
                return self.plain(chips, target)
            scores = target(embeddings)
            if scores.requires_grad:
                torch.autograd.grad(scores.sum(), call.leaves, allow_unused=True)
        for layer in self.layers:
            if layer.name not in call.maps:
                raise LayerError(f"layer {layer.name}: does not reach the embedding")
        maps = tuple(call.maps[layer.name] for layer in self.layers)
        return RawMaps(maps, embeddings.detach(), scores.detach())

    def _forward(
        self, chips: NDArray[np.uint8] | Tensor, copied: frozenset[str]
    ) -> tuple[_Call, Tensor]:
        """The embeddings, again where the network has overwritten the outputs of layers."""
        inputs = self.recognizer.preprocess(chips)
        call = _Call(copied, [torch.zeros((), device=inputs.device, requires_grad=True)])
        chains = [chain for chain in self.chains if chain.unmodified]
        fused = {chain.names[0] for chain in chains}
        others = [layer for layer in self.layers if layer.name not in fused]
        outputs = self._hook_outputs(call)
        with self._replaced(call, chains), hooked(self.recognizer.module, others, outputs):
            embeddings = self.recognizer.forward(inputs)
        for layer in others:
            if layer.name not in call.shared:
                raise LayerError(f"layer {layer.name}: took no part in this forward pass")
        overwritten = {name for name, (x, version) in call.shared.items() if x._version != version}  # noqa: SLF001
        return self._forward(chips, copied | overwritten) if overwritten else (call, embeddings)

    def _hook(self, layer: Layer, call: _Call) -> Hook:
        """Makes a layer's map as soon as the backward pass has its gradient."""

        def hook(activations: Tensor, gradients: Tensor, sums: Tensor | None) -> None:
            if sums is None or self.weighting is not positive:
                with torch.no_grad():
                    sums = self.weighting(layer.on_grid(activations), layer.on_grid(gradients))
            call.maps[layer.name] = sums

        return hook

    def _hook_outputs(self, call: _Call) -> Callable[[str, Tensor], Tensor | None]:
        """Prepares the maps of layers that are in no chain, from their outputs in the forward pass."""
        layers = {layer.name: layer for layer in self.layers}

        def output_hook(name: str, output: Tensor) -> Tensor | None:
            is_leaf = not output.requires_grad
            if is_leaf:
                output = output.detach().requires_grad_()
                call.leaves.append(output)
            call.shared[name] = output, output._version  # noqa: SLF001
            activations, hook = output.detach(), self._hook(layers[name], call)
            output.register_hook(lambda gradient: hook(activations, gradient, None))  # type: ignore[no-untyped-call]
            return output.clone() if is_leaf or name in call.copied else None

        return output_hook

    @contextmanager
    def _replaced(self, call: _Call, chains: Sequence[Chain]) -> Iterator[None]:
        """Run chains as fused operations inside the block."""
        layers = {layer.name: layer for layer in self.layers}
        operations: dict[str, FusedOperation] = {}
        try:
            for chain in chains:
                name = chain.names[0]
                hook = self._hook(layers[name], call) if name in layers else None
                operation = FusedOperation(chain.modules, hook, copy=name in call.copied)
                operations[name] = operation
                _replace(chain, operation, call.leaves[0])
            yield
        finally:
            for chain in chains:
                for module in chain.modules:
                    vars(module).pop("forward", None)
        call.shared.update({n: o.shared for n, o in operations.items() if o.shared})


def _replace(chain: Chain, operation: FusedOperation, anchor: Tensor) -> None:
    """Let the first module of a chain do the work of all, and the others return its output."""
    pending: list[Tensor] = []
    first, *rest = chain.modules

    def run(x: Tensor) -> Tensor:
        output = operation.run(x, anchor)
        pending.extend([output] * len(rest))
        return output

    def return_output(x: Tensor) -> Tensor:
        if not pending or pending.pop() is not x:
            raise _OtherWayError
        return x

    # Set without nn.Module's own attribute handling, which is slow.
    vars(first)["forward"] = run
    for module in rest:
        vars(module)["forward"] = return_output

"""The fast backend: fused operations, and maps that are made while the backward pass runs.

A convolution, its frozen normalisations and its activation run as one operation, which computes no gradients of
weights, statistics or slopes and keeps fewer activations. The graph begins at the first explained layer, and no two
layers' gradients are held at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from leam.errors import LayerError
from leam.explain.backends import BACKENDS, Chips, RawMaps
from leam.explain.backends._fusion import Chain, find_chains, unmodified
from leam.explain.backends._operations import Function, FusedOperation, Hook
from leam.explain.backends.plain import Plain
from leam.explain.layers import Layer, differentiable, hooked
from leam.explain.targets import Target
from leam.explain.weightings import Weighting, positive
from leam.recognizers.recognizer import Recognizer


class _UnsuitableError(Exception):
    """The network calls its modules in another order than when its chains were found, or overwrites their outputs."""


@BACKENDS("fused")
class Fused:
    """The backend of fused operations. ``plain`` takes over where a forward pass does not suit them."""

    def __init__(
        self, recognizer: Recognizer, layers: tuple[Layer, ...], weighting: Weighting
    ) -> None:
        self.recognizer, self.layers, self.weighting = recognizer, layers, weighting
        self.plain = Plain(recognizer, layers, weighting)
        with differentiable(recognizer.module):
            blank = torch.zeros(1, 3, *recognizer.card.input_size, device=recognizer.device)
            self.chains = find_chains(recognizer.module, blank, layers)

    def __call__(self, chips: Chips, target: Target) -> RawMaps:
        """See :data:`leam.explain.backends.Backend`."""
        maps: dict[str, Tensor] = {}
        hooks = {layer.name: self._hook(layer, maps) for layer in self.layers}
        with differentiable(self.recognizer.module):
            inputs = self.recognizer.preprocess(chips)
            # The tensors at which the graph begins. The first one makes fused operations part of it.
            leaves = [torch.zeros((), device=inputs.device, requires_grad=True)]
            chains = [chain for chain in self.chains if all(map(unmodified, chain.values()))]
            fused = {next(iter(chain)) for chain in chains}
            others = [layer for layer in self.layers if layer.name not in fused]
            try:
                with _replaced(chains, hooks, leaves[0]), self._hooked(others, hooks, leaves):
                    embeddings = self.recognizer.forward(inputs)
            except _UnsuitableError:
                return self.plain(chips, target)
            scores = target(embeddings)
            if scores.requires_grad:
                torch.autograd.grad(scores.sum(), leaves, allow_unused=True)
        for layer in self.layers:
            if layer.name not in maps:
                raise LayerError(f"layer {layer.name}: does not reach the embedding in this pass")
        ordered = tuple(maps[layer.name] for layer in self.layers)
        return RawMaps(ordered, embeddings.detach(), scores.detach())

    def _hook(self, layer: Layer, maps: dict[str, Tensor]) -> Hook:
        """Makes a layer's map as soon as the backward pass has its gradient."""

        def hook(activations: Tensor, gradients: Tensor, sums: Tensor | None) -> None:
            if sums is None or self.weighting is not positive:
                with torch.no_grad():
                    sums = self.weighting(layer.on_grid(activations), layer.on_grid(gradients))
            maps[layer.name] = sums

        return hook

    @contextmanager
    def _hooked(
        self, layers: Sequence[Layer], hooks: Mapping[str, Hook], leaves: list[Tensor]
    ) -> Iterator[None]:
        """Call the hooks of layers that are in no chain, for the forward pass inside the block."""

        def output_hook(name: str, output: Tensor) -> Tensor:
            if not output.requires_grad:
                output = output.detach().requires_grad_()
                leaves.append(output)
            activations, hook = output.detach(), hooks[name]
            output.register_hook(lambda gradient: hook(activations, gradient, None))  # type: ignore[no-untyped-call]
            # The network continues with a copy, since it may write into the output.
            return output.clone()

        with hooked(self.recognizer.module, layers, output_hook):
            yield


@contextmanager
def _replaced(chains: Sequence[Chain], hooks: Mapping[str, Hook], anchor: Tensor) -> Iterator[None]:
    """Run chains as fused operations inside the block."""
    operations = [
        FusedOperation([*chain.values()], hooks.get(next(iter(chain)))) for chain in chains
    ]
    try:
        for chain, operation in zip(chains, operations, strict=True):
            _replace([*chain.values()], operation, anchor)
        yield
        if any(operation.overwritten for operation in operations):
            raise _UnsuitableError
    finally:
        for chain in chains:
            for module in chain.values():
                vars(module).pop("forward", None)


def _replace(modules: Sequence[nn.Module], operation: FusedOperation, anchor: Tensor) -> None:
    """Let the first module of a chain do the work of all, and the others return its output."""
    pending: list[Tensor] = []
    first, *rest = modules

    def run(x: Tensor) -> Tensor:
        output: Tensor = Function.apply(x, anchor if operation.hook else None, operation)  # type: ignore[no-untyped-call]
        pending.extend([output] * len(rest))
        return output

    def return_output(x: Tensor) -> Tensor:
        if not pending or pending.pop() is not x:
            raise _UnsuitableError
        return x

    # Set without nn.Module's own attribute handling, which is slow.
    vars(first)["forward"] = run
    for module in rest:
        vars(module)["forward"] = return_output

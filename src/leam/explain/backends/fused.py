"""The fast backend: fused operations, and maps that are made while the backward pass runs.

A convolution, its frozen normalisations and its activation run as one operation, which computes no gradients of
weights, statistics or slopes and keeps fewer activations. The graph begins at the first explained layer, and no two
layers' gradients are held at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial

import numpy as np
import torch
from torch import Tensor

from leam.explain.backends import BACKENDS, Chips, Layers, RawMaps
from leam.explain.backends._fusion import Chain, find_chains, suits
from leam.explain.backends._operations import Function, FusedOperation, Hook
from leam.explain.backends.plain import Plain
from leam.explain.layers import Layer, differentiable, hooked
from leam.explain.targets import Target
from leam.explain.weightings import Weighting, absolute
from leam.recognizers.recognizer import Recognizer

# The largest difference from the plain backend, relative to a map's largest value. Rounding gives 1e-5.
_TOLERANCE = 1e-2


class _UnsuitableError(Exception):
    """The network calls other modules than when its chains were found, or overwrites their outputs."""


@BACKENDS("fused")
class Fused:
    """The backend of fused operations.

    ``plain`` takes over where a forward pass does not suit them, and always if the two disagree on a picture of noise.
    """

    def __init__(self, recognizer: Recognizer, layers: Layers, weighting: Weighting) -> None:
        self.recognizer, self.layers, self.weighting = recognizer, layers, weighting
        self.plain = Plain(recognizer, layers, weighting)
        with differentiable(recognizer.module):
            size = recognizer.card.input_size
            blank = recognizer.preprocess(torch.zeros(1, *size, 3, dtype=torch.uint8))
            self.chains = find_chains(recognizer.module, blank, layers)
        self.types = {m: type(m) for chain in self.chains for m in chain.values()}
        # Copies cost time, and few networks write into what is explained.
        self.copy = False
        self.sound = self._agrees()
        if not self.sound:
            self.copy = True
            self.sound = self._agrees()

    def __call__(self, chips: Chips, target: Target) -> RawMaps:
        """See :data:`leam.explain.backends.Backend`."""
        with suppress(_UnsuitableError):
            if self.sound:
                return self._fused(chips, target, self.weighting)
        return self.plain(chips, target)

    def _agrees(self) -> bool:
        """Whether the maps are those of the plain backend: a trace misses, for example, what script functions read."""
        size = (1, *self.recognizer.card.input_size, 3)
        noise = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
        # Neither cancels down to rounding errors, as signed products do, and ``self_target`` of normalised embeddings.
        weighting, target = absolute, lambda embeddings: embeddings[:, ::2].sum(dim=1)
        try:
            found = self._fused(noise, target, weighting).maps
            expected = Plain(self.recognizer, self.layers, weighting)(noise, target).maps
            limits = [_TOLERANCE * float(layer.nan_to_num().max()) for layer in expected]
            close = partial(torch.allclose, rtol=0, equal_nan=True)
            return all(close(*m, atol=a) for *m, a in zip(found, expected, limits, strict=True))
        except Exception:  # noqa: BLE001  networks may raise anything
            return False

    def _fused(self, chips: Chips, target: Target, weighting: Weighting) -> RawMaps:
        module, maps = self.recognizer.module, dict[str, Tensor]()
        hooks = {layer.name: partial(_weigh, weighting, layer, maps) for layer in self.layers}
        with differentiable(module):
            inputs = self.recognizer.normalise(torch.as_tensor(chips))
            # The tensors at which the graph begins. The first one makes fused operations part of it.
            leaves = [torch.zeros((), device=inputs.device, requires_grad=True)]
            changed = {m for m, known in self.types.items() if type(m) is not known or not suits(m)}
            chains = [chain for chain in self.chains if changed.isdisjoint(chain.values())]
            fused = set().union(*chains)
            others = [layer for layer in self.layers if layer.module not in fused]
            observe = partial(_observe, hooks, leaves)
            operations = [self._operation(chain, hooks, weighting) for chain in chains]
            replaced = _replaced(chains, operations, leaves[0])
            with replaced, hooked(module, others, observe):
                embeddings = self.recognizer.forward(inputs)
            scores = target(embeddings)
            if scores.requires_grad:
                torch.autograd.grad(scores.sum(), leaves, allow_unused=True)
        if len(maps) < len(self.layers):
            raise _UnsuitableError
        ordered = tuple(maps[layer.name] for layer in self.layers)
        return RawMaps(ordered, embeddings.detach(), scores.detach(), "fused")

    def _operation(
        self, chain: Chain, hooks: Mapping[str, Hook], weighting: Weighting
    ) -> FusedOperation:
        """The operation of a chain, which calls the hooks of the layers that are taken in it."""
        layers = [layer for layer in self.layers if layer.module in chain]
        found = [hooks[layer.name] for layer in layers]
        direct = None if any(layer.affine for layer in layers) else weighting

        def call(activations: Tensor, gradients: Tensor, sums: Tensor | None) -> None:
            for hook in found:
                hook(activations, gradients, sums)

        modules = [*chain.values()]
        return FusedOperation(modules, call if found else None, weighting=direct, copy=self.copy)


def _weigh(
    weighting: Weighting, layer: Layer, maps: dict[str, Tensor],
    activations: Tensor, gradients: Tensor, sums: Tensor | None,
) -> None:  # fmt: skip
    """Make a layer's map as soon as the backward pass has its gradient."""
    if sums is None:
        with torch.no_grad():
            sums = weighting(layer.activations(activations), layer.gradients(gradients))
    maps[layer.name] = sums


def _observe(hooks: Mapping[str, Hook], leaves: list[Tensor], name: str, output: Tensor) -> Tensor:
    """Call the hook of a layer that is in no chain, once the backward pass has its gradient."""
    if not output.requires_grad:
        output = output.detach().requires_grad_()
        leaves.append(output)
    activations, hook = output.detach(), hooks[name]
    output.register_hook(lambda gradient: hook(activations, gradient, None))  # type: ignore[no-untyped-call]
    # The network continues with a copy, since it may write into the output.
    return output.clone()


@contextmanager
def _replaced(
    chains: Sequence[Chain], operations: Sequence[FusedOperation], anchor: Tensor
) -> Iterator[None]:
    """Run chains as fused operations inside the block: the first modules do the work, others return the output."""
    pending: list[list[Tensor]] = [[] for _ in chains]
    try:
        for chain, operation, outputs in zip(chains, operations, pending, strict=True):
            first, *rest = chain.values()
            # Set without nn.Module's own attribute handling, which is slow.
            vars(first)["forward"] = partial(_run, operation, anchor, outputs, len(rest))
            for module in rest:
                vars(module)["forward"] = partial(_return_output, outputs)
        yield
        if any(pending) or any(operation.overwritten for operation in operations):
            raise _UnsuitableError
    finally:
        for chain in chains:
            for module in chain.values():
                vars(module).pop("forward", None)


def _run(
    operation: FusedOperation, anchor: Tensor, pending: list[Tensor], others: int, x: Tensor
) -> Tensor:
    output: Tensor = Function.apply(x, anchor if operation.hook else None, operation)  # type: ignore[no-untyped-call]
    pending.extend([output] * others)
    return output


def _return_output(pending: list[Tensor], x: Tensor) -> Tensor:
    if not pending or pending.pop() is not x:
        raise _UnsuitableError
    return x

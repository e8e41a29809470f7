"""The fast backend: fused operations, and maps that are made while the backward pass runs.

A convolution, its frozen normalisations and its activation run as one operation, which computes no gradients of
weights, statistics or slopes and keeps fewer activations. The graph begins at the first explained layer, and no two
layers' gradients are held at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from leam.errors import LayerError
from leam.explain import weightings
from leam.explain.backends import BACKENDS, RawMaps
from leam.explain.backends._fusion import Chain, find_chains
from leam.explain.backends._operations import FusedOperation, Hook, positive
from leam.explain.backends.plain import Plain
from leam.explain.layers import Layer, differentiable, hooked
from leam.explain.targets import Target
from leam.explain.weightings import Weighting
from leam.recognizers.recognizer import Recognizer

# Weightings that do not depend on an activation whose gradient is zero.
_PRODUCTS = {
    weightings.positive,
    weightings.signed,
    weightings.magnitude,
    weightings.absolute,
}


class _OtherWayError(Exception):
    """The network called its modules in another order than when its chains were found."""


@dataclass
class _Hooked:
    """The outputs of explained layers outside of chains, in one forward pass.

    Attributes:
        outputs: The outputs and their versions, by layer name.
        leaves: Outputs at which the graph begins, since nothing before them needs a gradient.
    """

    outputs: dict[str, tuple[Tensor, int]] = field(default_factory=dict)
    leaves: list[Tensor] = field(default_factory=list)

    def overwritten(self) -> set[str]:
        """The names of outputs that a later operation has overwritten, as an in-place ReLU does."""
        return {name for name, (x, version) in self.outputs.items() if x._version != version}  # noqa: SLF001


@BACKENDS("fused")
class Fused:
    """The backend of fused operations; where a network's forward pass changes its way, it runs the plain one."""

    def __init__(
        self, recognizer: Recognizer, layers: tuple[Layer, ...], weighting: Weighting
    ) -> None:
        self.recognizer, self.layers, self.weighting = recognizer, layers, weighting
        with differentiable(recognizer.module):
            blank = torch.zeros(1, 3, *recognizer.card.input_size, device=recognizer.device)
            self.chains = find_chains(recognizer.module, blank, layers)
        # Layers whose outputs were seen to be overwritten. They are copied from then on.
        self._copied: frozenset[str] = frozenset()

    def __call__(self, inputs: Tensor, target: Target) -> RawMaps:
        """See :class:`leam.explain.backends.Backend`."""
        maps: dict[str, Tensor] = {}
        hooks = {layer.name: self._hook(layer, maps) for layer in self.layers}
        with differentiable(self.recognizer.module):
            anchor = torch.zeros((), device=inputs.device, requires_grad=True)
            try:
                embeddings, leaves = self._forward(inputs, hooks, anchor)
            except _OtherWayError:
                return Plain(self.recognizer, self.layers, self.weighting)(inputs, target)
            scores = target(embeddings)
            if scores.requires_grad:
                torch.autograd.grad(scores.sum(), [anchor, *leaves], allow_unused=True)
        for layer in self.layers:
            if layer.name not in maps:
                raise LayerError(f"layer {layer.name}: does not reach the embedding")
        ordered = tuple(maps[layer.name] for layer in self.layers)
        return RawMaps(ordered, embeddings.detach(), scores.detach())

    def _hook(self, layer: Layer, maps: dict[str, Tensor]) -> Hook:
        """Makes the layer's map as soon as its gradient is there."""

        def hook(activations: Tensor, gradients: Tensor, sums: Tensor | None) -> None:
            found = None
            if self.weighting is weightings.positive:
                found = positive(activations, gradients) if sums is None else sums
            if found is None:
                with torch.no_grad():
                    found = self.weighting(layer.on_grid(activations), layer.on_grid(gradients))
            maps[layer.name] = found

        return hook

    def _forward(
        self, inputs: Tensor, hooks: Mapping[str, Hook], anchor: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """The embeddings, and the tensors besides the anchor at which their graph begins."""
        chains = [chain for chain in self.chains if chain.unmodified]
        inside = {chain.convolution for chain in chains}
        others = [layer for layer in self.layers if layer.name not in inside]
        # A network may write into its input, which is needed again where an output was overwritten.
        with (
            self._fused(chains, hooks, anchor) as operations,
            self._hooked(others, hooks) as hooked_,
        ):
            embeddings = self.recognizer.forward(inputs.clone())
        overwritten = hooked_.overwritten()
        overwritten |= {name for name, operation in operations.items() if operation.overwritten()}
        for layer in others:
            if layer.name not in hooked_.outputs:
                raise LayerError(f"layer {layer.name}: took no part in this forward pass")
        if overwritten:
            self._copied |= overwritten
            return self._forward(inputs, hooks, anchor)
        return embeddings, hooked_.leaves

    @contextmanager
    def _fused(
        self, chains: list[Chain], hooks: Mapping[str, Hook], anchor: Tensor
    ) -> Iterator[dict[str, FusedOperation]]:
        """Run chains as fused operations inside the block; yields the operations by their first module's name."""
        operations: dict[str, FusedOperation] = {}
        try:
            for chain in chains:
                name = chain.names[0]
                operations[name] = FusedOperation(
                    chain.modules,
                    hooks.get(name),
                    copy=name in self._copied,
                    products=self.weighting in _PRODUCTS,
                )
                _replace(chain, operations[name], anchor)
            yield operations
        finally:
            for chain in chains:
                for module in chain.modules:
                    vars(module).pop("forward", None)

    @contextmanager
    def _hooked(self, layers: list[Layer], hooks: Mapping[str, Hook]) -> Iterator[_Hooked]:
        """Hook into the outputs of layers inside the block, and into their gradients in the backward pass."""
        found = _Hooked()

        def output_hook(name: str, output: Tensor) -> Tensor | None:
            is_leaf = not output.requires_grad
            if is_leaf:
                output = output.detach().requires_grad_()
                found.leaves.append(output)
            found.outputs[name] = output, output._version  # noqa: SLF001
            activations, hook = output.detach(), hooks[name]
            output.register_hook(lambda gradient: hook(activations, gradient, None))  # type: ignore[no-untyped-call]
            return output.clone() if is_leaf or name in self._copied else None

        with hooked(self.recognizer.module, layers, output_hook):
            yield found


def _replace(chain: Chain, operation: FusedOperation, anchor: Tensor) -> None:
    """Let the first module of a chain do the work of all, and the others pass its output on."""
    pending: list[Tensor] = []
    last = chain.modules[-1]

    def first(x: Tensor) -> Tensor:
        pending[:] = [operation.run(x, anchor)]
        return pending[0]

    def rest(module: nn.Module) -> Callable[[Tensor], Tensor]:
        def pass_on(x: Tensor) -> Tensor:
            if not pending or x is not pending[0]:
                raise _OtherWayError
            if module is last:
                pending.clear()
            return x

        return pass_on

    # Set without nn.Module's own attribute handling, which is slow.
    vars(chain.modules[0])["forward"] = first
    for module in chain.modules[1:]:
        vars(module)["forward"] = rest(module)

"""Layers that tell their activations and gradients while the backward pass runs, so that none are held till its end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from torch import Tensor, nn

from leam.explain.backends.operations import Tap
from leam.explain.layers import Layer, Recorded, listening


class Tapped(Recorded):
    """The outputs of tapped layers in one forward pass, until they have been told.

    Attributes:
        leaves: Outputs at which the graph begins, since nothing before them wants a gradient.
    """

    def __init__(self) -> None:
        super().__init__()
        self.leaves: list[Tensor] = []


@contextmanager
def tapping(
    module: nn.Module,
    layers: Sequence[Layer],
    taps: Mapping[str, Tap],
    *,
    copied: frozenset[str] = frozenset(),
) -> Iterator[Tapped]:
    """Tap layers during the forward passes inside the block, and the backward passes from them.

    Args:
        module: The network.
        layers: What to tap.
        taps: What is told a layer's activations and gradients, by the layer's name.
        copied: Names of layers whose output a later step overwrites: these are handed on as a copy.

    Yields:
        The outputs of the forward pass. Hooks are gone after the block, also after an exception.
    """
    tapped = Tapped()

    def heard(name: str, output: Tensor) -> Tensor | None:
        begins = not output.requires_grad
        if begins:
            output = output.detach().requires_grad_()
            tapped.leaves.append(output)
        tapped.add(name, output)
        activations, tap = output.detach(), taps[name]
        output.register_hook(lambda gradient: tap(activations, gradient, None))  # type: ignore[no-untyped-call]
        return output.clone() if begins or name in copied else None

    with listening(module, layers, heard):
        yield tapped

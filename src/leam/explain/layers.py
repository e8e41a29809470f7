"""The layers of a network, and their outputs while it runs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn

from leam.explain.affine import Affine
from leam.explain.layouts import BCHW, Layout
from leam.recognizers.recognizer import evaluating

CONVOLUTIONS = "convolutions"
STAGES = "stages"
RAW_CONVOLUTIONS = "raw_convolutions"

INPUT = ":input"
"""What follows the name of a module in that of a layer at its input."""


@dataclass(frozen=True)
class Layer:
    """A layer, and where its activations and gradients are taken.

    A convolution's are taken after the frozen affine operations that follow it and that nothing else reads: batch
    normalisations, biases and factors that a graph optimiser merges into its weights. The maps are then those of the
    network's function, whether or not its file has been optimised. Other layers' are taken at their output.

    Attributes:
        name: The layer's module; with ``:0``, ``:1``, ... in the order of calls if it runs several times, ``:input`` if
            it is taken at the module's input, and ``@LAYOUT`` if the user names the layout.
        module: The module at whose output activations and gradients are taken, by its name in ``named_modules()``.
        call: The number of that module's call, from 0.
        channels: Number of channels.
        size: Height and width of the grid.
        layout: Which axes of that output are rows, columns and channels.
        at_input: Whether the module's first input is meant instead of its output.
        affine: Frozen affine operations after that output that are functions and not modules; None if there are none.
    """

    name: str
    module: str
    call: int
    channels: int
    size: tuple[int, int]
    layout: Layout = BCHW
    at_input: bool = False
    affine: Affine | None = field(default=None, compare=False, repr=False)

    @property
    def extra_tokens(self) -> int | None:
        """Number of class and register tokens that are dropped; None if the output's axes are rows and columns."""
        return None if self.layout.tokens is None else self.layout.before + self.layout.after

    @property
    def note(self) -> str:
        """How the output was arranged on a grid; empty for an ordinary feature map ``(B, C, h, w)``."""
        if self.layout == BCHW:
            return ""
        if self.extra_tokens is None:
            return f"layout {self.layout}"
        rows, columns = self.size
        return (
            f"layout {self.layout}: tokens arranged on a {rows}x{columns} grid, "
            f"{self.extra_tokens} class or register tokens dropped"
        )

    @property
    def place(self) -> str:
        """Where activations and gradients are taken: a module, and the functions after it, if any are merged."""
        place = f"{self.module}{INPUT}" if self.at_input else self.module
        return place if self.affine is None else f"{place}, then functions"

    def activations(self, output: Tensor) -> Tensor:
        """The layer's activations ``(B, C, h, w)``, from the output of ``module``."""
        grid = self.on_grid(output)
        if self.affine is None:
            return grid
        return grid * self.affine.scale[:, None, None] + self.affine.shift[:, None, None]

    def gradients(self, gradient: Tensor) -> Tensor:
        """The gradients at the layer's activations ``(B, C, h, w)``, from those at the output of ``module``.

        Where a function has a scale of zero, the gradient after it is unknown and taken as zero.
        """
        grid = self.on_grid(gradient)
        if self.affine is None:
            return grid
        scale = self.affine.scale[:, None, None]
        return torch.where(scale == 0, 0.0, grid / scale)

    def on_grid(self, output: Tensor) -> Tensor:
        """The output as ``(B, C, h, w)`` float32."""
        return self.layout.arranged(output, self.size).float()


@contextmanager
def differentiable(module: nn.Module) -> Iterator[None]:
    """Prepare a network for one forward and one backward pass of this thread.

    Inside the block the module is in evaluation mode, gradients are on, and parameters are frozen, so that no
    gradients of theirs are computed. All of this is restored afterwards, also after an exception.
    """
    # A caller's inference mode would leave nothing to differentiate.
    with torch.inference_mode(mode=False), torch.enable_grad(), evaluating(module):
        trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
        for parameter in trainable:
            parameter.requires_grad_(False)  # noqa: FBT003
        try:
            yield
        finally:
            for parameter in trainable:
                parameter.requires_grad_(True)  # noqa: FBT003


@contextmanager
def recording(module: nn.Module, layers: Sequence[Layer]) -> Iterator[dict[str, Tensor]]:
    """Record the outputs of layers during the forward pass inside the block.

    Args:
        module: The network.
        layers: What to record.

    Yields:
        The outputs by layer name, filled by the forward pass. The network goes on with copies, so that a later
        in-place operation does not change them. Hooks are removed after the block, also after an exception.
    """
    outputs: dict[str, Tensor] = {}

    def record(name: str, output: Tensor) -> Tensor:
        outputs[name] = output
        return output.clone()

    with hooked(module, layers, record):
        yield outputs


@contextmanager
def hooked(
    module: nn.Module, layers: Sequence[Layer], hook: Callable[[str, Tensor], Tensor | None]
) -> Iterator[None]:
    """Call a hook with the output of each layer during the forward pass inside the block.

    Args:
        module: The network.
        layers: The layers.
        hook: From a layer's name and output to the tensor that the network continues with; None for the output itself.

    Yields:
        Nothing. Hooks are removed after the block, also after an exception.
    """
    # Several layers may be taken at one place: a convolution, and the normalisation that is merged into it.
    places: dict[tuple[str, bool], dict[int, list[str]]] = {}
    for layer in layers:
        calls = places.setdefault((layer.module, layer.at_input), {})
        calls.setdefault(layer.call, []).append(layer.name)
    modules = dict(module.named_modules()) if places else {}
    handles = []
    for (name, at_input), calls in places.items():
        show = _shower(calls, hook)
        if at_input:
            handles.append(modules[name].register_forward_pre_hook(partial(_enter, show)))
        else:
            handles.append(modules[name].register_forward_hook(partial(_leave, show)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _shower(
    calls: Mapping[int, Sequence[str]], hook: Callable[[str, Tensor], Tensor | None]
) -> Callable[[Tensor], Tensor]:
    """Shows the hook the tensors of the calls with these numbers, and returns what the network continues with."""
    numbers = count()

    def show(tensor: Tensor) -> Tensor:
        for name in calls.get(next(numbers), ()):
            replaced = hook(name, tensor)
            tensor = tensor if replaced is None else replaced
        return tensor

    return show


def _enter(
    show: Callable[[Tensor], Tensor], _module: nn.Module, inputs: tuple[Any, ...]
) -> tuple[Any, ...] | None:
    return (show(inputs[0]), *inputs[1:]) if inputs else None


def _leave(
    show: Callable[[Tensor], Tensor], _module: nn.Module, _inputs: object, output: object
) -> object:
    tensor, rebuilt = grid_in(output)
    return output if tensor is None else rebuilt(show(tensor))


def grid_in(output: object) -> tuple[Tensor | None, Callable[[Tensor], object]]:
    """The tensor in a module's output that a layer is taken at.

    A tensor itself; the first tensor with three or four axes in a tuple, list or mapping.

    Returns:
        The tensor, or None; and a function that gives the output with another tensor in its place.
    """
    if isinstance(output, Tensor):
        return output, lambda tensor: tensor
    items: list[tuple[Any, object]] = []
    if isinstance(output, Mapping):
        items = list(output.items())
    elif isinstance(output, list | tuple):
        items = list(enumerate(output))
    for key, value in items:
        if isinstance(value, Tensor) and value.ndim in {3, 4}:
            return value, partial(_with, output, key)
    return None, lambda _: output


def _with(output: Any, key: Any, tensor: Tensor) -> object:  # noqa: ANN401
    """A container with another tensor in one place."""
    if isinstance(output, tuple):
        items = [*output[:key], tensor, *output[key + 1 :]]
        named = hasattr(output, "_fields")
        return type(output)(*items) if named else type(output)(items)
    changed = copy.copy(output)
    changed[key] = tensor
    return changed

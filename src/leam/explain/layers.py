"""Choose the layers of a network, and record what they give."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from leam.errors import LayerError

CONVOLUTIONS = "convolutions"
STAGES = "stages"

# Class and register tokens that vision transformers put before (or after) the patches.
_MOST_EXTRA_TOKENS = 8


@dataclass(frozen=True)
class Layer:
    """One output of one module, as the forward pass gives it.

    Attributes:
        name: The module's name; where a module runs several times, ``name:0``, ``name:1``, ... in the order of calls.
        module: The module's name in ``named_modules()``.
        call: Which of its calls this is, from 0.
        channels: Number of channels.
        size: Height and width of its grid.
        extra_tokens: For a transformer's ``(B, N, C)`` output, how many leading tokens (class, registers) are left
            out when the others are laid back onto the grid; None for a ``(B, C, h, w)`` output.
    """

    name: str
    module: str
    call: int
    channels: int
    size: tuple[int, int]
    extra_tokens: int | None = None

    @property
    def note(self) -> str:
        """What was done to the output to make it a grid; empty for a plain feature map."""
        if self.extra_tokens is None:
            return ""
        rows, columns = self.size
        return f"tokens laid onto a {rows}x{columns} grid, {self.extra_tokens} class or register tokens left out"

    def on_grid(self, output: Tensor) -> Tensor:
        """The output as ``(B, C, h, w)``: itself, or tokens ``(B, N, C)`` laid back onto their grid."""
        if self.extra_tokens is None:
            return output
        patches = output[:, self.extra_tokens :].transpose(1, 2)
        return patches.reshape(*patches.shape[:2], *self.size)


@dataclass(frozen=True)
class _Output:
    """What one call of one module gave, in firing order."""

    module: str
    call: int
    value: object


def choose_layers(
    module: nn.Module, inputs: Tensor, wanted: str | Sequence[str] = CONVOLUTIONS
) -> tuple[Layer, ...]:
    """Resolve a choice of layers on a network.

    Args:
        module: The network, in the mode in which it will run.
        inputs: One input ``(1, 3, h, w)``; its values do not matter.
        wanted: ``convolutions`` (every convolution's output that has a grid and reaches the embedding, and a
            transformer's blocks), ``stages`` (of those the last of each grid size), or module names and globs.

    Returns:
        The layers: automatic choices and the matches of a glob in firing order, names in the order asked.

    Raises:
        LayerError: A name or glob matches nothing, or names a layer that has no grid or does not reach the embedding.
    """
    outputs, embedding = _trace(module, inputs)
    calls = {o.module: sum(p.module == o.module for p in outputs) for o in outputs}
    aspect = inputs.shape[2] / inputs.shape[3]
    layers: dict[str, Layer] = {}
    values: dict[str, Tensor] = {}
    for output in outputs:
        name = output.module if calls[output.module] == 1 else f"{output.module}:{output.call}"
        if isinstance(output.value, Tensor) and (layer := _layer(name, output, aspect)):
            layers[name], values[name] = layer, output.value
    connected = _connected(embedding, values)
    if isinstance(wanted, str) and wanted in {CONVOLUTIONS, STAGES}:
        return _automatic(
            module, [layer for layer in layers.values() if layer.name in connected], wanted
        )
    names = _match([wanted] if isinstance(wanted, str) else wanted, outputs, layers)
    for name in names:
        if name not in connected:
            raise LayerError(f"layer {name}: does not reach the embedding")
    return tuple(layers[name] for name in names)


class Recorded:
    """The outputs of layers in one forward pass, by layer name."""

    def __init__(self) -> None:
        self.outputs: dict[str, Tensor] = {}
        self._versions: dict[str, int] = {}

    def add(self, name: str, output: Tensor) -> None:
        """Keep an output, and remember its state."""
        self.outputs[name] = output
        self._versions[name] = output._version  # noqa: SLF001  torch counts in-place writes here alone

    def overwritten(self) -> frozenset[str]:
        """The names of outputs that a later step wrote into, as an in-place ReLU does."""
        return frozenset(
            name
            for name, output in self.outputs.items()
            if output._version != self._versions[name]  # noqa: SLF001
        )


@contextmanager
def recording(
    module: nn.Module, layers: Sequence[Layer], *, copied: frozenset[str] = frozenset()
) -> Iterator[Recorded]:
    """Record the outputs of layers during the forward passes inside the block.

    Args:
        module: The network.
        layers: What to record.
        copied: Names of layers whose output a later step overwrites: these are handed on as a copy.

    Yields:
        The outputs, filled by the forward pass. Hooks are gone after the block, also after an exception.
    """
    recorded = Recorded()

    def heard(name: str, output: Tensor) -> Tensor | None:
        recorded.add(name, output)
        return output.clone() if name in copied else None

    with listening(module, layers, heard):
        yield recorded


@contextmanager
def listening(
    module: nn.Module, layers: Sequence[Layer], heard: Callable[[str, Tensor], Tensor | None]
) -> Iterator[None]:
    """Hear of the outputs of layers during the forward passes inside the block.

    Args:
        module: The network.
        layers: What to listen to.
        heard: Told a layer's name and its output; gives what is handed on instead, or None for the output itself.

    Yields:
        Nothing. Hooks are gone after the block, also after an exception.
    """
    wanted: dict[str, dict[int, str]] = {}
    for layer in layers:
        wanted.setdefault(layer.module, {})[layer.call] = layer.name
    modules = dict(module.named_modules()) if wanted else {}
    counts = dict.fromkeys(wanted, 0)

    def hook_of(module_name: str) -> Callable[[nn.Module, object, Tensor], Tensor | None]:
        def hook(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor | None:
            name = wanted[module_name].get(counts[module_name])
            counts[module_name] += 1
            return None if name is None else heard(name, output)

        return hook

    handles = [modules[name].register_forward_hook(hook_of(name)) for name in wanted]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _trace(module: nn.Module, inputs: Tensor) -> tuple[list[_Output], Tensor]:
    """Every module's outputs in firing order, and the embedding."""
    outputs: list[_Output] = []
    counts: dict[str, int] = {}

    def hook_of(name: str) -> Callable[[nn.Module, object, object], object]:
        def hook(_module: nn.Module, _inputs: object, output: object) -> object:
            outputs.append(_Output(name, counts.get(name, 0), output))
            counts[name] = counts.get(name, 0) + 1
            # A copy goes on, so that a later in-place step does not hide this output from the graph.
            return output.clone() if isinstance(output, Tensor) else None

        return hook

    named = [(name, child) for name, child in module.named_modules() if name]
    handles = [child.register_forward_hook(hook_of(name)) for name, child in named]
    try:
        embedding = module(inputs.detach().requires_grad_() * 1)
    finally:
        for handle in handles:
            handle.remove()
    return outputs, embedding


def _connected(embedding: Tensor, values: dict[str, Tensor]) -> set[str]:
    """The names of the outputs that the embedding depends on."""
    names = [name for name, value in values.items() if value.requires_grad]
    if not names or not embedding.requires_grad:
        return set()
    gradients = torch.autograd.grad(
        embedding.sum(), [values[name] for name in names], allow_unused=True
    )
    return {name for name, gradient in zip(names, gradients, strict=True) if gradient is not None}


def _layer(name: str, output: _Output, aspect: float) -> Layer | None:
    """The layer of an output that has a grid, else None."""
    shape = tuple(output.value.shape) if isinstance(output.value, Tensor) else ()
    if len(shape) == 4 and shape[2] * shape[3] > 1:  # noqa: PLR2004
        return Layer(name, output.module, output.call, shape[1], (shape[2], shape[3]))
    if len(shape) == 3 and (grid := _token_grid(shape[1], aspect)):  # noqa: PLR2004
        extra, size = grid
        return Layer(name, output.module, output.call, shape[2], size, extra)
    return None


def _token_grid(tokens: int, aspect: float) -> tuple[int, tuple[int, int]] | None:
    """How many leading tokens to leave out so that the others fill a grid of the input's aspect, and that grid."""
    for extra in range(_MOST_EXTRA_TOKENS + 1):
        columns = round(math.sqrt((tokens - extra) / aspect)) if tokens > extra else 0
        rows = round(columns * aspect)
        if rows * columns == tokens - extra and rows * columns > 1:
            return extra, (rows, columns)
    return None


def _automatic(module: nn.Module, layers: Sequence[Layer], choice: str) -> tuple[Layer, ...]:
    modules = dict(module.named_modules())

    def wanted(layer: Layer) -> bool:
        if layer.extra_tokens is None:
            return isinstance(modules[layer.module], nn.Conv2d)
        # A transformer's blocks stand side by side in a list; their inner parts do not.
        parent = modules[layer.module.rpartition(".")[0]]
        return isinstance(parent, nn.Sequential | nn.ModuleList) and any(
            modules[layer.module].children()
        )

    chosen = [layer for layer in layers if wanted(layer)]
    if not chosen:
        raise LayerError(
            "no convolution or transformer block with a grid reaches the embedding; name layers instead"
        )
    if choice == STAGES:
        last = {layer.size: layer for layer in chosen}
        chosen = [layer for layer in chosen if last[layer.size] is layer]
    return tuple(chosen)


def _match(
    wanted: Sequence[str], outputs: Sequence[_Output], layers: dict[str, Layer]
) -> list[str]:
    known = {output.module for output in outputs}
    chosen: dict[str, None] = {}
    for pattern in wanted:
        calls = [name for name, layer in layers.items() if pattern in {name, layer.module}]
        matches = calls or [name for name in layers if fnmatchcase(name, pattern)]
        if not matches:
            if pattern in known:
                raise LayerError(f"layer {pattern}: has no spatial extent")
            raise LayerError(f"layer {pattern}: no such layer; `leam models layers` lists them")
        chosen.update(dict.fromkeys(matches))
    return list(chosen)

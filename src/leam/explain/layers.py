"""Choose the layers of a network and record their outputs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from leam.errors import LayerError, ModelError
from leam.explain.affine import Affine, AffineTrace, version_of
from leam.recognizers.recognizer import Recognizer, evaluating

CONVOLUTIONS = "convolutions"
STAGES = "stages"
RAW_CONVOLUTIONS = "raw_convolutions"

# The modules whose output is a linear map of their input, ``(B, C, h, w)``.
_LINEAR_MAPS = (nn.Conv2d, nn.ConvTranspose2d)
# Vision transformers put at most this many class and register tokens before the patches.
_MOST_EXTRA_TOKENS = 8


@dataclass(frozen=True)
class Layer:
    """A layer, and where its activations and gradients are taken.

    A convolution's are taken after the frozen affine operations that follow it and that nothing else reads: batch
    normalisations, biases and factors that a graph optimiser merges into its weights. The maps are then those of the
    network's function, whether or not its file has been optimised. Other layers' are taken at their output.

    Attributes:
        name: The layer's module; with ``:0``, ``:1``, ... in the order of calls if it runs several times.
        module: The module at whose output activations and gradients are taken, by its name in ``named_modules()``.
        call: The number of that module's call, from 0.
        channels: Number of channels.
        size: Height and width of the grid.
        extra_tokens: For a transformer's ``(B, N, C)`` output, the number of leading tokens (class, registers) that
            are dropped before the others are arranged on the grid; None for a ``(B, C, h, w)`` output.
        affine: Frozen affine operations after that output that are functions and not modules; None if there are none.
    """

    name: str
    module: str
    call: int
    channels: int
    size: tuple[int, int]
    extra_tokens: int | None = None
    affine: Affine | None = field(default=None, compare=False, repr=False)

    @property
    def note(self) -> str:
        """How the output was arranged on a grid; empty for an ordinary feature map."""
        if self.extra_tokens is None:
            return ""
        rows, columns = self.size
        return f"tokens arranged on a {rows}x{columns} grid, {self.extra_tokens} class or register tokens dropped"

    @property
    def place(self) -> str:
        """Where activations and gradients are taken: a module, and the functions after it, if any are merged."""
        return self.module if self.affine is None else f"{self.module}, then functions"

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
        """The output as ``(B, C, h, w)``; tokens ``(B, N, C)`` are arranged on their grid."""
        if self.extra_tokens is None:
            return output
        patches = output[:, self.extra_tokens :].transpose(1, 2)
        return patches.reshape(*patches.shape[:2], *self.size)


@dataclass(frozen=True)
class _Output:
    """The output of one call of one module, and how often it had been written to if it is a tensor."""

    module: str
    call: int
    value: object
    version: int


def check_module(recognizer: Recognizer, inputs: Tensor) -> None:
    """Refuse a recognizer whose module cannot be explained.

    Args:
        recognizer: The recognizer.
        inputs: One input ``(1, 3, h, w)`` float32; its values do not matter.

    Raises:
        ModelError: The module contains script modules or parameters that are not float32, or does not return embeddings
            ``(1, D)``.
    """
    supported = "explanations need a module of float32 parameters that is not a ScriptModule"
    if any(isinstance(child, torch.jit.ScriptModule) for child in recognizer.module.modules()):
        raise ModelError(f"{recognizer.name}: the module contains a ScriptModule; {supported}")
    for name, parameter in recognizer.module.named_parameters():
        if parameter.is_floating_point() and parameter.dtype != torch.float32:
            raise ModelError(
                f"{recognizer.name}: parameter {name} is {parameter.dtype}; {supported}"
            )
    with torch.no_grad():
        recognizer.forward(inputs)


def choose_layers(
    module: nn.Module, inputs: Tensor, wanted: str | Sequence[str] = CONVOLUTIONS
) -> tuple[Layer, ...]:
    """Resolve a choice of layers on a network.

    Args:
        module: The network, in the mode in which it will run.
        inputs: One input ``(1, 3, h, w)``; its values do not matter.
        wanted: ``convolutions`` (every convolution whose output has a grid and reaches the embedding, and a
            transformer's blocks), ``stages`` (the last of these for each grid size), ``raw_convolutions`` (as
            ``convolutions``, but at their own outputs: maps then change if an optimiser merges a normalisation), or
            module names and globs.

    Returns:
        The layers: automatic choices and the matches of a glob in the order of execution, names in the given order.

    Raises:
        LayerError: A name or glob matches nothing, or names a layer that has no grid or does not reach the embedding.
    """
    with differentiable(module):
        outputs, embedding, trace = _trace(module, inputs)
        calls = Counter(output.module for output in outputs)
        names = [o.module if calls[o.module] == 1 else f"{o.module}:{o.call}" for o in outputs]
        aspect = inputs.shape[2] / inputs.shape[3]
        found = [_layer(name, output, aspect) for name, output in zip(names, outputs, strict=True)]
        spatial = [
            (layer, output.value)
            for layer, output in zip(found, outputs, strict=True)
            if layer and isinstance(output.value, Tensor)
        ]
        layers = {layer.name: layer for layer, _ in spatial}
        connected = _connected(embedding, {layer.name: value for layer, value in spatial})
        if isinstance(wanted, str) and wanted in {CONVOLUTIONS, STAGES, RAW_CONVOLUTIONS}:
            reached = [layer for layer in layers.values() if layer.name in connected]
            chosen = _automatic(module, reached, wanted)
        else:
            chosen = _match([wanted] if isinstance(wanted, str) else wanted, outputs, layers)
        for layer in chosen:
            if layer.name not in connected:
                raise LayerError(f"layer {layer.name}: does not reach the embedding")
        if wanted == RAW_CONVOLUTIONS:
            return tuple(chosen)
        return tuple(_merged(module, layer, outputs, trace) for layer in chosen)


def _merged(
    module: nn.Module, layer: Layer, outputs: Sequence[_Output], trace: AffineTrace
) -> Layer:
    """A convolution with the frozen affine operations that follow it; any other layer as it is."""
    if not isinstance(module.get_submodule(layer.module), _LINEAR_MAPS):
        return layer
    # A later module may overwrite a tensor and return it.
    places = {(id(output.value), output.version): output for output in outputs}
    (start,) = (o for o in outputs if (o.module, o.call) == (layer.module, layer.call))
    assert isinstance(start.value, Tensor)  # noqa: S101  it has a grid
    place, affine = start, None
    for step in trace.follow(start.value):
        affine = step.operation.after(affine)
        # Copies change nothing, and would only move the place into a container.
        if affine.changes and (output := places.get((id(step.tensor), step.version))):
            place, affine = output, None
    changed = affine if affine and affine.changes else None
    return replace(layer, module=place.module, call=place.call, affine=changed)


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
    names: dict[str, dict[int, list[str]]] = {}
    for layer in layers:
        names.setdefault(layer.module, {}).setdefault(layer.call, []).append(layer.name)
    modules = dict(module.named_modules()) if names else {}
    calls = dict.fromkeys(names, 0)

    def hook_of(module_name: str) -> Callable[[nn.Module, object, Tensor], Tensor | None]:
        def count(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor | None:
            found = names[module_name].get(calls[module_name], [])
            calls[module_name] += 1
            for name in found:
                replaced = hook(name, output)
                output = output if replaced is None else replaced
            return output if found else None

        return count

    handles = [modules[name].register_forward_hook(hook_of(name)) for name in names]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _trace(module: nn.Module, inputs: Tensor) -> tuple[list[_Output], Tensor, AffineTrace]:
    """The outputs of all modules in the order of execution, the embedding, and the functions that read them."""
    outputs: list[_Output] = []
    counts: dict[str, int] = {}

    def hook_of(name: str) -> Callable[[nn.Module, object, object], object]:
        def hook(_module: nn.Module, _inputs: object, output: object) -> object:
            version = version_of(output) if isinstance(output, Tensor) else 0
            outputs.append(_Output(name, counts.get(name, 0), output, version))
            counts[name] = counts.get(name, 0) + 1
            # The network goes on with a copy, so that a later in-place operation does not change this output.
            return output.clone() if isinstance(output, Tensor) else None

        return hook

    named = [(name, child) for name, child in module.named_modules() if name]
    handles = [child.register_forward_hook(hook_of(name)) for name, child in named]
    # The network gets a copy, since it may write into its input.
    given = inputs.detach().requires_grad_() * 1
    trace = AffineTrace(given)
    try:
        with trace:
            embedding = module(given)
    finally:
        for handle in handles:
            handle.remove()
    return outputs, embedding, trace


def _connected(embedding: Tensor, values: dict[str, Tensor]) -> set[str]:
    """The names of the outputs that the embedding depends on."""
    names = [name for name, value in values.items() if value.requires_grad]
    if not names or not embedding.requires_grad:
        return set()
    gradients: tuple[Tensor | None, ...] = torch.autograd.grad(
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
    """How many leading tokens to drop so that the others fill a grid of the input's aspect ratio, and that grid."""
    for extra in range(_MOST_EXTRA_TOKENS + 1):
        columns = round(math.sqrt((tokens - extra) / aspect)) if tokens > extra else 0
        rows = round(columns * aspect)
        if rows * columns == tokens - extra and rows * columns > 1:
            return extra, (rows, columns)
    return None


def _automatic(module: nn.Module, layers: Sequence[Layer], choice: str) -> list[Layer]:
    modules = dict(module.named_modules())

    def wanted(layer: Layer) -> bool:
        if layer.extra_tokens is None:
            return isinstance(modules[layer.module], nn.Conv2d)
        # A transformer keeps its blocks in a list; the parts of a block are not in one.
        parent = modules[layer.module.rpartition(".")[0]]
        return isinstance(parent, nn.Sequential | nn.ModuleList) and any(
            modules[layer.module].children()
        )

    chosen = [layer for layer in layers if wanted(layer)]
    if not chosen:
        raise LayerError(
            "no convolution or transformer block with a spatial output reaches the embedding; name layers instead"
        )
    if choice == STAGES:
        last = {layer.size: layer for layer in chosen}
        chosen = [layer for layer in chosen if last[layer.size] is layer]
    return chosen


def _match(
    wanted: Sequence[str], outputs: Sequence[_Output], layers: dict[str, Layer]
) -> list[Layer]:
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
    return [layers[name] for name in chosen]

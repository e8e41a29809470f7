"""Choose the layers of a network."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from leam.errors import LayerError, ModelError
from leam.explain.affine import AffineTrace, version_of
from leam.explain.blocks import ancestors, block_ends, residual_sums
from leam.explain.grid import GridTrace, Mark, Value
from leam.explain.identity import Shell, connections_only
from leam.explain.layers import (
    CONVOLUTIONS,
    INPUT,
    RAW_CONVOLUTIONS,
    STAGES,
    Layer,
    differentiable,
    grid_in,
    hooked,
)
from leam.explain.layouts import BCHW, Layout, find_layout
from leam.limits import own_pages
from leam.recognizers.recognizer import Recognizer

_LOGGER = logging.getLogger(__name__)
# The modules whose output is a linear map of their input, ``(B, C, h, w)``.
_LINEAR_MAPS = (nn.Conv2d, nn.ConvTranspose2d)
_LAYOUT_HELP = (
    "a letter for each axis: B faces, C channels, H rows, W columns, N tokens row by row, with +1 for one token before "
    "them that is no patch"
)


@dataclass(frozen=True)
class _Output:
    """What one call of one module returned, or its first input.

    Attributes:
        module: The module's name.
        call: The number of the call.
        kept: What it is; of a container with a grid, the tensor that :func:`leam.explain.layers.grid_in` gives. Of a
            tensor, its :class:`leam.explain.identity.Shell`.
        number: The tensor's number in the trace of functions.
        edge: Where the tensor is in the graph of gradients; None if it has none.
        version: How often it had been written to if it is a tensor.
        mark: What is known about the tensor at that time.
        at_input: Whether it is the input.
    """

    module: str
    call: int
    kept: object
    number: int
    edge: GradientEdge | None
    version: int
    mark: Mark | None
    at_input: bool


@dataclass(frozen=True)
class _Pass:
    """A forward pass: outputs and inputs of modules in the order of execution, the embedding, and what was traced."""

    outputs: tuple[_Output, ...]
    embedding: Tensor
    functions: AffineTrace
    grid: GridTrace


def check_module(recognizer: Recognizer, inputs: Tensor) -> None:
    """Refuse a recognizer whose module cannot be explained.

    Args:
        recognizer: The recognizer.
        inputs: One input ``(1, C, h, w)`` float32; its values do not matter.

    Raises:
        ModelError: The module contains TorchScript modules, or does not return embeddings ``(1, D)``.
    """
    named = recognizer.module.named_modules()
    script = next((n for n, child in named if isinstance(child, torch.jit.ScriptModule)), None)
    if script is not None:
        what = f"module {script} is" if script else "the module is"
        raise ModelError(
            f"{recognizer.name}: {what} a TorchScript module, whose layers cannot be read; give the original module, "
            "or export it with torch.onnx.export(..., dynamo=False) and use the architecture onnx"
        )
    with torch.no_grad():
        recognizer.forward(inputs)


def layers_of(
    recognizer: Recognizer, wanted: str | Sequence[str] = CONVOLUTIONS
) -> tuple[Layer, ...]:
    """Resolve a choice of layers on a recognizer.

    Args:
        recognizer: The recognizer.
        wanted: As for :func:`choose_layers`.

    Raises:
        ModelError: As for :func:`check_module`.
        LayerError: As for :func:`choose_layers`.
    """
    with differentiable(recognizer.module):
        blank = _blank(recognizer)
        check_module(recognizer, blank)
        embedding = partial(recognizer.embedding, count=1)
        return choose_layers(recognizer.module, blank, wanted, embedding)


def last_sum_of(recognizer: Recognizer) -> Layer | None:
    """The layer at the last residual sum that has a grid; None if there is none.

    Args:
        recognizer: The recognizer, whose layers can be read.

    Raises:
        LayerError: The embedding depends on the sum, but there are no gradients.
    """
    module, embedding = recognizer.module, partial(recognizer.embedding, count=1)
    with differentiable(module):
        run = _run(module, _blank(recognizer), embedding, entries=True)
        sums = residual_sums(run.grid.sums)
        named = {
            name: output
            for name, output in _named(run, sums).items()
            if output.mark and output.mark.value in sums
        }
        layers = [layer for name, out in named.items() if (layer := _layer(module, name, out))]
        connected = _connected(run, layers, named)
    reached = [layer for layer in layers if layer.name in connected]
    return max(reached, key=lambda layer: _number(named[layer.name]), default=None)


def _number(output: _Output) -> int:
    return output.mark.value.number if output.mark else -1


def _blank(recognizer: Recognizer) -> Tensor:
    """A black face as the network's input."""
    return recognizer.preprocess(torch.zeros(1, *recognizer.card.input_size, 3, dtype=torch.uint8))


def choose_layers(
    module: nn.Module,
    inputs: Tensor,
    wanted: str | Sequence[str] = CONVOLUTIONS,
    embedding: Callable[[Any], Tensor] = lambda output: output,
) -> tuple[Layer, ...]:
    """Resolve a choice of layers on a network.

    Args:
        module: The network, in the mode in which it will run.
        inputs: One input ``(1, C, h, w)``; its values do not matter.
        wanted: ``convolutions`` (every convolution whose output has a grid and reaches the embedding, and a
            transformer's blocks instead of the convolutions inside their attention, see
            :func:`leam.explain.blocks.block_ends`), ``stages`` (the last of these for each grid size),
            ``raw_convolutions`` (as ``convolutions``, but at their own outputs: maps then change if an optimiser merges
            a normalisation), or module names and globs. ``NAME@LAYOUT`` gives the layout of an output, see
            :class:`leam.explain.layouts.Layout`.
        embedding: From what the module returns to the embedding.

    Returns:
        The layers: automatic choices and the matches of a glob in the order of execution, names in the given order.

    Raises:
        LayerError: A name or glob matches nothing, or names a layer that has no grid, whose layout is not clear, or
            that does not reach the embedding; or the module computes without gradients.
    """
    with differentiable(module):
        run = _run(module, inputs, embedding)
        ends = block_ends(run.grid.sums)
        if not {end.number for end in ends} <= set(_numbers(module, run)):
            run = _run(module, inputs, embedding, entries=True)
            ends = block_ends(run.grid.sums)
        aspect = inputs.shape[2] / inputs.shape[3]
        named = _named(run, ends)
        found = {name: _layer(module, name, output) for name, output in named.items()}
        layers = {name: layer for name, layer in found.items() if layer}
        for name in _without_faces(module, inputs, layers.values()):
            del layers[name]
        blocks = _blocks(module, ends, named, layers)
        layers = {
            name: layer for name, layer in layers.items() if name in blocks or not layer.at_input
        }
        if isinstance(wanted, str) and wanted in {CONVOLUTIONS, STAGES, RAW_CONVOLUTIONS}:
            inside = _inside(ends, blocks, named)
            convolutions = {
                name
                for name, layer in layers.items()
                if isinstance(module.get_submodule(layer.module), nn.Conv2d) and not layer.at_input
                if (mark := named[name].mark) is None or mark.value not in inside
            }
            candidates = [layer for name, layer in layers.items() if name in convolutions | blocks]
            connected = _connected(run, candidates, named)
            chosen = [layer for layer in candidates if layer.name in connected]
            if not chosen:
                raise LayerError(_no_layers(module, run))
            # Blocks with convolutions are explained by these.
            if ends and not blocks and not any(ends.values()) and _attends(run):
                _LOGGER.warning(
                    "%d blocks of the network are not explained, since the rows and columns of their outputs could not "
                    "be followed from the picture; only convolutions are. Name layers with their layout, if they have "
                    "a grid",
                    len(ends),
                )
            if wanted == STAGES:
                last = {layer.size: layer for layer in chosen}
                chosen = [layer for layer in chosen if last[layer.size] is layer]
        else:
            patterns = [wanted] if isinstance(wanted, str) else wanted
            chosen = _match(patterns, named, layers, aspect)
            connected = _connected(run, chosen, named)
            for layer in chosen:
                if layer.name not in connected and not _globbed(layer, patterns):
                    raise LayerError(f"layer {layer.name}: does not reach the embedding")
            chosen = [layer for layer in chosen if layer.name in connected]
        if wanted == RAW_CONVOLUTIONS:
            return tuple(chosen)
        return tuple(_merged(module, layer, run) for layer in chosen)


def _attends(run: _Pass) -> bool:
    """Whether attention leads to the embedding."""
    mark = run.grid.mark(run.embedding)
    return mark is not None and any(value.attends for value in ancestors(mark.value))


def _numbers(module: nn.Module, run: _Pass) -> Iterator[int]:
    """The numbers of the values that an output holds in a known layout."""
    for output in run.outputs:
        if output.mark and _layer(module, output.module, output):
            yield output.mark.value.number


def _without_faces(module: nn.Module, inputs: Tensor, layers: Iterable[Layer]) -> list[str]:
    """The names of the layers that do not have the faces where their layout says.

    With a single face, places of a face that were moved into the axis of the faces look like tokens.
    """
    doubtful = [layer for layer in layers if not layer.layout.axes.startswith("B")]
    sizes: dict[str, int] = {}

    def note(name: str, output: Tensor) -> None:
        layout = {layer.name: layer.layout for layer in doubtful}[name]
        sizes[name] = output.shape[layout.axes.index("B")]

    # A network may take one face only.
    with suppress(RuntimeError, AssertionError), torch.no_grad(), hooked(module, doubtful, note):
        if doubtful:
            module(torch.cat([inputs, inputs]))
    return [name for name, size in sizes.items() if size != 2]  # noqa: PLR2004


def _merged(module: nn.Module, layer: Layer, run: _Pass) -> Layer:
    """A convolution with the frozen affine operations that follow it; any other layer as it is."""
    if not isinstance(module.get_submodule(layer.module), _LINEAR_MAPS) or layer.at_input:
        return layer
    outputs = [output for output in run.outputs if not output.at_input]
    # A later module may overwrite a tensor and return it.
    places = {(output.number, output.version): output for output in outputs}
    (start,) = (o for o in outputs if (o.module, o.call) == (layer.module, layer.call))
    place, affine = start, None
    for step in run.functions.follow(start.number, start.version):
        affine = step.operation.after(affine)
        # Copies change nothing, and would only move the place into a container.
        if affine.changes and (output := places.get((step.number, step.version))):
            place, affine = output, None
    changed = affine if affine and affine.changes else None
    return replace(layer, module=place.module, call=place.call, affine=changed)


def _run(
    module: nn.Module,
    inputs: Tensor,
    embedding: Callable[[Any], Tensor],
    *,
    entries: bool = False,
) -> _Pass:
    """Run a network once and trace it; with the first inputs of modules if wanted."""
    outputs: list[_Output] = []
    entered: list[tuple[_Output, Tensor]] = []
    # The network gets a copy, since it may write into its input.
    given = inputs.detach().requires_grad_() * 1
    functions, grid = AffineTrace(given), GridTrace(given)

    def note(name: str, calls: Iterator[int], value: object, *, at_input: bool) -> None:
        if not isinstance(value, Tensor):
            outputs.append(_Output(name, next(calls), value, -1, None, 0, None, at_input))
            return
        edge = get_gradient_edge(value) if value.requires_grad else None
        number, version, mark = functions.number(value), version_of(value), grid.mark(value)
        known = _Output(name, next(calls), Shell.of(value), number, edge, version, mark, at_input)
        outputs.append(known)
        if at_input:
            entered.append((known, value))

    def enter(name: str, calls: Iterator[int], _module: nn.Module, given: tuple[Any, ...]) -> None:
        note(name, calls, given[0] if given else None, at_input=True)

    def leave(
        name: str, calls: Iterator[int], _module: nn.Module, _given: object, output: object
    ) -> object:
        tensor, rebuilt = grid_in(output)
        note(name, calls, output if tensor is None else tensor, at_input=False)
        # The network goes on with a copy, so that a later in-place operation does not change this output.
        return None if tensor is None else rebuilt(tensor.clone())

    with ExitStack() as hooks:
        for name, child in module.named_modules():
            if name and entries:
                hook = partial(enter, name, count())
                hooks.enter_context(child.register_forward_pre_hook(hook))
            if name:
                hooks.enter_context(child.register_forward_hook(partial(leave, name, count())))
        with own_pages(module.modules()), grid, functions, connections_only():
            found = embedding(module(given))
    # What was overwritten later cannot be recorded at a module's input.
    unchanged = {id(known) for known, value in entered if version_of(value) == known.version}
    kept = (o for o in outputs if not o.at_input or id(o) in unchanged)
    return _Pass(tuple(kept), found, functions, grid)


def _connected(run: _Pass, layers: Sequence[Layer], named: Mapping[str, _Output]) -> set[str]:
    """The names of the layers that the embedding depends on.

    Raises:
        LayerError: The embedding depends on a layer, but there are no gradients.
    """
    values = {layer.name: named[layer.name.partition("@")[0]] for layer in layers}
    mark = run.grid.mark(run.embedding)
    reached = ancestors(mark.value) if mark else set()
    for name, output in values.items():
        assert isinstance(output.kept, Shell)  # noqa: S101  it has a grid
        if not output.kept.requires_grad and output.mark and output.mark.value in reached:
            raise LayerError(f"layer {name}: has no gradient; {_without_gradients(run)}")
    edges = {name: output.edge for name, output in values.items() if output.edge}
    if not edges or not run.embedding.requires_grad:
        return set()
    gradients: tuple[Tensor | None, ...] = torch.autograd.grad(
        run.embedding.sum(), list(edges.values()), allow_unused=True
    )
    return {name for name, gradient in zip(edges, gradients, strict=True) if gradient is not None}


def _without_gradients(run: _Pass) -> str:
    """Why there are no gradients, and the way out."""
    functions = [run.embedding.grad_fn]
    seen = set()
    while functions:
        function = functions.pop()
        if function is None or function in seen:
            continue
        seen.add(function)
        if function.name() == "CheckpointFunctionBackward":
            return (
                "the module recomputes its activations (torch.utils.checkpoint with use_reentrant=True); "
                "switch checkpoints off, or use use_reentrant=False"
            )
        functions.extend(following for following, _ in function.next_functions)
    if run.grid.without_gradients:
        return (
            f"the forward pass runs in {run.grid.without_gradients}; remove it from the module's code, or use a "
            "method that needs no gradients, such as occlusion"
        )
    return (
        "the forward pass detaches its tensors (detach, data or numpy); remove that from the module's code, or use a "
        "method that needs no gradients, such as occlusion"
    )


def _named(run: _Pass, ends: Collection[Value]) -> dict[str, _Output]:
    """Outputs by the names of their layers, and the inputs at which a block ends."""
    calls = Counter(output.module for output in run.outputs if not output.at_input)
    named = {}
    for output in run.outputs:
        name = output.module if calls[output.module] <= 1 else f"{output.module}:{output.call}"
        if not output.at_input:
            named[name] = output
        elif output.mark and output.mark.value in ends:
            named[name + INPUT] = output
    return named


def _layer(module: nn.Module, name: str, output: _Output) -> Layer | None:
    """The layer of an output whose layout is known, else None."""
    if not isinstance(output.kept, Shell):
        return None
    shape = tuple(output.kept.shape)
    places = output.mark.places if output.mark else None
    found = find_layout(places, shape) if places else None
    if not found and isinstance(module.get_submodule(output.module), _LINEAR_MAPS):
        # Torch defines the axes of a convolution, unless something else than a picture was put on them.
        grid = bool(places and places.rows is not None and places.columns is not None)
        if output.at_input or grid or len(shape) != 4 or shape[2] * shape[3] == 1:  # noqa: PLR2004
            return None
        found = BCHW, (shape[2], shape[3])
    return found and _layer_of(name, output, *found)


def _layer_of(name: str, output: _Output, layout: Layout, size: tuple[int, int]) -> Layer:
    assert isinstance(output.kept, Shell)  # noqa: S101  it has a layout
    channels = layout.arranged(output.kept.tensor.detach(), size).shape[1]
    return Layer(name, output.module, output.call, channels, size, layout, output.at_input)


def _blocks(
    module: nn.Module,
    ends: Iterable[Value],
    named: Mapping[str, _Output],
    layers: Mapping[str, Layer],
) -> set[str]:
    """The names of the layers at which a transformer's blocks end."""
    modules = dict(module.named_modules())

    def rank(name: str) -> tuple[bool, bool]:
        # A block in a list, and its output rather than the input of what follows it.
        own = modules[named[name].module]
        parent = modules[named[name].module.rpartition(".")[0]]
        lists = nn.Sequential | nn.ModuleList
        return named[name].at_input, isinstance(own, lists) or not isinstance(parent, lists)

    places: dict[Value, list[str]] = {}
    for name in layers:
        if mark := named[name].mark:
            places.setdefault(mark.value, []).append(name)
    return {min(places[end], key=rank) for end in ends if end in places}


def _inside(
    ends: Mapping[Value, Collection[Value]], blocks: Iterable[str], named: Mapping[str, _Output]
) -> set[Value]:
    """The convolutions in the attention of blocks that are layers."""
    marks = (named[name].mark for name in blocks)
    return {value for mark in marks if mark for value in ends.get(mark.value, ())}


def _no_layers(module: nn.Module, run: _Pass) -> str:
    """Why there is nothing to choose from."""
    if not run.embedding.requires_grad:
        return f"the embedding has no gradient; {_without_gradients(run)}"
    if not any(output.mark for output in run.outputs):
        return (
            "the module runs no submodules, as an exported program does; give the original module, or export it with "
            "torch.onnx.export and use the architecture onnx"
        )
    for output in run.outputs:
        if isinstance(module.get_submodule(output.module), nn.Conv2d) and not output.at_input:
            if not _layer(module, output.module, output):
                return _no_layout(output.module, output)
            return (
                f"no gradient of the embedding reaches layer {output.module} or another one; if it feeds the "
                "embedding, operations after it have no gradients, such as quantised ones: give the float module, or "
                "use a method that needs no gradients, such as occlusion"
            )
    return (
        "no convolution or transformer block with a spatial output reaches the embedding; name layers, or use a method "
        "that needs none, such as input-gradients or occlusion"
    )


def _match(
    wanted: Sequence[str],
    named: Mapping[str, _Output],
    layers: Mapping[str, Layer],
    aspect: float,
) -> list[Layer]:
    chosen: dict[str, Layer] = {}
    for pattern in wanted:
        matches = _matching(pattern, layers, layers)
        if matches:
            chosen |= {name: layers[name] for name in matches}
            continue
        base, at, text = pattern.rpartition("@")
        outputs = {name: output for name, output in named.items() if not output.at_input}
        found = _matching(base if at else pattern, outputs, outputs)
        if not found:
            raise LayerError(f"layer {pattern}: no such layer; `leam models layers` lists them")
        for name in found:
            if not at:
                raise LayerError(_no_layout(name, outputs[name]))
            layer = _as_told(f"{name}@{text}", outputs[name], text, aspect)
            chosen[layer.name] = layer
    return list(chosen.values())


def _globbed(layer: Layer, patterns: Collection[str]) -> bool:
    """Whether a layer was found by a glob alone, which leaves out what does not reach the embedding."""
    names = {layer.name, layer.module, layer.name.rpartition("@")[0]}
    return names.isdisjoint(patterns)


def _matching(
    pattern: str, names: Iterable[str], places: Mapping[str, Layer] | Mapping[str, _Output]
) -> list[str]:
    calls = [name for name in names if pattern in {name, places[name].module}]
    return calls or [name for name in names if fnmatchcase(name, pattern)]


def _no_layout(name: str, output: _Output) -> str:
    """Why an output cannot be a layer."""
    if not isinstance(output.kept, Shell):
        return (
            f"layer {name}: returns {type(output.kept).__name__} without a tensor that has a grid; name a module "
            "inside it"
        )
    shape = tuple(output.kept.shape)
    if sum(size > 1 for size in shape[1:]) < 2:  # noqa: PLR2004
        return f"layer {name}: has no spatial extent"
    return (
        f"layer {name}: which axes of its output {shape} are rows and columns could not be followed from the picture; "
        f"if it has a grid, name its layout, such as {name}@BHWC or {name}@BNC+1 ({_LAYOUT_HELP})"
    )


def _as_told(name: str, output: _Output, text: str, aspect: float) -> Layer:
    """The layer of an output whose layout the user has named."""
    layout = Layout.parse(text)
    if layout is None:
        raise LayerError(f"layer {name}: {text} is no layout; write {_LAYOUT_HELP}")
    shape = tuple(output.kept.shape) if isinstance(output.kept, Shell) else ()
    size = layout.size(shape, aspect)
    if size is None or shape[layout.axes.index("B")] != 1:
        raise LayerError(f"layer {name}: an output of shape {shape} has not the layout {layout}")
    return _layer_of(name, output, layout, size)

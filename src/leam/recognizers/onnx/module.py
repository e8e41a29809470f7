"""The torch module of an imported ONNX graph, which runs its nodes in order."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from leam.limits import own_pages
from leam.recognizers.onnx.operators.declaration import Declaration, declared

# A gradient keeps at most so many bytes of values, if many steps in a row are not explained.
_MOST_KEPT = 256 << 20
_LONG = 200
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


@dataclass(frozen=True)
class Node:
    """A node of the graph.

    Attributes:
        name: The unique name of its layer.
        operator: The ONNX operator; with its domain, if that is another than ONNX's.
        attributes: The attributes that the file gives.
        inputs: Names of the values that it reads; empty for an omitted input.
        outputs: Names of the values that it writes; empty for an output that nothing reads.
        opset: The version of the standard operators.
        captured: Names of the values that its subgraphs read, and the names under which they are known here.
        spent: Names of the values that no later node reads.
    """

    name: str
    operator: str
    attributes: Mapping[str, Any]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    opset: int
    captured: Mapping[str, str] = field(default_factory=dict)
    spent: tuple[str, ...] = ()

    @property
    def read(self) -> tuple[bool, ...]:
        """Whether each output is read."""
        return tuple(map(bool, self.outputs))

    @property
    def reads(self) -> set[str]:
        """Names of the values that it or its subgraphs read."""
        return {*self.inputs, *self.captured.values()} - {""}


def without_trailing(names: Iterable[str]) -> tuple[str, ...]:
    """Names without the empty ones at the end."""
    kept = list(names)
    while kept and not kept[-1]:
        kept.pop()
    return tuple(kept)


def needed(nodes: Iterable[Node], targets: Iterable[str]) -> list[Node]:
    """The nodes that the targets depend on, in order, without the names of outputs that nothing reads.

    Each gets the values that no later node reads.
    """
    nodes, alive = list(nodes), set(targets)
    written = {name for node in nodes for name in node.outputs}
    kept = []
    for node in reversed(nodes):
        outputs = tuple(name if name in alive else "" for name in node.outputs)
        if any(outputs):
            last = {name for name in node.reads if name in written and name not in alive}
            alive |= node.reads
            kept.append(replace(node, outputs=outputs, spent=tuple(sorted(last))))
    return kept[::-1]


class Operation(nn.Module):
    """A node without a corresponding torch layer."""

    def __init__(self, declaration: Declaration, attributes: Mapping[str, Any]) -> None:
        super().__init__()
        self.operator = declaration.name
        self.function = declaration.function
        self.attributes = attributes
        self._since = declaration.since

    def __getstate__(self) -> dict[str, Any]:
        """The state without the function, which has no name that another process could find it by."""
        return {name: value for name, value in vars(self).items() if name != "function"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the function from the operator."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self.function = declared(self.operator, self._since).function

    def forward(self, *inputs: Tensor | None) -> Any:  # noqa: ANN401  one tensor or several
        """From the node's inputs to its output or outputs."""
        return self.function(*inputs, **self.attributes)

    def extra_repr(self) -> str:
        """The operator and its attributes."""
        return ", ".join([self.operator, *(f"{k}={v!r}" for k, v in self.attributes.items())])


class _Recomputed:
    """A function whose values are computed again in the backward pass, instead of being kept for it.

    ``torch.utils.checkpoint`` does the same, but imports torch's compiler, which takes 1 s and 60 MB.
    """

    def __init__(self, run: Callable[[], dict[str, Tensor]], device: str) -> None:
        self._run = run
        self._count = 0
        self._again: dict[int, Tensor] = {}
        cast = torch.is_autocast_enabled(device)
        self._autocast = partial(torch.autocast, device, torch.get_autocast_dtype(device), cast)

    def first(self) -> dict[str, Tensor]:
        """The results, of which a gradient can be computed."""

        def pack(_: Tensor) -> int:
            self._count += 1
            return self._count - 1

        with saved_tensors_hooks(pack, self._unpack):
            return self._run()

    def _unpack(self, place: int) -> Tensor:
        if place not in self._again:
            kept: list[Tensor] = []
            keep = saved_tensors_hooks(lambda v: kept.append(v.detach()), lambda _: torch.empty(0))
            with torch.enable_grad(), self._autocast(), keep:
                self._run()
            self._again = dict(enumerate(kept))
        return self._again.pop(place)


class Graph(nn.Module):
    """A network from an ONNX file: ``(B, 3, h, w)`` to ``(B, D)``, for any batch size.

    Each node is a submodule under its own name, without the leading slash and with underscores for dots, which torch
    reserves for nesting: ``/stem/stem.0/Conv`` is the layer ``stem/stem_0/Conv``.

    Attributes:
        steps: The nodes in order.
        target: The name of the value that is returned.
        face_bytes: Bytes of all values of one face together, which a gradient keeps; 0 if unknown.
        peak_bytes: The most bytes that values of one face occupy at one time; 0 if unknown.
    """

    def __init__(self, source: str, target: str, *, channels_last: bool) -> None:
        super().__init__()
        self.steps: list[Node] = []
        self._source, self.target = source, target
        self._channels_last = channels_last
        self._constants: dict[str, str] = {}
        self._integers: dict[str, Tensor] = {}
        self.face_bytes = self.peak_bytes = 0

    def forward(self, x: Tensor) -> Tensor:
        """Embeddings ``(B, D)`` of ``(B, 3, h, w)``."""
        values: dict[str, Tensor] = self.start(x)
        large = torch.is_grad_enabled() and len(x) * self.face_bytes > _MOST_KEPT
        with own_pages(self.steps) if large else nullcontext():
            for steps in self._stretches() if large else [self.steps]:
                run = partial(self._through, steps, values, x.device)
                again = large and len(steps) > 1
                values = _Recomputed(run, x.device.type).first() if again else run()
        # A graph that was written for one face may have dropped the batch axis.
        return values[self.target].reshape(len(x), -1)

    def _through(
        self, steps: Iterable[Node], values: Mapping[str, Tensor], device: torch.device
    ) -> dict[str, Tensor]:
        """The values after steps that a later step reads."""
        alive = dict(values)
        for step in steps:
            alive.update(self.run(step, alive, device))
            for name in step.spent:
                del alive[name]
        return alive

    def _stretches(self) -> Iterator[list[Node]]:
        """The steps in order; many without hooks in a row in stretches of similar length, and the others alone."""
        for bare, group in groupby(self.steps, self._is_bare):
            steps = list(group)
            size = math.isqrt(len(steps)) if bare and len(steps) >= _LONG else 1
            for start in range(0, len(steps), size):
                yield steps[start : start + size]

    def _is_bare(self, step: Node) -> bool:
        """Whether nobody sees the calls of a step's module, so that it may be called twice."""
        state = vars(self._modules[step.name])
        return not any(map(state.get, _HOOKS)) and "forward" not in state

    def start(self, x: Tensor) -> dict[str, Tensor]:
        """The values before the first step."""
        return {self._source: x.permute(0, 2, 3, 1) if self._channels_last else x}

    def run(self, step: Node, values: dict[str, Tensor], device: torch.device) -> dict[str, Tensor]:
        """The outputs of a step, by name."""
        inputs = [self.value(name, values) if name else None for name in step.inputs]
        # Layer names have no dots, as get_submodule expects, which is slow.
        outputs = self._modules[step.name](*inputs)  # type: ignore[misc]
        if isinstance(outputs, Tensor):
            outputs = (outputs,)
        # Values computed from shapes are on the CPU; only integers, which are shapes and indices, stay there.
        moved = (value.to(device) if value.is_floating_point() else value for value in outputs)
        return {name: value for name, value in zip(step.outputs, moved, strict=False) if name}

    def add_step(self, node: Node, module: nn.Module) -> None:
        """Append a node and its module, which is called with the values that the node reads."""
        self.steps.append(node)
        self.add_module(node.name, module)

    def add_constant(self, name: str, value: Tensor) -> None:
        """Store a constant that an operation reads at run time."""
        if name in self._constants or name in self._integers:
            return
        if value.is_floating_point():
            place = f"constant_{len(self._constants)}"
            while hasattr(self, place):  # a node may have this name
                place += "_"
            self._constants[name] = place
            self.register_buffer(place, value)
        else:
            self._integers[name] = value

    def value(self, name: str, values: dict[str, Tensor]) -> Tensor:
        """A value by name, computed or constant."""
        if name in values:
            return values[name]
        if name in self._integers:
            return self._integers[name]
        return self.get_buffer(self._constants[name])

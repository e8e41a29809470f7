"""The torch module of an imported ONNX graph, which runs its nodes in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from leam.recognizers.onnx.operators import OPERATORS, Attributes


@dataclass(frozen=True)
class Node:
    """A node of the graph.

    Attributes:
        name: The unique name of its layer.
        operator: The ONNX operator.
        attributes: The node's attributes, and ``operator``, ``opset`` and ``outputs``.
        inputs: Names of the values that it reads; empty for an omitted input.
        outputs: Names of the values that it writes.
        spent: Names of the values that no later node reads.
    """

    name: str
    operator: str
    attributes: Attributes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    spent: tuple[str, ...] = ()


class Operation(nn.Module):
    """A node without a corresponding torch layer."""

    def __init__(self, operator: str, attributes: Attributes) -> None:
        super().__init__()
        self.operator = operator
        self.attributes = attributes

    def forward(self, *inputs: Tensor | None) -> Any:  # noqa: ANN401  one tensor or several
        """From the node's inputs to its output or outputs."""
        return OPERATORS[self.operator](self.attributes, *inputs)

    def extra_repr(self) -> str:
        """The operator's name."""
        return self.operator


class Graph(nn.Module):
    """A network from an ONNX file: ``(B, 3, h, w)`` to ``(B, D)``, for any batch size.

    Each node is a submodule under its own name, without the leading slash and with underscores for dots, which torch
    reserves for nesting: ``/stem/stem.0/Conv`` is the layer ``stem/stem_0/Conv``.
    """

    def __init__(self, source: str, target: str, *, channels_last: bool) -> None:
        super().__init__()
        self.steps: list[Node] = []
        self._source, self._target = source, target
        self._channels_last = channels_last
        self._constants: dict[str, str] = {}
        self._integers: dict[str, Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Embeddings ``(B, D)`` of ``(B, 3, h, w)``."""
        values: dict[str, Tensor] = self.start(x)
        for step in self.steps:
            values.update(self.run(step, values, x.device))
            for name in step.spent:
                del values[name]
        # A graph that was written for one face may have dropped the batch axis.
        return values[self._target].reshape(len(x), -1)

    def start(self, x: Tensor) -> dict[str, Tensor]:
        """The values before the first step."""
        return {self._source: x.permute(0, 2, 3, 1) if self._channels_last else x}

    def run(self, step: Node, values: dict[str, Tensor], device: torch.device) -> dict[str, Tensor]:
        """The outputs of a step, by name."""
        inputs = [self.value(name, values) if name else None for name in step.inputs]
        outputs = self.get_submodule(step.name)(*inputs)
        if isinstance(outputs, Tensor):
            outputs = (outputs,)
        # Values computed from shapes are on the CPU; only integers, which are shapes and indices, stay there.
        moved = (value.to(device) if value.is_floating_point() else value for value in outputs)
        return dict(zip(step.outputs, moved, strict=False))

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

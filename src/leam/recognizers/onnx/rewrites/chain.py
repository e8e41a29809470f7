"""Write nodes as the simpler nodes that they stand for.

A function that is registered with :data:`rewrites` gets a :class:`Chain` and the names of the node's inputs, empty for
an omitted one; its keyword-only parameters are attributes, as in
:mod:`leam.recognizers.onnx.operators.declaration`, and ``**`` passes attributes on to the nodes that it writes. It
returns the name of its output, or the names of several.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from leam.recognizers.onnx.module import Node, without_trailing
from leam.recognizers.onnx.operators.declaration import Operators

REWRITES = Operators(leading=1)
"""The operators that stand for other nodes."""
rewrites = REWRITES.implements


class Chain:
    """Collects the nodes that a node stands for. The one with its operator's name in it has the node's name."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._named = False
        self.nodes: list[Node] = []

    def __call__(self, operator: str, *inputs: str, **attributes: Any) -> str:  # noqa: ANN401
        """Append a node with one output, and return the output's name."""
        return self.several(operator, 1, *inputs, **attributes)[0]

    def several(
        self,
        operator: str,
        count: int,
        *inputs: str,
        **attributes: Any,  # noqa: ANN401
    ) -> tuple[str, ...]:
        """Append a node, and return the names of its outputs."""
        name = f"{self._node.name}_{operator}"
        if not self._named and operator in self._node.operator:
            self._named, name = True, self._node.name
        # Names in a file are printable, so that these values have names of their own.
        first = f"{self._node.name}\n{len(self.nodes)}"
        outputs = tuple(f"{first}\n{place}" for place in range(count))
        given = without_trailing(inputs)
        self.nodes.append(Node(name, operator, attributes, given, outputs, self._node.opset))
        return outputs


def standard_nodes(node: Node) -> list[Node]:
    """The nodes that a node stands for, in order; those that compute its outputs have their names.

    Raises:
        NotImplementedError: The form of the node is not supported.
    """
    if node.operator not in REWRITES:
        return [node]
    declaration = REWRITES.find(node.operator, node.opset)
    keywords = declaration.accept(node.attributes, len(node.inputs), node.read)
    chain = Chain(node)
    result = declaration.function(chain, *node.inputs, **keywords)
    given = (result,) if isinstance(result, str) else tuple(result)
    return _renamed(chain.nodes, given, node)


def _renamed(nodes: Sequence[Node], given: Sequence[str], node: Node) -> list[Node]:
    """The nodes, with the results under the names of the node's outputs."""
    for place, name in enumerate(node.outputs):
        if name and not (place < len(given) and given[place]):
            raise NotImplementedError(f"with output {place + 1}, {name}")
    names = {old: new for old, new in zip(given, node.outputs, strict=False) if new}

    def new(values: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(names.get(value, value) for value in values)

    return [replace(each, inputs=new(each.inputs), outputs=new(each.outputs)) for each in nodes]

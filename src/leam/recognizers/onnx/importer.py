"""Convert nodes to torch modules, and run each on one face so that the shapes of the next node's inputs are known."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import onnx
from torch import Tensor, nn

from leam.errors import LeamError, ModelError, WeightsError, first_line
from leam.recognizers.onnx.bounds import META, SECONDS, Budget, TooLargeError
from leam.recognizers.onnx.layers import LAYERS, PER_BATCH
from leam.recognizers.onnx.module import Graph, Node, Operation, needed, without_trailing
from leam.recognizers.onnx.operators import OPERATORS
from leam.recognizers.onnx.reading import STANDARD_DOMAINS, captured, to_tensor
from leam.recognizers.onnx.rewrites import standard_nodes

UNSUPPORTED = (
    "; explain the network as a torch module (leam.Recognizer), or as a black box (leam.BlackBox)"
)
"""What follows a message that something in a graph is not supported: the way out."""

CANNOT_RUN = "cannot run"
"""What a message says of an operator that fails on its inputs."""

_IF = "If"
_OF_SHAPES = {"Shape", "Size"}


class Importer:
    """Builds the modules of nodes.

    Args:
        name: The recognizer's name, for messages.
        constants: The values that the file stores.
        given: An example of each value that is given at run time, by name; on the meta device to import shapes only.
        budget: What the nodes' values and operations are added to; None if it is known that they are few.

    Attributes:
        values: The examples, and the values that were computed from them and that a later node reads.
    """

    def __init__(
        self,
        name: str,
        constants: Mapping[str, Tensor],
        given: Mapping[str, Tensor],
        budget: Budget | None = None,
    ) -> None:
        self._name = name
        self._constants = dict(constants)
        self._names: set[str] = set(dir(Graph("", "", channels_last=False)))
        self._counts: dict[str, int] = {}
        self._steps: list[tuple[Node, nn.Module]] = []
        self._budget = budget
        self._end = time.monotonic() + SECONDS
        self._dry = any(value.is_meta for value in given.values())
        # Names of the constants that steps read.
        self._read_later: set[str] = set()
        # Names of the values that depend on the picture's pixels, not only on its shape.
        self._pixels = set(given)
        self.values: dict[str, Tensor] = {}
        self._keep(self.values, given)

    def add(self, nodes: Iterable[Node], targets: Iterable[str]) -> None:
        """Build and run the nodes that targets depend on; nodes that read only constants become constants."""
        targets = list(targets)
        simple = [each for node in needed(nodes, targets) for each in self._standard(node)]
        for node in needed(simple, targets):
            if node.operator == _IF:
                self._add_branch(node)
            else:
                self._add(node)
            for name in node.spent:
                self._forget(self.values, name)
                if name not in self._read_later:
                    self._forget(self._constants, name)

    def graph(self, source: str, target: str, *, channels_last: bool) -> Graph:
        """The network up to a target."""
        graph = Graph(source, target, channels_last=channels_last)
        modules = {node.name: module for node, module in self._steps}
        for node in needed([node for node, _ in self._steps], [target]):
            graph.add_step(node, modules[node.name])
            for name in node.inputs:
                if name in self._constants:
                    graph.add_constant(name, self._constants[name])
        return graph

    def value(self, name: str) -> Tensor:
        """A value that was computed or stored, by name."""
        return self.values[name] if name in self.values else self._constants[name]

    def _standard(self, node: Node) -> list[Node]:
        """The nodes that a node stands for, under unique names."""
        with blaming(self._name, node):
            found = standard_nodes(node)
        return [replace(each, name=self._unique(each.name)) for each in found]

    def _unique(self, name: str) -> str:
        fresh = name
        while fresh in self._names:
            count = self._counts[name] = self._counts.get(name, 0) + 1
            fresh = f"{name}_" if count == 1 else f"{name}_{count}"
        self._names.add(fresh)
        return fresh

    def _add(self, node: Node) -> None:
        inputs = [self._read(node, name) for name in node.inputs]
        with blaming(self._name, node):
            if time.monotonic() > self._end:
                raise TooLargeError(
                    f"up to here, one face takes more than {SECONDS} s; use a smaller input or network"
                )
            module, arguments = self._build(node, inputs)
            module.eval()
            with self._budget or nullcontext():
                outputs = module(*arguments)
            outputs = (outputs,) if isinstance(outputs, Tensor) else outputs
            for place, name in enumerate(node.outputs[len(outputs) :], len(outputs) + 1):
                if name:
                    raise NotImplementedError(f"with output {place}, {name}")
            results = {
                name: value for name, value in zip(node.outputs, outputs, strict=False) if name
            }
            if not any(name in self.values for name in node.inputs):
                self._keep(self._constants, results)
                return
            self._keep(self.values, results)
        read = node.inputs[: len(arguments)]
        if not self._dry:
            self._steps.append((replace(node, inputs=read), module))
        self._read_later.update(read)
        if node.operator not in _OF_SHAPES and self._pixels.intersection(node.inputs):
            self._pixels.update(results)

    def _keep(self, where: dict[str, Tensor], results: Mapping[str, Tensor]) -> None:
        """Keep a node's results until their last use."""
        for name in results:
            self._forget(where, name)  # a damaged graph may write a name twice
        where.update(results)
        if self._budget:
            self._budget.hold(results.values(), counts=where is self.values)

    def _forget(self, where: dict[str, Tensor], name: str) -> None:
        value = where.pop(name, None)
        if self._budget and value is not None:
            self._budget.release(value)

    def _read(self, node: Node, name: str) -> Tensor | None:
        if not name:
            return None
        if name in self.values or name in self._constants:
            return self.value(name)
        raise WeightsError(f"{self._name}: node {node.name} reads {name!r}, which no node writes")

    def _build(
        self, node: Node, inputs: list[Tensor | None]
    ) -> tuple[nn.Module, list[Tensor | None]]:
        """The node's module and the inputs that it is called with; layers store their constant inputs."""
        declaration = OPERATORS.find(node.operator, node.opset)
        attributes = declaration.accept(node.attributes, len(inputs), node.read)
        for parameter, value in zip(declaration.inputs, inputs, strict=False):
            if value is None and parameter.default is parameter.empty:
                raise ValueError(f"input {parameter.name} is missing")
        if self._dry:
            return Operation(declaration, attributes), inputs
        if node.operator in PER_BATCH:
            operation = PER_BATCH[node.operator](declaration, attributes)
            return operation, inputs
        varying = [name in self.values for name in node.inputs]
        if node.operator in LAYERS and varying[:1] == [True] and not any(varying[1:]):
            layer = None
            if not any(node.outputs[1:]):
                layer = LAYERS[node.operator](attributes, *inputs)
            if layer is not None:
                return layer, inputs[:1]
        return Operation(declaration, attributes), inputs

    def _add_branch(self, node: Node) -> None:
        """Replace a condition that does not depend on the picture by the branch that it chooses."""
        with blaming(self._name, node):
            if set(node.attributes) != {"then_branch", "else_branch"} or len(node.inputs) != 1:
                raise ValueError("expected one condition and two branches")
            if node.inputs[0] in self._pixels:
                raise NotImplementedError("with a condition that depends on the picture")
            condition = self._read(node, node.inputs[0])
            chosen = "then_branch" if condition is not None and bool(condition) else "else_branch"
            branch = node.attributes[chosen]
            prefix = f"{node.name}\n"
            own = {tensor.name for tensor in branch.initializer}
            own |= {name for each in branch.node for name in each.output}
            names = {**node.captured, **{name: prefix + name for name in own if name}}
            results = [value.name for value in branch.output]
            for tensor in branch.initializer:
                self._constants[prefix + tensor.name] = to_tensor(tensor)
            inside = nodes_of(branch, node.opset, names)
        for result, name in zip(results, node.outputs, strict=False):
            if name:
                inside.append(
                    Node(f"{node.name}_{result}", "Identity", {}, (names.get(result, result),), (name,), node.opset)
                )  # fmt: skip
        self.add(inside, [name for name in node.outputs if name])


def measured(
    name: str,
    constants: Mapping[str, Tensor],
    given: Mapping[str, Tensor],
    nodes: Iterable[Node],
    targets: Iterable[str],
) -> Budget | None:
    """What nodes need for one face, by their shapes alone; None where a shape depends on the pixels.

    Arguments as for :class:`Importer`.

    Raises:
        TooLargeError: They need too much.
    """
    shapes = {each: value.to(META) for each, value in given.items()}
    budget = Budget(constants.values(), dry=True)
    try:
        Importer(name, constants, shapes, budget).add(nodes, targets)
    except TooLargeError:
        raise
    except LeamError:
        return None  # if it is a fault of the graph, the import finds it too
    return budget


def nodes_of(
    graph: onnx.GraphProto, opset: int, names: Mapping[str, str] | None = None
) -> list[Node]:
    """The nodes of a graph in its order.

    Args:
        graph: A graph, or a subgraph.
        opset: The version of the standard operators.
        names: What the values of a subgraph are called outside.
    """
    known = names or {}

    def called(values: Iterable[str]) -> tuple[str, ...]:
        return tuple(known.get(value, value) for value in values)

    nodes = []
    for index, proto in enumerate(graph.node):
        standard = proto.domain in STANDARD_DOMAINS
        operator = proto.op_type if standard else f"{proto.domain}.{proto.op_type}"
        attributes = {attribute.name: _attribute(attribute) for attribute in proto.attribute}
        inside = {name for value in attributes.values() for name in captured(value)}
        nodes.append(
            Node(
                _layer_name(proto.name or f"{operator}_{index}"),
                operator,
                attributes,
                without_trailing(called(proto.input)),
                called(proto.output),
                opset,
                {name: known.get(name, name) for name in inside},
            )
        )
    return nodes


def _layer_name(name: str) -> str:
    """A node's name as a layer name: torch uses dots for nesting, and LEAM uses colons for repeated calls."""
    return name.strip("/").replace(".", "_").replace(":", "_") or "_"


def _attribute(proto: onnx.AttributeProto) -> Any:  # noqa: ANN401
    if proto.ref_attr_name:
        raise ValueError(f"attribute {proto.name} is a reference outside a function")
    value = onnx.helper.get_attribute_value(proto)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, onnx.TensorProto):
        return to_tensor(value)
    return value if isinstance(value, onnx.GraphProto | int | float | str) else list(value)


class blaming:  # noqa: N801  reads as a statement
    """Converts exceptions in its block to errors that name the node and its operator."""

    def __init__(self, recognizer: str, node: Node) -> None:
        self._recognizer, self._node = recognizer, node

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: object
    ) -> None:
        where = f"{self._recognizer}: node {self._node.name}"
        if isinstance(error, TooLargeError):
            raise TooLargeError(f"{where}, operator {self._node.operator}: {error}") from None
        if error is None or isinstance(error, ModelError) or not isinstance(error, Exception):
            return
        if isinstance(error, NotImplementedError):
            detail = f" ({first_line(error)})" if str(error) else ""
            raise ModelError(
                f"{where}: operator {self._node.operator} is not supported{detail}{UNSUPPORTED}"
            ) from None
        raise ModelError(
            f"{where}: operator {self._node.operator} {CANNOT_RUN} ({first_line(error)})"
        ) from None

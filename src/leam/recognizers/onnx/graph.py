"""Import an ONNX file as a differentiable torch module, one layer per node."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from leam.errors import ModelError, WeightsError, first_line
from leam.recognizers.card import Card
from leam.recognizers.onnx.fusions import standard_nodes
from leam.recognizers.onnx.layers import LAYERS, Reshape
from leam.recognizers.onnx.module import Graph, Node, Operation
from leam.recognizers.onnx.operators import OPERATORS
from leam.recognizers.onnx.reading import opset_of, read_onnx, to_tensor

_STANDARD_DOMAINS = {"", "ai.onnx"}
# Relative error to which two faces in a batch must give the same embeddings as each alone.
_TOLERANCE = 1e-3


def build(card: Card, path: Path) -> nn.Module:
    """Build a card's ONNX file as a torch module.

    The card's option ``output`` names the output with the embedding; it is needed if the graph has several outputs that
    ``embedding_size`` does not distinguish.

    Raises:
        WeightsError: The file is damaged.
        ModelError: The graph has an unsupported operator, expects another input, or mixes the faces of a batch.
    """
    model = read_onnx(path)
    try:
        constants = {tensor.name: to_tensor(tensor) for tensor in model.graph.initializer}
        nodes = _nodes(model)
    except Exception as error:  # noqa: BLE001  damaged tensors raise nearly anything
        raise WeightsError(f"{path}: damaged tensor ({first_line(error)})") from None
    nodes = _standard(card, nodes)
    source, channels_last = _input(card, model.graph, constants)
    example = _examples(card)
    targets = _targets(card, model.graph)
    importer = _Importer(card, constants, source)
    with torch.no_grad():
        importer.add(
            _needed(nodes, targets),
            example[:1].permute(0, 2, 3, 1) if channels_last else example[:1],
        )
        graph = importer.graph(_choose(card, targets, importer.values), channels_last=channels_last)
        graph.eval()
        _free_batch(card, graph, importer.values, example)
        _check_batch(card, graph, example)
    return graph


class _Importer:
    """Converts nodes to modules, and runs each on one face so that the shapes of the next node's inputs are known."""

    def __init__(self, card: Card, constants: dict[str, Tensor], source: str) -> None:
        self._card = card
        self._constants = constants
        self._source = source
        self._steps: list[tuple[Node, nn.Module]] = []
        self.values: dict[str, Tensor] = {}

    def add(self, nodes: Iterable[Node], example: Tensor) -> None:
        """Build and run nodes; the outputs of nodes that read only constants become constants."""
        self.values = {self._source: example}
        for node in nodes:
            inputs = [self._read(node, name) for name in node.inputs]
            with _blaming(self._card, node):
                module, arguments = self._build(node, inputs)
                module.eval()
                outputs = module(*arguments)
            outputs = (outputs,) if isinstance(outputs, Tensor) else outputs
            if any(name in self.values for name in node.inputs):
                self._steps.append((replace(node, inputs=node.inputs[: len(arguments)]), module))
                self.values.update(zip(node.outputs, outputs, strict=False))
            else:
                self._constants.update(zip(node.outputs, outputs, strict=False))

    def graph(self, target: str, *, channels_last: bool) -> Graph:
        """The network up to its output."""
        graph = Graph(self._source, target, channels_last=channels_last)
        for node, module in _with_last_uses(self._steps, target):
            graph.add_step(node, module)
            for name in node.inputs:
                if name in self._constants:
                    graph.add_constant(name, self._constants[name])
        return graph

    def _read(self, node: Node, name: str) -> Tensor | None:
        if not name:
            return None
        if name in self.values:
            return self.values[name]
        if name in self._constants:
            return self._constants[name]
        raise WeightsError(
            f"{self._card.name}: node {node.name} reads {name!r}, which no node writes"
        )

    def _build(
        self, node: Node, inputs: list[Tensor | None]
    ) -> tuple[nn.Module, list[Tensor | None]]:
        """The node's module and the inputs that it is called with; layers store their constant inputs."""
        if node.operator == "Reshape":
            return Reshape(zero_is_zero=bool(node.attributes.get("allowzero", 0))), inputs
        fits = bool(inputs) and (node.inputs[0] in self.values or node.operator not in OPERATORS)
        if (
            fits
            and node.operator in LAYERS
            and not any(name in self.values for name in node.inputs[1:])
        ):
            layer = LAYERS[node.operator](node.attributes, *inputs)
            if layer is not None:
                return layer, inputs[:1]
        if node.operator not in OPERATORS:
            raise NotImplementedError("in this form" if node.operator in LAYERS else "")
        return Operation(node.operator, node.attributes), inputs


def _nodes(model: onnx.ModelProto) -> list[Node]:
    """The nodes in the graph's order, with unique names that torch accepts."""
    taken = Graph("", "", channels_last=False)
    nodes = []
    for index, proto in enumerate(model.graph.node):
        known = proto.domain in _STANDARD_DOMAINS
        operator = proto.op_type if known else f"{proto.domain}.{proto.op_type}"
        name = _layer_name(proto.name or f"{operator}_{index}")
        while hasattr(taken, name):
            name += "_"
        taken.add_module(name, None)
        attributes = {attribute.name: _attribute(attribute) for attribute in proto.attribute}
        attributes |= {"operator": operator, "opset": opset_of(model), "outputs": len(proto.output)}
        nodes.append(Node(name, operator, attributes, tuple(proto.input), tuple(proto.output)))
    return nodes


def _standard(card: Card, nodes: list[Node]) -> list[Node]:
    """The nodes, with fused ones written as standard nodes under unique names."""
    taken = {node.name for node in nodes}
    result = []
    for node in nodes:
        with _blaming(card, node):
            first, *rest = standard_nodes(node)
        result.append(first)
        for each in rest:
            name = each.name
            while name in taken:
                name += "_"
            taken.add(name)
            result.append(replace(each, name=name))
    return result


def _layer_name(name: str) -> str:
    """A node's name as a layer name: torch uses dots for nesting, and LEAM uses colons for repeated calls."""
    return name.strip("/").replace(".", "_").replace(":", "_") or "_"


def _attribute(proto: onnx.AttributeProto) -> object:
    value = onnx.helper.get_attribute_value(proto)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return to_tensor(value) if isinstance(value, onnx.TensorProto) else value


def _needed(nodes: list[Node], targets: list[str]) -> list[Node]:
    """The nodes that the targets depend on, in order."""
    wanted, kept = set(targets), []
    for node in reversed(nodes):
        if wanted.intersection(node.outputs):
            wanted.update(node.inputs)
            kept.append(node)
    return kept[::-1]


def _with_last_uses(
    steps: list[tuple[Node, nn.Module]], target: str
) -> list[tuple[Node, nn.Module]]:
    """The steps that the target depends on, each with the values that no later step reads."""
    kept = {node.name for node in _needed([node for node, _ in steps], [target])}
    given = {name for node, _ in steps for name in node.outputs}
    alive: set[str] = {target}
    marked = []
    for node, module in reversed(steps):
        if node.name not in kept:
            continue
        last = {
            name for name in (*node.inputs, *node.outputs) if name in given and name not in alive
        }
        alive |= last
        marked.append((replace(node, spent=tuple(sorted(last))), module))
    return marked[::-1]


def _input(card: Card, graph: onnx.GraphProto, constants: dict[str, Tensor]) -> tuple[str, bool]:
    """The name of the graph's only input, and whether its channels come last."""
    inputs = [value for value in graph.input if value.name not in constants]
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        raise ModelError(
            f"{card.name}: expected a graph with one input, the image; this one has {names}"
        )
    sizes = [d.dim_value for d in inputs[0].type.tensor_type.shape.dim]
    rgb, rank = 3, 4
    channels_last = len(sizes) == rank and sizes[3] == rgb and sizes[1] != rgb
    spatial = sizes[1:3] if channels_last else sizes[2:4]
    for wanted, given in zip(spatial, card.input_size, strict=False):
        if wanted > 0 and wanted != given:
            height, width = spatial
            raise ModelError(
                f"{card.name}: the graph expects an input of {height}x{width}; "
                "set the card's input_size"
            )
    return inputs[0].name, channels_last


def _targets(card: Card, graph: onnx.GraphProto) -> list[str]:
    names = [value.name for value in graph.output]
    asked = card.options.get("output")
    if asked is None:
        return names
    if asked not in names:
        raise ModelError(f"{card.name}: no output {asked!r}; available: {', '.join(names)}")
    return [str(asked)]


def _choose(card: Card, targets: list[str], values: dict[str, Tensor]) -> str:
    """The name of the embedding: the only output that depends on the image, or the only one of the embedding's size."""
    found = [name for name in targets if name in values]
    if len(found) > 1 and card.embedding_size:
        found = [name for name in found if values[name].numel() == card.embedding_size]
    if len(found) == 1:
        return found[0]
    names = ", ".join(targets) or "none"
    raise ModelError(
        f"{card.name}: which output is the embedding? "
        f"Set options.output in the card to one of {names}"
    )


def _examples(card: Card) -> Tensor:
    """Two inputs of noise ``(2, 3, h, w)`` in the range of the card's preprocessing."""
    noise = torch.rand((2, 3, *card.input_size), generator=torch.Generator().manual_seed(0)) * 255
    return (noise - torch.tensor(card.mean).view(-1, 1, 1)) / torch.tensor(card.std).view(-1, 1, 1)


def _free_batch(card: Card, graph: Graph, one: dict[str, Tensor], example: Tensor) -> None:
    """Run two faces, and make constant shapes that were written for one face grow with the batch."""
    values = graph.start(example)
    for step in graph.steps:
        module = graph.get_submodule(step.name)
        with _blaming(card, step):
            if isinstance(module, Reshape):
                source, target = step.inputs
                shape = graph.value(target, one)
                if torch.equal(shape, graph.value(target, values)):
                    out = one[step.outputs[0]].shape
                    module.free(one[source].shape, values[source].shape, shape, out)
            values.update(graph.run(step, values, example.device))


def _check_batch(card: Card, graph: Graph, example: Tensor) -> None:
    """Check that two faces in a batch give the same embeddings as each alone."""
    mixed = f"{card.name}: the graph mixes the faces of a batch; export it with a free batch size"
    try:
        alone = torch.cat([graph(face[None]) for face in example])
        both = graph(example)
    except RuntimeError:
        raise ModelError(mixed) from None
    if not alone.numel() or not torch.isfinite(alone).all():
        raise ModelError(
            f"{card.name}: the graph's output is not finite; check the card's mean and std"
        )
    scale = alone.abs().max().clamp_min(torch.finfo(torch.float32).tiny)
    if both.shape != alone.shape or (both - alone).abs().max() > _TOLERANCE * scale:
        raise ModelError(mixed)


class _blaming:  # noqa: N801  reads as a statement
    """Converts exceptions in its block to errors that name the node and its operator."""

    def __init__(self, card: Card, node: Node) -> None:
        self._card, self._node = card, node

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: object
    ) -> None:
        if error is None or isinstance(error, ModelError) or not isinstance(error, Exception):
            return
        where = f"{self._card.name}: node {self._node.name}"
        if isinstance(error, NotImplementedError):
            detail = f" ({first_line(error)})" if str(error) else ""
            raise ModelError(
                f"{where}: operator {self._node.operator} is not supported{detail}"
            ) from None
        raise ModelError(
            f"{where}: operator {self._node.operator} cannot run ({first_line(error)})"
        ) from None

"""Fused nodes that onnxruntime's graph optimiser writes, as the standard nodes that they stand for.

The semantics are those of onnxruntime's contributed operators (domain ``com.microsoft``,
https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md).
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import replace
from typing import Any

from leam.recognizers.onnx.module import Node

DOMAIN = "com.microsoft"

# An activation's attributes, in the order of a convolution's ``activation_params``.
_PARAMETERS = {
    "Clip": ("min", "max"),
    "HardSigmoid": ("alpha", "beta"),
    "LeakyRelu": ("alpha",),
    "Relu": (),
    "Sigmoid": (),
    "Tanh": (),
}
# A dense layer's activations; their attributes have this prefix.
_DENSE = {"Elu", "HardSigmoid", "LeakyRelu", "Relu", "Sigmoid", "Softplus", "Softsign", "Tanh"}
_PREFIX = "activation_"


def standard_nodes(node: Node) -> list[Node]:
    """The standard nodes of a node, in order: of a fused node those that it stands for, the first under its name.

    Raises:
        NotImplementedError: A fused operator, or a form of it, is not supported.
    """
    domain, _, operator = node.operator.rpartition(".")
    if domain != DOMAIN:
        return [node]
    if operator not in _FUSIONS:
        raise NotImplementedError
    return _FUSIONS[operator](node)


def _fused_conv(node: Node) -> list[Node]:
    """A convolution, perhaps the sum with another tensor (the fourth input), and perhaps an activation."""
    *given, summand = [*node.inputs, "", ""][:4]
    rest: list[tuple[str, str | dict[str, Any]]] = [("Add", summand)] if summand else []
    if "activation" in node.attributes:
        name = _activation(node, _PARAMETERS)
        values = node.attributes.get("activation_params", ())
        if len(values) != len(_PARAMETERS[name]):
            raise NotImplementedError(f"with {len(values)} activation_params for {name}")
        rest.append((name, dict(zip(_PARAMETERS[name], values, strict=True))))
    return _chain(node, ("Conv", given), rest)


def _fused_gemm(node: Node) -> list[Node]:
    given = node.attributes.items()
    own = {key.removeprefix(_PREFIX): value for key, value in given if key.startswith(_PREFIX)}
    return _chain(node, ("Gemm", node.inputs), [(_activation(node, _DENSE), own)])


def _bias_gelu(node: Node) -> list[Node]:
    return _chain(node, ("Add", node.inputs), [("Gelu", {"approximate": "none"})])


def _gelu(node: Node) -> list[Node]:
    return _chain(node, ("Gelu", node.inputs), [])


def _fused_matmul(node: Node) -> list[Node]:
    """A product of two matrices, each perhaps transposed, times a constant."""
    if node.attributes.get("transBatchA", 0) or node.attributes.get("transBatchB", 0):
        raise NotImplementedError("with transposed batches")
    return _chain(node, ("FusedMatMul", node.inputs), [])


def _activation(node: Node, supported: Container[str]) -> str:
    name = str(node.attributes.get("activation", ""))
    if name not in supported:
        raise NotImplementedError(f"with the activation {name!r}")
    return name


def _chain(
    node: Node,
    first: tuple[str, Sequence[str]],
    rest: Sequence[tuple[str, str | dict[str, Any]]],
) -> list[Node]:
    """Nodes that run one after another. A later one has another input, by name, or attributes."""
    operator, inputs = first
    own = {**node.attributes, "operator": operator}
    # Names in a file are printable, so that these values have names of their own.
    value = f"{node.outputs[0]}\n{operator}"
    nodes = [Node(node.name, operator, own, tuple(inputs), (value,))]
    for operator, extra in rest:
        given = (value, extra) if isinstance(extra, str) else (value,)
        value = f"{node.outputs[0]}\n{operator}"
        attributes = {**_shared(node), "operator": operator} | (
            extra if isinstance(extra, dict) else {}
        )
        nodes.append(Node(f"{node.name}_{operator}", operator, attributes, given, (value,)))
    return [*nodes[:-1], replace(nodes[-1], outputs=node.outputs)]


def _shared(node: Node) -> dict[str, Any]:
    """The attributes that every node has."""
    return {key: node.attributes[key] for key in ("opset", "outputs")}


_FUSIONS: dict[str, Callable[[Node], list[Node]]] = {
    "BiasGelu": _bias_gelu,
    "FusedConv": _fused_conv,
    "FusedGemm": _fused_gemm,
    "FusedMatMul": _fused_matmul,
    "Gelu": _gelu,
}

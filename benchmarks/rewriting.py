"""Write a network in other ways that compute the same function, as exporters and graph optimisers do."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import nn

Model = onnx.ModelProto
Rewriting = Callable[[Model], Model]


def folded(model: Model) -> Model:
    """Merge each batch normalisation into the convolution before it."""
    graph = _Graph(model)
    for norm in graph.nodes("BatchNormalization"):
        conv = graph.writer(norm.input[0])
        if conv is None or conv.op_type != "Conv" or len(graph.readers(norm.input[0])) != 1:
            continue
        gamma, beta, mean, variance = (graph.constant(name) for name in norm.input[1:5])
        factor = gamma / np.sqrt(variance + graph.attribute(norm, "epsilon", 1e-5))
        weight = graph.constant(conv.input[1])
        bias = graph.constant(conv.input[2]) if len(conv.input) > 2 else 0.0
        graph.replace_inputs(
            conv,
            graph.add(weight * factor[:, None, None, None]),
            graph.add((bias - mean) * factor + beta),
        )
        conv.output[0] = norm.output[0]
        graph.remove(norm)
    return graph.model


def normalised(model: Model) -> Model:
    """Put a batch normalisation after each convolution without one, with gains of both signs."""
    graph, generator = _Graph(model), np.random.default_rng(0)
    for conv in graph.nodes("Conv"):
        following = graph.readers(conv.output[0])
        if any(node.op_type == "BatchNormalization" for node in following):
            continue
        weight = graph.constant(conv.input[1])
        channels = len(weight)
        gain = np.exp(generator.normal(0, 0.5, channels)) * generator.choice([-1, 1], channels)
        mean, shift = generator.normal(0, 1, (2, channels))
        bias = graph.constant(conv.input[2]) if len(conv.input) > 2 else np.zeros(channels)
        graph.replace_inputs(
            conv,
            graph.add(weight / gain[:, None, None, None]),
            graph.add((bias - shift) / gain + mean),
        )
        ones = graph.add(np.ones(channels))
        constants = [graph.add(gain), graph.add(shift), graph.add(mean), ones]
        graph.append_after(conv, "BatchNormalization", constants, {"epsilon": 0.0})
    return graph.model


def separate_biases(model: Model) -> Model:
    """Write the bias of each convolution as a separate addition."""
    graph = _Graph(model)
    for conv in graph.nodes("Conv"):
        if len(conv.input) > 2:
            bias = graph.constant(conv.input[2])
            del conv.input[2:]
            graph.append_after(conv, "Add", [graph.add(bias.reshape(1, -1, 1, 1))])
    return graph.model


def elementary_prelus(model: Model) -> Model:
    """Write each PReLU as ``relu(x) - slope * relu(-x)``."""
    graph = _Graph(model)
    for node in graph.nodes("PRelu"):
        (x, slope), out = node.input, node.output[0]
        place = graph.place(node)
        if graph.constant(slope).ndim == 1:
            slope = graph.add(graph.constant(slope).reshape(1, -1, 1, 1))
        parts = [
            helper.make_node("Relu", [x], [f"{out}/positive"], f"{out}/Relu"),
            helper.make_node("Neg", [x], [f"{out}/minus"], f"{out}/Neg"),
            helper.make_node("Relu", [f"{out}/minus"], [f"{out}/negative"], f"{out}/Relu2"),
            helper.make_node("Mul", [f"{out}/negative", slope], [f"{out}/sloped"], f"{out}/Mul"),
            helper.make_node("Sub", [f"{out}/positive", f"{out}/sloped"], [out], f"{out}/Sub"),
        ]
        graph.remove(node)
        for part in reversed(parts):
            graph.model.graph.node.insert(place, part)
    return graph.model


def optimised(level: str) -> Rewriting:
    """What onnxruntime's offline optimiser writes at a level: ``basic`` or ``extended``."""

    def rewrite(model: Model) -> Model:
        import onnxruntime  # noqa: PLC0415

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "optimised.onnx"
            options = onnxruntime.SessionOptions()
            options.log_severity_level = 3
            levels = onnxruntime.GraphOptimizationLevel
            options.graph_optimization_level = getattr(levels, f"ORT_ENABLE_{level.upper()}")
            options.optimized_model_filepath = str(path)
            onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
            return onnx.load(path)

    return rewrite


def exported(module: nn.Module, input_size: tuple[int, int], *, traced: bool) -> Model:
    """What torch's exporter writes for a module, by tracing (the older exporter) or from a captured program."""
    example = torch.zeros(1, 3, *input_size)
    with warnings.catch_warnings(), torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        path = Path(folder) / "exported.onnx"
        torch.onnx.export(
            module.eval(), (example,), path, dynamo=not traced, verbose=False, external_data=False
        )
        return onnx.load(path)


REWRITINGS: dict[str, Rewriting] = {
    "BatchNorm folded": folded,
    "BatchNorm inserted": normalised,
    "PReLU written out": elementary_prelus,
    "bias added separately": separate_biases,
    "onnxruntime, basic": optimised("basic"),
    "onnxruntime, extended": optimised("extended"),
}


class _Graph:
    """A copy of a model that can be edited."""

    def __init__(self, model: Model) -> None:
        self.model = Model()
        self.model.CopyFrom(model)
        self._constants = {t.name: t for t in self.model.graph.initializer}
        for node in self.model.graph.node:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                self._constants[node.output[0]] = node.attribute[0].t

    def nodes(self, operator: str) -> Iterator[onnx.NodeProto]:
        yield from [node for node in self.model.graph.node if node.op_type == operator]

    def writer(self, name: str) -> onnx.NodeProto | None:
        return next((node for node in self.model.graph.node if name in node.output), None)

    def readers(self, name: str) -> list[onnx.NodeProto]:
        return [node for node in self.model.graph.node if name in node.input]

    def constant(self, name: str) -> np.ndarray:
        """The value of a constant, float64."""
        return self._value(name).astype(np.float64)

    def _value(self, name: str) -> np.ndarray:
        if name in self._constants:
            return numpy_helper.to_array(self._constants[name])
        node = self.writer(name)
        assert node is not None, f"{name} is no constant"  # noqa: S101
        given = {value: self._value(value) for value in node.input}
        (found,) = ReferenceEvaluator(node).run(None, given)
        return np.asarray(found)

    def attribute(self, node: onnx.NodeProto, name: str, default: float) -> float:
        return next((a.f for a in node.attribute if a.name == name), default)

    def add(self, values: np.ndarray) -> str:
        name = f"rewritten_{len(self._constants)}"
        tensor = numpy_helper.from_array(values.astype(np.float32), name)
        self.model.graph.initializer.append(tensor)
        self._constants[name] = tensor
        return name

    def place(self, node: onnx.NodeProto) -> int:
        return next(i for i, other in enumerate(self.model.graph.node) if other is node)

    def remove(self, node: onnx.NodeProto) -> None:
        self.model.graph.node.remove(node)

    def replace_inputs(self, conv: onnx.NodeProto, weight: str, bias: str) -> None:
        x = conv.input[0]
        del conv.input[:]
        conv.input.extend([x, weight, bias])

    def append_after(
        self,
        node: onnx.NodeProto,
        operator: str,
        constants: list[str],
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        """Put a node between another one and its readers."""
        out, inner = node.output[0], f"{node.output[0]}/before_{operator}"
        node.output[0] = inner
        following = helper.make_node(
            operator, [inner, *constants], [out], f"{inner}/{operator}", **(attributes or {})
        )
        self.model.graph.node.insert(self.place(node) + 1, following)

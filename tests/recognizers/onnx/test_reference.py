"""The comparison with onnxruntime when a file is loaded."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from leam.errors import ModelError
from leam.recognizers.onnx import reference
from leam.recognizers.onnx.operators import OPERATORS
from quirks import Network

node = helper.make_node
TANH = Network([node("Tanh", ["c"], ["f"])])


def test_a_graph_that_agrees_says_so(load):
    found = load(TANH, trust=False).reference
    assert found.startswith("equals onnxruntime on two random pictures (relative error ")


@pytest.fixture
def wrong(monkeypatch):
    """Tanh is computed wrongly."""
    monkeypatch.setattr(OPERATORS["Tanh"][0], "function", lambda x: torch.tanh(x) + 0.01 * x)


@pytest.mark.usefixtures("wrong")
def test_a_graph_that_differs_is_refused_unless_it_is_trusted(load):
    with pytest.raises(
        ModelError, match=r"^mine: the embeddings differ from onnxruntime's .*trust"
    ):
        load(TANH, trust=False)
    assert load(TANH, trust=True).reference == ""


def test_rounding_graphs_are_compared_by_cosine(load):
    stored = {"s": np.float32(0.05), "o": np.uint8(128)}
    rounding = Network(
        [node("QuantizeLinear", ["c", "s", "o"], ["q"]), node("DequantizeLinear", ["q", "s", "o"], ["f"])],
        stored,
    )  # fmt: skip
    assert "(cosine 1.0000)" in load(rounding, trust=False).reference
    half = [node("Cast", ["c"], ["h"], to=10), node("Cast", ["h"], ["f"], to=TensorProto.FLOAT)]
    assert "cosine" in load(Network(half), trust=False).reference


def test_what_onnxruntime_cannot_run_is_noted(load, monkeypatch):
    monkeypatch.setattr(reference, "_PROGRAM", "raise ValueError('not for me')")
    found = load(TANH, trust=False).reference
    assert found == "not compared: onnxruntime cannot run the file (ValueError: not for me)"


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("import os; os.abort()", "it crashes: signal 6"),
        ("while True: pass", "more than 1 seconds"),
    ],
)
def test_a_crash_of_onnxruntime_is_noted(load, monkeypatch, program, reason):
    monkeypatch.setattr(reference, "_PROGRAM", program)
    monkeypatch.setattr(reference, "_SECONDS", 1)
    assert reason in load(TANH, trust=False).reference


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not limit this memory")
def test_onnxruntime_gets_a_limit_of_memory():
    """Values of 1.5 GB each, which the import would have refused."""
    nodes = [node("Expand", ["x", "size"], ["e"]), node("Cos", ["e"], ["c"])]
    nodes.append(node("ReduceSum", ["c"], ["y"], keepdims=0))
    size = numpy_helper.from_array(np.array([2_000_000, 3, 8, 8]), "size")
    source = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])
    target = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "large", [source], [target], [size])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    found = reference._run(model, "y", {"x": np.zeros((1, 3, 8, 8), np.float32)}, "x")
    assert isinstance(found, str)
    assert "while running Expand node" in found


def test_without_onnxruntime_nothing_is_compared(load, monkeypatch):
    monkeypatch.setattr(reference, "find_spec", lambda _: None)
    assert load(TANH, trust=False).reference == "not compared: onnxruntime is not installed"


def test_operators_beside_the_embedding_do_not_matter(load):
    network = Network([node("Tanh", ["c"], ["f"]), node("Odd", ["c"], ["unread"], domain="odd")])
    assert load(network, trust=False).reference.startswith("equals onnxruntime")

"""Graphs that ask for too much memory or too many operations: refused by their shapes, in one line, at once."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from hostile import endures
from leam.errors import ModelError
from leam.limits import VARIABLE
from leam.recognizers.card import Card
from leam.recognizers.catalogue import load_recognizer
from leam.recognizers.onnx import graph as onnx_graph

SIDE = 16


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Load nodes from ``x`` to ``y``; nothing may be computed before they are measured."""
    monkeypatch.setenv(VARIABLE, "300MB")

    def load(nodes, computes=False, **stored):
        tensors = [numpy_helper.from_array(np.asarray(v), name) for name, v in stored.items()]
        source = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, SIDE, SIDE])
        target = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
        graph = helper.make_graph(nodes, "hostile", [source], [target], tensors)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
        if not computes:
            monkeypatch.setattr(onnx_graph, "Graph", None)
        card = Card(name="m", architecture="onnx", file="m.onnx", input_size=(SIDE, SIDE))
        return load_recognizer(card, folder=tmp_path)

    return load


def node(operator, inputs, output, **attributes):
    return helper.make_node(operator, inputs.split(","), [output], name=output, **attributes)


def chain(operator, count, **attributes):
    """The same node again and again, each on the one before, twice."""
    names = ["x", *(f"{operator}{n}" for n in range(count))]
    return [node(operator, f"{a},{a}", b, **attributes) for a, b in pairwise(names)], names[-1]


def flattened(nodes, name):
    return [*nodes, node("Flatten", name, "y")]


LONG = np.array([1, 1, 1 << 30, 1 << 20])
GRAPHS = {
    "Concat": (flattened(*chain("Concat", 30, axis=1)), {}),
    "outer sums": (
        flattened(
            [
                node("Reshape", "x,row", "r"),
                node("Reshape", "x,column", "c"),
                node("Add", "r,c", "s"),
                node("Reshape", "s,row", "r2"),
                node("Reshape", "s,column", "c2"),
                node("Add", "r2,c2", "t"),
            ],
            "t",
        ),
        {"row": np.array([1, -1]), "column": np.array([-1, 1])},
    ),
    "MatMul": (
        flattened(
            [
                node("Reshape", "x,row", "r"),
                node("Reshape", "x,column", "c"),
                node("Tile", "c,twice", "t"),
                node("Transpose", "t", "u", perm=[1, 0]),
                node("MatMul", "t,u", "m"),
            ],
            "m",
        ),
        {"row": np.array([1, -1]), "column": np.array([-1, 1]), "twice": np.array([20, 1])},
    ),
    "Einsum": (
        flattened([node("Einsum", "x,x,x", "e", equation="abcd,aefg,ahij->bcdefghij")], "e"),
        {},
    ),
    "Gather": (
        flattened(
            [node("Gather", "x,many", "g", axis=2), node("Gather", "g,many", "h", axis=3)], "h"
        ),
        {"many": np.zeros(20_000, np.int64)},
    ),
    "Conv": (
        flattened([node("Conv", "x,w", "c", pads=[1 << 20] * 4)], "c"),
        {"w": np.ones((8, 3, 1, 1), np.float32)},
    ),
    "ConvTranspose": (
        flattened([node("ConvTranspose", "x,w", "c", strides=[1 << 14] * 2)], "c"),
        {"w": np.ones((3, 8, 1, 1), np.float32)},
    ),
    "output padding": (
        flattened(
            [node("ConvTranspose", "x,w", "c", strides=[9999] * 2, output_padding=[9998] * 2)], "c"
        ),
        {"w": np.ones((3, 8, 1, 1), np.float32)},
    ),
    "MaxPool": (
        flattened([node("MaxPool", "x", "p", kernel_shape=[1 << 16] * 2, pads=[60_000] * 4)], "p"),
        {},
    ),
    "AveragePool": (
        flattened(
            [
                node(
                    "AveragePool",
                    "x",
                    "p",
                    kernel_shape=[1 << 16] * 2,
                    pads=[60_000] * 4,
                    count_include_pad=1,
                )
            ],
            "p",
        ),
        {},
    ),
    "Resize": (
        flattened([node("Resize", "x,,scales", "r")], "r"),
        {"scales": np.array([1, 1, 1e4, 1e4], np.float32)},
    ),
    "Expand": (
        flattened(
            [
                node("Expand", "one,size", "b"),
                node("Mul", "b,two", "c"),
                node("ReduceSum", "c", "d"),
                node("Add", "x,d", "e"),
            ],
            "e",
        ),
        {"one": np.ones(1, np.float32), "two": np.full(1, 2, np.float32), "size": LONG},
    ),
    "Tile": (
        flattened([node("Tile", "x,size", "t")], "t"),
        {"size": np.array([1, 1, 10_000, 10_000])},
    ),
    "Pad": (
        flattened([node("Pad", "x,size", "t")], "t"),
        {"size": np.array([0, 0, 10**5, 10**5, 0, 0, 0, 0])},
    ),
    "edge": (
        flattened([node("Pad", "x,size", "t", mode="edge")], "t"),
        {"size": np.array([0, 0, 10**5, 10**5, 0, 0, 0, 0])},
    ),
    "ConstantOfShape": (
        flattened([node("ConstantOfShape", "size", "t"), node("Add", "x,t", "u")], "u"),
        {"size": LONG},
    ),
    "Range": (
        flattened(
            [
                node("Range", "zero,end,one", "t"),
                node("ReduceSum", "t", "u"),
                node("Add", "x,u", "v"),
            ],
            "v",
        ),
        {"zero": np.float32(0), "one": np.float32(1), "end": np.float32(1e12)},
    ),
    "OneHot": (
        flattened(
            [
                node("OneHot", "index,depth,values", "t"),
                node("ReduceSum", "t", "u"),
                node("Add", "x,u", "v"),
            ],
            "v",
        ),
        {
            "index": np.zeros(1000, np.int64),
            "depth": np.int64(10**9),
            "values": np.array([0, 1], np.float32),
        },
    ),
    "many that live": (
        flattened(
            [
                *(node("Tile", "x,size", f"t{n}") for n in range(50)),
                node("Concat", ",".join(f"t{n}" for n in range(50)), "c", axis=1),
            ],
            "c",
        ),
        {"size": np.array([1, 1, 30, 30])},
    ),
    "shape as a list": (
        flattened([node("Expand", "one,size", "b"), node("Reshape", "x,b", "r")], "r"),
        {"one": np.ones(1, np.int64), "size": np.array([10**9])},
    ),
    "backwards": (
        flattened(
            [node("Expand", "x,size", "b"), node("Slice", "b,start,end,axis,step", "r")], "r"
        ),
        {
            "size": np.array([10**9, 3, SIDE, SIDE]),
            "start": np.array([-1]),
            "end": np.array([-(1 << 62)]),
            "axis": np.array([0]),
            "step": np.array([-1]),
        },
    ),
}


@pytest.mark.parametrize(("nodes", "stored"), GRAPHS.values(), ids=GRAPHS)
def test_too_much_memory_is_refused_by_the_shapes(load, nodes, stored):
    with endures(5), pytest.raises(ModelError, match=r"^m: node ") as caught:
        load(nodes, **stored)
    if "a list of" not in str(caught.value):
        assert "of memory; the limit is 300 MB; raise it with --memory-limit" in str(caught.value)


def test_too_many_operations_are_refused_by_the_shapes(load, monkeypatch):
    """Values that fit the memory, and a chain that would take minutes."""
    monkeypatch.setenv(VARIABLE, "2GB")
    nodes = [node("Tile", "x,size", "Cos0")]
    nodes += [node("Cos", f"Cos{n}", f"Cos{n + 1}") for n in range(2000)]
    nodes.append(node("ReduceSum", "Cos2000", "s"))
    with (
        endures(10),
        pytest.raises(
            ModelError, match=r"node Cos\d+.*(operations; the limit is 1e\+11|a gradient needs)"
        ),
    ):
        load(flattened(nodes, "s"), size=np.array([1, 1, 80, 80]))


def test_values_that_are_read_no_more_do_not_count(load):
    """20 values of 19 MB, of which two live at a time; constants are folded and forgotten likewise."""
    nodes = [node("ConstantOfShape", "size", "c0")]
    nodes += [node("Neg", f"c{n}", f"c{n + 1}") for n in range(20)]
    nodes += [node("ReduceSum", "c20", "s", keepdims=0), node("Add", "x,s", "t")]
    recognizer = load(flattened(nodes, "t"), computes=True, size=np.array([4_800_000]))
    assert recognizer.embed(torch.zeros(1, SIDE, SIDE, 3)).shape == (1, 3 * SIDE * SIDE)


def test_the_limit_can_be_raised(load, monkeypatch):
    nodes, name = chain("Concat", 11, axis=1)
    nodes = flattened([*nodes, node("ReduceMean", name, "m", axes=[1])], "m")
    monkeypatch.setenv(VARIABLE, "10MB")
    with pytest.raises(ModelError, match="of memory; the limit is 10 MB"):
        load(nodes, computes=True)
    monkeypatch.setenv(VARIABLE, "100MB")
    recognizer = load(nodes, computes=True)
    # The picture, the last Concat, of 6 MB, and the one that it reads.
    assert recognizer.module.peak_bytes == 3 * SIDE**2 * 4 * (2**11 + 2**10 + 1)
    assert recognizer.within_memory(64) == 100_000_000 // recognizer.module.peak_bytes
    monkeypatch.setenv(VARIABLE, "10MB")
    assert recognizer.within_memory(64, gradients=True) == 1


@pytest.mark.parametrize(
    ("operator", "a", "b"),
    [("Div", -(1 << 31), -1), ("Div", 1, 0), ("Mod", -(1 << 31), -1), ("Mod", 1, 0)],
)
@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_integer_divisions_that_end_the_process_are_refused(load, operator, a, b, dtype):
    a = np.iinfo(dtype).min if a < 0 else a
    nodes = [node(operator, "a,b", "q"), node("Cast", "q", "f", to=1), node("Add", "x,f", "s")]
    with pytest.raises(ModelError, match=rf"operator {operator} cannot run \(.* divided by"):
        load(flattened(nodes, "s"), True, a=np.array([a], dtype), b=np.array([b], dtype))


MEASURE = """
import resource, sys, time
import torch
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before, start = peak(), time.process_time()
from leam.cli.app import main
sys.argv = ["leam", "models", "check", sys.argv[1]]
main()
print("measured", (peak() - before) // 1024, time.process_time() - start)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peaks of memory are in other units elsewhere")
@pytest.mark.parametrize(("count", "equal"), [(10_000, False), (3_000, True)])
def test_long_chains_are_checked_in_little_memory(tmp_path, count, equal):
    """10,000 ReLUs, whose values take 1 GB together; 3,000 nodes of one name."""
    weight = np.random.default_rng(0).normal(size=(8, 3, 3, 3)).astype(np.float32)
    nodes = [node("Conv", "x,w", "r0", strides=[2, 2], pads=[1, 1, 1, 1])]
    nodes += [node("Relu", f"r{n}", f"r{n + 1}") for n in range(count)]
    nodes += [node("GlobalAveragePool", f"r{count}", "g"), node("Flatten", "g", "y")]
    if equal:
        for each in nodes:
            each.name = "a"
    source = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 112, 112])
    target = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8])
    graph = helper.make_graph(
        nodes, "chain", [source], [target], [numpy_helper.from_array(weight, "w")]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    (tmp_path / "chain.onnx").write_bytes(model.SerializeToString())
    (tmp_path / "chain.toml").write_text(
        'name = "chain"\narchitecture = "onnx"\nfile = "chain.onnx"\n'
    )
    ran = subprocess.run(
        [sys.executable, "-c", MEASURE, tmp_path / "chain.toml"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    megabytes, seconds = map(float, ran.stdout.rpartition("measured")[2].split())
    assert megabytes < 500
    assert seconds < 40  # of the processor; linear time takes a third

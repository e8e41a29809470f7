"""ONNX files that are damaged, or point elsewhere."""

from __future__ import annotations

import os

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from hostile import FUZZ, damaged, endures
from leam.errors import WeightsError
from leam.limits import VARIABLE
from leam.recognizers.card import Card
from leam.recognizers.catalogue import load_recognizer

# Zero embeddings of nonsense are warned of, rightly.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::leam.errors.LeamWarning")]

SIDE = 12


def tiny_graph() -> onnx.ModelProto:
    """Convolution, batch norm, PReLU, pooling, a written reshape and a matrix."""
    generator = np.random.default_rng(0)
    shapes = {"w": (4, 3, 3, 3), "s": (4,), "b": (4,), "m": (4,), "v": (4,), "a": (4, 1, 1)}
    shapes["fc"] = (4 * (SIDE // 2) ** 2, 5)
    stored = [
        numpy_helper.from_array(generator.uniform(0.1, 1, shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    stored.append(numpy_helper.from_array(np.array([1, -1]), "shape"))
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["1"], pads=[1, 1, 1, 1], name="conv"),
        helper.make_node("BatchNormalization", ["1", "s", "b", "m", "v"], ["2"], name="bn"),
        helper.make_node("PRelu", ["2", "a"], ["3"]),
        helper.make_node("MaxPool", ["3"], ["4"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Reshape", ["4", "shape"], ["5"]),
        helper.make_node("MatMul", ["5", "fc"], ["y"], name="fc"),
    ]
    source = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, SIDE, SIDE])
    target = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 5])
    graph = helper.make_graph(nodes, "tiny", [source], [target], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])


MODEL = tiny_graph()
WHOLE = MODEL.SerializeToString()
CARD = Card(name="tiny", architecture="onnx", file="tiny.onnx", input_size=(SIDE, SIDE))


@pytest.fixture(autouse=True)
def default_limit(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)


def use(folder, data: bytes) -> None:
    (folder / "tiny.onnx").write_bytes(data)
    with endures():
        recognizer = load_recognizer(CARD, folder=folder)
        recognizer.embed(torch.zeros(2, SIDE, SIDE, 3))


def test_the_whole_graph_is_read(tmp_path):
    (tmp_path / "tiny.onnx").write_bytes(WHOLE)
    recognizer = load_recognizer(CARD, folder=tmp_path)
    assert recognizer.embed(torch.zeros(2, SIDE, SIDE, 3)).shape == (2, 5)


@FUZZ
@given(data=damaged(WHOLE) | st.binary(max_size=300))
def test_damage(tmp_path_factory, data):
    use(tmp_path_factory.getbasetemp(), data)


NUMBERS = st.sampled_from([-1, 0, 1, 2, 3, 7, 1 << 31, 1 << 62, -(1 << 62)])


@FUZZ
@given(data=st.data())
def test_wild_attributes_and_shapes(tmp_path_factory, data):
    """A graph that is well formed and asks for nonsense."""
    model = onnx.ModelProto()
    model.CopyFrom(MODEL)
    for _ in range(data.draw(st.integers(1, 3))):
        node = data.draw(st.sampled_from(list(model.graph.node)))
        kind = data.draw(st.sampled_from(["attribute", "operator", "input", "dims", "shape"]))
        if kind == "attribute":
            name = data.draw(
                st.sampled_from(["pads", "strides", "dilations", "group", "kernel_shape"])
            )
            values = data.draw(st.lists(NUMBERS, min_size=1, max_size=4))
            value = values[0] if name == "group" else values
            kept = [attribute for attribute in node.attribute if attribute.name != name]
            del node.attribute[:]
            node.attribute.extend([*kept, helper.make_attribute(name, value)])
        elif kind == "operator":
            others = [
                "Gemm",
                "Softmax",
                "Concat",
                "Loop",
                "If",
                "Resize",
                "Tile",
                "Expand",
                "Slice",
            ]
            node.op_type = data.draw(st.sampled_from(others))
        elif kind == "input":
            node.input[0] = data.draw(st.sampled_from(["x", "1", "y", "shape", "w", "nothing", ""]))
        elif kind == "dims":
            tensor = data.draw(st.sampled_from(list(model.graph.initializer)))
            tensor.dims[0] = data.draw(NUMBERS)
        else:
            sizes = data.draw(st.lists(NUMBERS, max_size=4))
            wild = numpy_helper.from_array(np.array(sizes, dtype=np.int64), "shape")
            model.graph.initializer[-1].CopyFrom(wild)
    use(tmp_path_factory.getbasetemp(), model.SerializeToString())


GROWING = [
    "Tile",
    "Pad",
    "Expand",
    "Reshape",
    "ConstantOfShape",
    "Range",
    "OneHot",
    "Gather",
    "Resize",
    "Slice",
]
COMBINING = [
    "Concat",
    "Add",
    "MatMul",
    "Mul",
    "Div",
    "Mod",
    "Pow",
    "Gather",
    "Max",
    "Einsum",
    "CumSum",
]
ALONE = [
    "Cos",
    "Neg",
    "Transpose",
    "Flatten",
    "Shape",
    "Size",
    "ReduceSum",
    "Softmax",
    "Identity",
    "Relu",
]
WINDOWS = ["MaxPool", "AveragePool", "Conv", "ConvTranspose", "LpPool"]
SIZES = st.sampled_from([-(1 << 31), -1, 0, 1, 2, 3, 50, 1000, 1 << 20, 1 << 31, 1 << 62])


@FUZZ
@given(data=st.data())
def test_graphs_that_grow(tmp_path_factory, data):
    """Random chains of operators that make values larger, by sizes from the file, on few bytes of input."""
    names, stored, nodes = (
        ["x", "w"],
        [numpy_helper.from_array(np.ones((3, 3, 1, 1), np.float32), "w")],
        [],
    )
    for number in range(data.draw(st.integers(1, 12))):
        operator = data.draw(st.sampled_from(GROWING + COMBINING + ALONE + WINDOWS))
        inputs, attributes = [data.draw(st.sampled_from(names))], {}
        if operator in GROWING:
            sizes = data.draw(st.lists(SIZES, max_size=8))
            kind = np.float32 if operator == "Resize" else np.int64
            stored.append(numpy_helper.from_array(np.array(sizes, dtype=kind), f"s{number}"))
            inputs = [f"s{number}"] if operator == "ConstantOfShape" else [*inputs, f"s{number}"]
            inputs += inputs[-1:] * {"Range": 1, "OneHot": 1, "Resize": 0, "Slice": 2}.get(
                operator, 0
            )
        elif operator in COMBINING:
            inputs += [
                data.draw(st.sampled_from(names)) for _ in range(data.draw(st.integers(1, 3)))
            ]
            attributes = {"Concat": {"axis": data.draw(st.integers(0, 3))}}.get(operator, {})
            if operator == "Einsum":
                attributes = {
                    "equation": ",".join("abcdefgh"[n : n + 4] for n in range(len(inputs)))
                }
        elif operator in WINDOWS:
            inputs += ["w"] if operator.startswith("Conv") else []
            for name, count in (("kernel_shape", 2), ("pads", 4), ("strides", 2)):
                if data.draw(st.booleans()) or name == "kernel_shape":
                    attributes[name] = [data.draw(SIZES) for _ in range(count)]
        nodes.append(helper.make_node(operator, inputs, [f"v{number}"], **attributes))
        names.append(f"v{number}")
    nodes.append(helper.make_node("Flatten", [names[-1]], ["y"]))
    source = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, SIDE, SIDE])
    target = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 5])
    graph = helper.make_graph(nodes, "growing", [source], [target], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    use(tmp_path_factory.getbasetemp(), model.SerializeToString())


FIELDS = {
    "location": ["tiny.onnx", "data", "fifo", ".", "..", "/dev/zero", "../x", "a" * 300, "d\0ta"],
    "offset": ["0", "4", "-4", "4096", "1e3", "many", str(1 << 62), str(1 << 70)],
    "length": ["0", "432", "433", "-1", "", str(1 << 62), str(1 << 70)],
    "checksum": ["0", "x"],
}


@FUZZ
@given(data=st.data())
def test_fields_of_external_data(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp()
    (folder / "data").write_bytes(bytes(432))
    if hasattr(os, "mkfifo") and not (folder / "fifo").exists():
        os.mkfifo(folder / "fifo")
    model = onnx.ModelProto()
    model.CopyFrom(MODEL)
    tensor = data.draw(st.sampled_from(list(model.graph.initializer)))
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for _ in range(data.draw(st.integers(0, 4))):
        key = data.draw(st.sampled_from(list(FIELDS)))
        tensor.external_data.add(key=key, value=data.draw(st.sampled_from(FIELDS[key])))
    use(folder, model.SerializeToString())


KINDS = st.sampled_from([np.int8, np.uint8, np.int32, np.int64, np.float32, np.float16, np.bool_])


@FUZZ
@given(data=st.data())
def test_quantised_graphs(tmp_path_factory, data):
    """Scales and zero points of any type, shape and value."""
    stored = []

    def constant(shape, kind, low=-3, high=130):
        values = np.full(shape, data.draw(st.integers(low, high)), dtype=np.float64)
        stored.append(numpy_helper.from_array(values.astype(kind), f"q{len(stored)}"))
        return stored[-1].name

    def parameters(count=1):
        shape = data.draw(st.sampled_from([(), (1,), (count,), (7,), (0,), (2, 2)]))
        scale = constant(shape, data.draw(KINDS | st.just(np.float32)))
        return [scale, constant(shape, data.draw(KINDS))]

    weight = constant((4, 3, 3, 3), data.draw(KINDS))
    axis = data.draw(st.sampled_from([{}, {"axis": 0}, {"axis": 9}, {"axis": -(1 << 62)}]))
    quantised = parameters()
    nodes = [
        helper.make_node("QuantizeLinear", ["x", *quantised], ["xq"], **axis),
        helper.make_node("DequantizeLinear", ["xq", *quantised], ["xd"]),
        helper.make_node("DequantizeLinear", [weight, *parameters(4)], ["wd"], **axis),
        helper.make_node("DynamicQuantizeLinear", ["x"], ["dq", "ds", "dz"]),
        data.draw(
            st.sampled_from(
                [
                    helper.make_node("Conv", ["xd", "wd"], ["c"]),
                    helper.make_node("ConvInteger", ["dq", weight, "dz"], ["c"]),
                    helper.make_node("ConvInteger", ["xq", weight], ["c"]),
                    helper.make_node("MatMulInteger", ["dq", "dq", "dz", "dz"], ["c"]),
                    helper.make_node(
                        "QLinearConv",
                        ["xq", *quantised, weight, *parameters(4), *parameters()],
                        ["c"],
                    ),
                    helper.make_node(
                        "QLinearMatMul", ["xq", *quantised, "xq", *quantised, *quantised], ["c"]
                    ),
                ]
            )
        ),
        helper.make_node("Cast", ["c"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["f"], ["y"]),
    ]
    source = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, SIDE, SIDE])
    target = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "quantised", [source], [target], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    use(tmp_path_factory.getbasetemp(), model.SerializeToString())


@FUZZ
@given(data=st.data())
def test_functions_that_call_others(tmp_path_factory, data):
    """Calls of oneself, of nothing, in circles, with too few and too many values, and many at a time."""
    names = [f"f{number}" for number in range(data.draw(st.integers(1, 6)))]
    called = st.sampled_from([*names, "Relu", "Missing"])
    inputs, outputs = st.lists(st.just("a"), max_size=3), st.lists(st.just("b"), max_size=2)
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("own", 1)]

    def call(name, given, made):
        domain = "own" if name in {*names, "Missing"} else ""
        return helper.make_node(name, given, made, domain=domain)

    functions = [
        helper.make_function(
            "own", name, data.draw(inputs), data.draw(outputs),
            [
                call(data.draw(called), data.draw(inputs), data.draw(outputs))
                for _ in range(data.draw(st.sampled_from([0, 1, 2, 30])))
            ],
            opsets, data.draw(st.sampled_from([[], ["alpha"]])),
        )
        for name in names
    ]  # fmt: skip
    nodes = [call(data.draw(called), ["x"], ["c"]), helper.make_node("Flatten", ["c"], ["y"])]
    source = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, SIDE, SIDE])
    target = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "functions", [source], [target])
    model = helper.make_model(graph, opset_imports=opsets, functions=functions)
    use(tmp_path_factory.getbasetemp(), model.SerializeToString())


@pytest.mark.parametrize("place", ["../secret", "/etc/passwd", "link", "a/../../secret", "", "."])
def test_external_data_stays_in_the_folder(tmp_path, place):
    (tmp_path / "secret").write_bytes(bytes(1000))
    folder = tmp_path / "model"
    (folder / "a").mkdir(parents=True)
    (folder / "link").symlink_to("../secret")
    model = onnx.ModelProto()
    model.CopyFrom(MODEL)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=place)
    (folder / "tiny.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(WeightsError):
        load_recognizer(CARD, folder=folder)

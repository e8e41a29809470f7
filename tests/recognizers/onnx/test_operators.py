"""Every operator equals onnxruntime's, in batches too, though the graph is for one face."""

import re
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import parser
from onnx.backend.test.case.node import collect_testcases

from leam.recognizers.card import Card
from leam.recognizers.catalogue import load_recognizer
from leam.recognizers.onnx.layers import LAYERS, PER_BATCH
from leam.recognizers.onnx.operators import OPERATORS
from leam.recognizers.onnx.operators.declaration import MICROSOFT
from leam.recognizers.onnx.rewrites import REWRITES

onnxruntime = pytest.importorskip("onnxruntime")

SIDE = 8
# From an input x of (1, 3, 8, 8) to a value y; after the hash the opset, where it is not 17.
BODIES = [
    "y = Abs(x)",
    "y = Ceil(x)",
    "y = Cos(x)",
    "y = Erf(x)",
    "y = Exp(x)",
    "y = Floor(x)",
    "y = HardSwish(x)",
    "y = Identity(x)",
    "a = Abs(x) b = Add(a, one) y = Log(b)",
    "y = Mish(x)  # 18",
    "y = Neg(x)",
    "a = Exp(x) y = Reciprocal(a)",
    "y = Relu(x)",
    "y = Round(x)",
    "y = Sigmoid(x)",
    "y = Sign(x)",
    "y = Sin(x)",
    "y = Softplus(x)",
    "y = Softsign(x)",
    "a = Abs(x) y = Sqrt(a)",
    "y = Tanh(x)",
    "y = Elu<alpha = 0.7>(x)",
    "y = Gelu(x)  # 20",
    'y = Gelu<approximate = "tanh">(x)  # 20',
    "y = GlobalAveragePool(x)",
    "y = GlobalMaxPool(x)",
    "y = GlobalLpPool<p = 3>(x)",
    "y = HardSigmoid<alpha = 0.3, beta = 0.4>(x)",
    "y = LeakyRelu<alpha = 0.2>(x)",
    "y = LpNormalization<axis = 1, p = 2>(x)",
    "y = Transpose<perm = [0, 2, 3, 1]>(x)",
    "y = Dropout(x)",
    "y = Add(x, three)",
    "y = Sub(three, x)",
    "y = Mul(x, x)",
    "a = Exp(x) y = Div(x, a)",
    "y = Sum(x, three, x)",
    "y = Mean(x, three)",
    "y = Max(x, three)",
    "y = Min(x, three, one)",
    "a = Abs(x) y = Pow(a, one)",
    "y = Mod<fmod = 1>(x, one)",
    "g = Greater(x, one) l = Less(x, three) b = Or(g, l) c = Not(b) y = Where(c, x, one)",
    "g = GreaterOrEqual(x, one) l = LessOrEqual(x, three) b = And(g, l) y = Cast<to = 1>(b)",
    "e = Equal(x, x) y = Cast<to = 1>(e)",
    "i = Cast<to = 7>(x) y = CastLike(i, x)",
    "y = PRelu(x, three)",
    "a = Abs(x) y = PRelu(x, a)",
    "y = Clip(x, low, one)",
    "y = Clip(x, , one)",
    "y = Clip<min = -0.5, max = 0.5>(x)  # 9",
    "f = Flatten(x) y = MatMul(f, matrix)",
    "t = Transpose<perm = [0, 1, 3, 2]>(x) y = MatMul(x, t)",
    "f = Flatten(x) y = Gemm<alpha = 0.5, beta = 2.0>(f, matrix, bias)",
    "f = Flatten(x) y = Gemm<transB = 1>(f, turned, bias)",
    'y = Einsum<equation = "bchw,bcvw->bchv">(x, x)',
    "y = AveragePool<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(x)",
    "y = AveragePool<kernel_shape = [3, 3], pads = [0, 1, 1, 1], strides = [2, 2]>(x)",
    "y = AveragePool<kernel_shape = [2, 2], pads = [0, 0, 1, 1], count_include_pad = 1>(x)",
    "y = AveragePool<kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1>(x)",
    'y = AveragePool<kernel_shape = [3, 3], strides = [2, 2], auto_pad = "SAME_UPPER">(x)',
    "y = MaxPool<kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]>(x)",
    "y = MaxPool<kernel_shape = [2, 2], dilations = [2, 2], pads = [0, 0, 1, 1]>(x)",
    'y = MaxPool<kernel_shape = [3, 3], auto_pad = "SAME_LOWER">(x)',
    "y = ReduceL1<axes = [2]>(x)",
    "y = ReduceL2<axes = [1], keepdims = 0>(x)",
    "y = ReduceMax<axes = [-1]>(x)",
    "y = ReduceMean<axes = [2, 3]>(x)",
    "y = ReduceMean(x, axes23)  # 18",
    "y = ReduceMin<axes = [1, 2]>(x)",
    "y = ReduceProd<axes = [1, 3]>(x)",
    "y = ReduceSum(x, axes23)",
    "y = ReduceSumSquare<axes = [1]>(x)",
    "y = Softmax<axis = 1>(x)",
    "y = Softmax<axis = 1>(x)  # 11",
    "y = LogSoftmax(x)",
    "y = LayerNormalization<axis = -1>(x, eight, eight)",
    "y = InstanceNormalization(x, plain3, plain3)",
    "y = BatchNormalization<epsilon = 0.01>(x, plain3, plain3, plain3, positive3)",
    "y = Conv<pads = [1, 1, 1, 1]>(x, kernel)",
    "y = Conv<strides = [2, 2], pads = [0, 0, 1, 1]>(x, kernel, plain2)",
    'y = Conv<strides = [2, 2], auto_pad = "SAME_UPPER">(x, kernel)',
    "y = Conv<group = 3, dilations = [2, 2]>(x, depthwise)",
    "y = CumSum(x, axis3)",
    "y = CumSum<exclusive = 1, reverse = 1>(x, axis3)",
    "a = Abs(x) y = Concat<axis = 1>(x, a, eights)",
    "a, b, c = Split<axis = 1>(x) y = Sub(a, c)",
    "a, b = Split<axis = 2>(x, split26) y = Neg(b)",
    "a, b, c = Split<axis = 1, num_outputs = 3>(x) y = Add(a, b)  # 18",
    "y = Slice(x, ones2, sixes2, axes23)",
    "y = Slice(x, lasts2, firsts2, axes23, backs2)",
    "y = Slice<starts = [1], ends = [3], axes = [1]>(x)  # 9",
    "y = Gather<axis = 1>(x, axis2)",
    "y = Gather<axis = 3>(x, picks)",
    "y = Flatten<axis = 2>(x)",
    "y = Reshape(x, to_one_row)",
    "y = Reshape(x, to_flat)",
    (
        "r = Reshape(x, to_tokens) t = Transpose<perm = [1, 0, 2]>(r) "
        "y = Transpose<perm = [1, 2, 0]>(t)"
    ),
    "r = Reshape(x, to_windows) t = Softmax(r) y = Reshape(t, to_image)",
    (
        "t = Transpose<perm = [2, 0, 3, 1]>(x) r = Reshape(t, sequence_first) s = Tanh(r) "
        "q = Reshape(s, sequence_back) y = Transpose<perm = [1, 0, 2, 3]>(q)"
    ),
    (
        "s = Shape(x) a = Slice(s, one1, three1) b = Concat<axis = 0>(one1, a, eight1) "
        "y = Reshape(x, b)"
    ),
    "g = GlobalAveragePool(x) y = Squeeze(g)",
    "g = GlobalAveragePool(x) y = Squeeze(g, axes23)",
    "g = GlobalAveragePool(x) y = Squeeze<axes = [2, 3]>(g)  # 11",
    "y = Unsqueeze(x, axis2s)",
    "g = GlobalAveragePool(x) s = Shape(x) y = Expand(g, s)",
    "y = Tile(x, repeats)",
    "y = Pad(x, pads, low)",
    'y = Pad<mode = "reflect">(x, pads)',
    'y = Pad<mode = "edge">(x, pads)',
    "y = Pad<pads = [0, 0, 1, 0, 0, 0, 0, 2], value = 0.5>(x)  # 9",
    'y = Resize<mode = "linear">(x, , doubled)',
    ('y = Resize<mode = "linear", coordinate_transformation_mode = "align_corners">(x, , , sizes)'),
    (
        'y = Resize<mode = "nearest", coordinate_transformation_mode = "asymmetric", '
        'nearest_mode = "floor">(x, , doubled)'
    ),
    'y = Upsample<mode = "nearest">(x, doubled)  # 9',
    "n = Size(x) f = Cast<to = 1>(n) r = Div(f, f) y = Mul(x, r)",
    (
        "s = Shape(x) d = Gather<axis = 0>(s, axis3) s0 = Sub(d, d) o = Sub(d, seven) "
        "r = Range(s0, d, o) f = Cast<to = 1>(r) y = Mul(x, f)"
    ),
    "s = Shape(x) c = ConstantOfShape<value = float[1] {2.0}>(s) y = Add(x, c)",
    "c = Constant<value_floats = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]>() y = Mul(x, c)",
    (
        "w = DequantizeLinear<axis = 0>(bytes3, positive3, zeros3) "
        "v = Unsqueeze(w, axes12) y = Mul(x, v)"
    ),
]
CONSTANTS = """
    float one = {1.0}, float low = {-0.3}, float[3,1,1] three = {0.1, -0.5, 0.7},
    float[3] plain3 = {0.3, -0.2, 0.9}, float[2] plain2 = {0.3, -0.2},
    float[3] positive3 = {0.5, 1.0, 2.0},
    uint8[3] bytes3 = {3, 130, 255}, uint8[3] zeros3 = {0, 128, 7},
    float[8] eight = {1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0},
    int64 axis2 = {2}, int64 axis3 = {3}, int64 seven = {7}, int64[2] picks = {5, -1},
    int64[1] axis2s = {2}, int64[2] axes23 = {2, 3}, int64[2] axes12 = {1, 2},
    int64[1] one1 = {1}, int64[1] three1 = {3}, int64[1] eight1 = {8}, int64[2] split26 = {2, 6},
    int64[2] ones2 = {1, 1}, int64[2] sixes2 = {6, 100},
    int64[2] lasts2 = {-1, 6}, int64[2] firsts2 = {-100, 0}, int64[2] backs2 = {-1, -2},
    int64[2] to_one_row = {1, -1}, int64[1] to_flat = {192},
    int64[3] to_tokens = {1, 64, 3}, int64[3] to_windows = {4, 16, 3},
    int64[4] to_image = {1, 3, 8, 8}, int64[3] sequence_first = {8, 2, 12},
    int64[4] sequence_back = {8, 1, 8, 3},
    int64[4] repeats = {1, 2, 1, 3}, int64[8] pads = {0, 0, 1, 2, 0, 0, 3, 1},
    float[4] doubled = {1.0, 1.0, 2.0, 2.0}, int64[4] sizes = {1, 3, 5, 11}
"""


def model_of(body):
    body, _, opset = body.partition("#")
    text = f"""<ir_version: 8, opset_import: ["" : {int(opset or 17)}]>
        g (float[1,3,8,8] x) => (float[b, d] z) <{CONSTANTS}> {{ {body} z = Flatten(y) }}"""
    model = parser.parse_model(text)
    generator = np.random.default_rng(3)
    for name, shape in {
        "matrix": (192, 5),
        "turned": (5, 192),
        "bias": (5,),
        "kernel": (2, 3, 3, 3),
        "depthwise": (3, 1, 3, 3),
        "eights": (1, 1, 8, 8),
    }.items():
        values = generator.normal(size=shape).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    return model


def load(model, folder, **fields):
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    card = Card(
        name="m",
        architecture="onnx",
        file=str(path),
        input_size=(SIDE, SIDE),
        mean=(0, 0, 0),
        **fields,
    )
    return load_recognizer(card, trust=True).module


@pytest.mark.parametrize("body", BODIES)
def test_equals_onnxruntime_for_each_face_of_a_batch(body, tmp_path):
    model = model_of(body)
    module = load(model, tmp_path)
    faces = np.random.default_rng(0).normal(size=(3, 3, SIDE, SIDE)).astype(np.float32)

    ours = module(torch.from_numpy(faces)).detach().numpy()

    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    theirs = np.concatenate(
        [session.run(None, {"x": face[None]})[0].reshape(1, -1) for face in faces]
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5 * np.abs(theirs).max())


def cases():
    """The operators of the ONNX project's node tests, see test_node_cases.py."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = collect_testcases(None)
    return {node.op_type for case in found for node in case.model.graph.node}


SUPPORTED = set(OPERATORS) | set(REWRITES) | {"If"}
STANDARD = {name for name in SUPPORTED if "." not in name}


def test_every_operator_is_tested():
    """Here or among the node tests; those of com.microsoft have tests of their own."""
    used = {node.op_type for body in BODIES for node in model_of(body).graph.node}
    assert used | cases() >= STANDARD


def test_layers_are_operators():
    assert set(LAYERS) | set(PER_BATCH) <= set(OPERATORS)


@pytest.mark.parametrize(
    ("heading", "operators"),
    [
        ("## Operators", STANDARD),
        ("### Operators of onnxruntime", {name.removeprefix(MICROSOFT) for name in SUPPORTED - STANDARD}),
    ],
)  # fmt: skip
def test_every_operator_is_documented(heading, operators):
    page = Path(__file__).resolve().parents[3] / "docs" / "howto" / "your-onnx-file.md"
    listed = page.read_text().partition(f"{heading}\n\n")[2].partition(".\n")[0]
    assert set(re.findall(r"\w+", listed)) == operators

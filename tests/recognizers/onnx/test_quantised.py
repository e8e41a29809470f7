"""Quantised graphs: embeddings as onnxruntime's, gradients that pass, and layers that are convolutions."""

from __future__ import annotations

import logging
import warnings

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from onnxruntime import quantization
from torch import nn

from layouts import SIZE, mass, network
from leam.explain.explainer import Explainer
from leam.recognizers.onnx.operators import OPERATORS
from quirks import SIDE, Network

node = helper.make_node
FLOAT = Network(
    [
        node("Relu", ["c"], ["r"]),
        node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["p", "w", "b"], ["d"], "conv1", pads=[1, 1, 1, 1]),
        node("Sigmoid", ["d"], ["s"]),
        node("Mul", ["d", "s"], ["m"]),
        node("Add", ["m", "p"], ["a"]),
        node("LeakyRelu", ["a"], ["l"], alpha=0.2),
        node("Concat", ["l", "p"], ["f"], axis=1),
    ],
    {"w": (8, 8, 3, 3), "b": (8,)},
    channels=16,
)


class Faces(quantization.CalibrationDataReader):
    def __init__(self, size=(SIDE, SIDE)):
        generator = np.random.default_rng(2)
        shape = (1, 3, *size)
        self.faces = iter(
            [{"x": generator.normal(size=shape).astype(np.float32)} for _ in range(4)]
        )

    def get_next(self):
        return next(self.faces, None)


@pytest.fixture
def quantised(tmp_path):
    """Quantise a network with onnxruntime."""

    def quantised(kind, model=FLOAT.model, size=(SIDE, SIDE), **options):
        source, target = tmp_path / "float.onnx", tmp_path / "quantised.onnx"
        onnx.save(model, source)
        logging.disable()
        try:
            if kind == "dynamic":
                quantization.quantize_dynamic(source, target, **options)
            else:
                kind = getattr(quantization.QuantFormat, kind)
                quantization.quantize_static(
                    source, target, Faces(size), quant_format=kind, **options
                )
        finally:
            logging.disable(logging.NOTSET)
        return onnx.load(target)

    return quantised


CORNER = (True, False)
INT8 = quantization.QuantType.QInt8
UINT8 = quantization.QuantType.QUInt8


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("QDQ", {}),
        ("QDQ", {"activation_type": INT8}),
        ("QOperator", {"weight_type": INT8}),
        ("QOperator", {"activation_type": UINT8, "weight_type": UINT8}),
        ("dynamic", {"weight_type": UINT8}),
    ],
    ids=["qdq", "qdq int8", "qoperator", "qoperator uint8", "dynamic"],
)
def test_quantised_graphs_are_near_onnxruntime_and_keep_their_layers(
    quantised, load, agrees_nearly, kind, options, per_channel
):
    model = quantised(kind, per_channel=per_channel, **options)
    recognizer = agrees_nearly(model)
    convolutions = {
        name for name, c in recognizer.module.named_modules() if isinstance(c, nn.Conv2d)
    }
    assert len(convolutions) == 2
    explainer = Explainer(recognizer)
    assert {layer.name for layer in explainer.layers} == convolutions
    maps = explainer.explain(
        np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3), np.uint8)
    )
    assert not maps.empty.any()


@pytest.fixture(scope="module")
def transformer(tmp_path_factory):
    """A vision transformer that sees one corner, whose GELUs are formulas."""
    path = tmp_path_factory.mktemp("transformer") / "float.onnx"
    module = network("vit, class token", CORNER)
    for block in module.blocks:
        block.mlp.act = nn.GELU(approximate="tanh")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(), (torch.zeros(1, 3, *SIZE),), path, input_names=["x"], dynamo=False, opset_version=17
        )  # fmt: skip
    return onnx.load(path)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("QOperator", {"activation_type": UINT8}),
        ("QDQ", {"extra_options": {"DedicatedQDQPair": True}}),
        ("dynamic", {"weight_type": INT8}),
    ],
    ids=["qoperator", "qdq for each reader", "dynamic"],
)
def test_a_quantised_transformer_keeps_its_blocks(quantised, load, transformer, kind, options):
    chips = np.random.default_rng(0).integers(0, 256, (2, *SIZE, 3), np.uint8)

    def explained(model):
        explainer = Explainer(load(model, input_size=SIZE))
        maps = explainer.explain(chips)
        assert (mass(maps.overall, CORNER) >= 0.7).all()
        return [(layer.name.removesuffix("_quant"), layer.layout) for layer in explainer.layers]

    expected = explained(transformer)
    assert len(expected) == 4
    assert explained(quantised(kind, transformer, SIZE, **options)) == expected


@pytest.fixture
def agrees_nearly(load):
    def agrees_nearly(model):
        recognizer = load(model, trust=False)
        assert recognizer.reference.startswith("equals onnxruntime")
        assert float(recognizer.reference.rpartition("cosine ")[2].rstrip(")")) > 0.999
        return recognizer

    return agrees_nearly


def test_the_range_of_each_face_is_its_own(quantised, load):
    module = load(quantised("dynamic", weight_type=UINT8)).module
    faces = torch.randn(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    faces[1] *= 10
    alone = torch.cat([module(face[None]) for face in faces])
    torch.testing.assert_close(module(faces), alone)


def attending():
    """Tokens ``(N, B, C)``, the order of torch's attention; their rows ``(N * B, C)`` mix the faces."""
    nodes = [
        node("Flatten", ["r"], ["rows"], axis=2),
        node("MatMul", ["rows", "w"], ["products"]),
        node("Reshape", ["products", "tokens"], ["t"]),
    ]
    return Network(
        [
            node("Reshape", ["c", "planes"], ["q"]),
            node("Transpose", ["q"], ["r"], perm=[2, 0, 1]),
            *nodes,
            node("Transpose", ["t"], ["u"], perm=[1, 2, 0]),
            node("Reshape", ["u", "grid"], ["f"]),
        ],
        {
            "planes": np.array([0, 8, SIDE * SIDE]),
            "w": (8, 8),
            "tokens": np.array([SIDE * SIDE, -1, 8]),
            "grid": np.array([0, 8, SIDE, SIDE]),
        },
    )


def test_the_faces_of_merged_rows_keep_ranges_of_their_own(tmp_path, load):
    import onnx

    source, target = tmp_path / "float.onnx", tmp_path / "quantised.onnx"
    onnx.save(attending().model, source)
    quantization.quantize_dynamic(source, target, weight_type=INT8)
    module = load(onnx.load(target)).module
    faces = torch.randn(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    faces[1] *= 10
    alone = torch.cat([module(face[None]) for face in faces])
    torch.testing.assert_close(module(faces), alone)


def test_rounding_has_the_gradient_of_the_identity_within_the_range():
    quantise = OPERATORS.find("QuantizeLinear", 13).function
    x = torch.tensor([-20.0, -1.26, 0.3, 2.0, 40.0], requires_grad=True)
    y = quantise(x, torch.tensor(0.1), torch.tensor(128, dtype=torch.uint8))
    assert y.tolist() == [0, 115, 131, 148, 255]
    (gradient,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(gradient, torch.tensor([0, 10.0, 10, 10, 0]))


def test_quantised_convolutions_with_channels_last(quantised, agrees_nearly, tmp_path):
    """As onnxruntime's optimiser writes them."""
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    model = quantised("QOperator", activation_type=UINT8, weight_type=UINT8)
    onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    found = onnx.load(tmp_path / "optimised.onnx")
    if not any(
        each.domain == "com.microsoft" and each.op_type == "QLinearConv"
        for each in found.graph.node
    ):
        pytest.skip("this processor has other kernels")
    agrees_nearly(found)


def test_numbers_are_rounded_before_the_zero_point_is_added():
    quantise = OPERATORS.find("QuantizeLinear", 13).function
    zero = torch.tensor(1, dtype=torch.int8)
    assert quantise(torch.tensor([0.5, 1.5]), torch.tensor(1.0), zero).tolist() == [1, 3]

"""Fused nodes of onnxruntime's optimiser are the standard nodes that they stand for."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import helper, numpy_helper, parser

from leam.errors import ModelError
from leam.recognizers.card import Card
from leam.recognizers.catalogue import load_recognizer


def model(body, **weights):
    text = (
        '<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]> '
        f"g (float[1,3,8,8] x) => (float[b,d] z) {{ {body} }}"
    )
    found = parser.parse_model(text)
    for name, shape in weights.items():
        values = np.random.default_rng(len(name)).normal(size=shape).astype(np.float32)
        found.graph.initializer.append(numpy_helper.from_array(values, name))
    return found


def fused(found, *inputs, outputs=("c",), place=0, operator="FusedConv", **attributes):
    node = helper.make_node(
        operator, inputs, outputs, f"node_{outputs[0]}", domain="com.microsoft", **attributes
    )
    found.graph.node.insert(place, node)
    return found


def load(found, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(found.SerializeToString())
    card = Card(name="mine", architecture="onnx", file=str(path), input_size=(8, 8))
    return load_recognizer(card, trust=True)


def agrees(found, tmp_path):
    x = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    session = onnxruntime.InferenceSession(
        found.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (wanted,) = session.run(None, {"x": x.numpy()})
    with torch.no_grad():
        ours = load(found, tmp_path).forward(x)
        np.testing.assert_allclose(ours, wanted, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    "attributes",
    [
        {"activation": "Relu"},
        {"activation": "Clip", "activation_params": [-0.5, 0.7]},
        {"activation": "LeakyRelu", "activation_params": [0.3]},
        {"activation": "HardSigmoid", "activation_params": [0.1, 0.4]},
        {"activation": "Tanh"},
        {"activation": "Sigmoid"},
    ],
    ids=lambda attributes: attributes["activation"],
)
@pytest.mark.parametrize("summed", [False, True])
def test_convolutions_with_sums_and_activations(attributes, summed, tmp_path):
    if summed:
        found = model("s = Conv(x, v) z = Flatten(c)", w=(4, 3, 3, 3), v=(4, 3, 3, 3), b=(4,))
        fused(found, "x", "w", "b", "s", place=1, **attributes)
    else:
        found = fused(model("z = Flatten(c)", w=(4, 3, 3, 3)), "x", "w", **attributes)
    agrees(found, tmp_path)


def test_the_layer_of_a_fused_convolution_is_the_convolution(tmp_path):
    found = fused(model("z = Flatten(c)", w=(4, 3, 3, 3)), "x", "w", activation="Relu")
    module = load(found, tmp_path).module
    assert [type(child).__name__ for child in module.children()] == ["Conv2d", "ReLU", "Operation"]


def test_products_and_gelus(tmp_path):
    body = "f = Flatten(x) z = Identity(h)"
    found = model(body, w=(5, 192), bias=(5,))
    fused(found, "f", "w", outputs=["g"], place=1, operator="FusedMatMul", transB=1, alpha=0.5)
    fused(found, "g", "bias", outputs=["e"], place=2, operator="BiasGelu")
    fused(found, "e", outputs=["h"], place=3, operator="Gelu")
    agrees(found, tmp_path)


@pytest.mark.parametrize(("left", "right"), [(0, 1), (1, 0), (1, 1)])
@pytest.mark.parametrize(("first", "second"), [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_products_of_turned_tensors(left, right, first, second, tmp_path):
    """Of planes whose rows may be the first axis."""
    found = model("r = Transpose<perm=[2, 0, 1, 3]>(x) z = Flatten(y)")
    given = ["r" if turned else "x" for turned in (left, right)]
    fused(found, *given, outputs=["y"], place=1, operator="FusedMatMul",
          transA=first, transB=second, transBatchA=left, transBatchB=right)  # fmt: skip
    agrees(found, tmp_path)


@pytest.mark.parametrize(
    "attributes",
    [
        {"activation": "Relu"},
        {"activation": "LeakyRelu", "activation_alpha": 0.3, "alpha": 0.5, "beta": 2.0},
        {"activation": "HardSigmoid", "activation_alpha": 0.1, "activation_beta": 0.4},
        {"activation": "Elu", "activation_alpha": 2.0},
    ],
    ids=lambda attributes: attributes["activation"],
)
def test_dense_layers_with_activations(attributes, tmp_path):
    found = model("f = Flatten(x) z = Identity(g)", w=(192, 5), bias=(5,))
    fused(
        found, "f", "w", "bias", outputs=["g"], place=1, operator="FusedGemm", **attributes
    )  # fmt: skip
    agrees(found, tmp_path)


TOKENS = "r = Reshape(x, shape) k = Transpose<perm=[0, 2, 1]>(r)"


def tokens(body, **weights):
    """64 tokens of 3 channels, multiplied by a matrix to 8 channels."""
    found = model(f"{TOKENS} t = MatMul(k, m) {body}", m=(3, 8), **weights)
    shape = numpy_helper.from_array(np.array([0, 3, 64]), "shape")
    found.graph.initializer.append(shape)
    return found


@pytest.mark.parametrize("attributes", [{}, {"scale": 0.7}, {"unidirectional": 1}], ids=str)
def test_attention_with_joined_weights(attributes, tmp_path):
    found = tokens("z = Flatten(c)", w=(8, 24), bias=(24,))
    fused(found, "t", "w", "bias", place=3, operator="Attention", num_heads=2, **attributes)
    agrees(found, tmp_path)


@pytest.mark.parametrize("bias", [[], ["bias"]])
def test_attention_of_queries_keys_and_values(bias, tmp_path):
    found = tokens("v = Neg(t) q = Abs(t) z = Flatten(c)", bias=(24,))
    fused(found, "q", "t", "v", *bias, place=5, operator="MultiHeadAttention", num_heads=4)
    agrees(found, tmp_path)


@pytest.mark.parametrize(
    ("bits", "zeros"),
    [(4, "none"), (4, "packed"), (4, "float"), (8, "none"), (8, "packed")],
)
def test_weights_of_a_few_bits(bits, zeros, tmp_path):
    found = model("f = Flatten(x) z = Identity(c)", scale=(5 * 6,))
    generator, size = np.random.default_rng(0), 32 * bits // 8
    packed = generator.integers(0, 256, (5, 6, size), np.uint8)
    found.graph.initializer.append(numpy_helper.from_array(packed, "packed"))
    given = ["f", "packed", "scale"]
    if zeros != "none":
        points = (
            generator.integers(0, 256, 5 * -(-6 * bits // 8), np.uint8)
            if zeros == "packed"
            else generator.normal(8, 1, 5 * 6).astype(np.float32)
        )
        found.graph.initializer.append(numpy_helper.from_array(points, "zeros"))
        given.append("zeros")
    fused(found, *given, place=1, operator="MatMulNBits", K=192, N=5, bits=bits, block_size=32)
    agrees(found, tmp_path)
    assert "Linear" in str(load(found, tmp_path).module)


@pytest.mark.parametrize("inputs", [("x", "w"), ("x", "w", "b", "s")])
def test_convolutions_without_activations(inputs, tmp_path):
    found = model("s = Conv(x, v) z = Flatten(c)", w=(4, 3, 3, 3), v=(4, 3, 3, 3), b=(4,))
    agrees(fused(found, *inputs, place=1), tmp_path)


def test_values_within_a_fused_node_do_not_replace_others(tmp_path):
    found = model("other = Conv(x, v) y = Add(c, other) z = Flatten(y)", w=(4, 3, 3, 3))
    found.graph.initializer.append(numpy_helper.from_array(np.ones((4, 3, 3, 3), "f"), "v"))
    fused(found, "x", "w", place=1, activation="Relu")
    found.graph.node[0].output[0] = found.graph.node[2].input[1] = "c/Conv"
    agrees(found, tmp_path)


@pytest.mark.parametrize(
    ("operator", "attributes", "reason"),
    [
        ("FusedConv", {"activation": "Mish"}, "attribute activation = 'Mish': input should be "),
        ("FusedConv", {"activation": "Clip", "activation_params": [0.1]}, "1 activation_params"),
        ("FusedConv", {"activation": "LeakyRelu"}, "0 activation_params"),
        ("FusedGemm", {}, "attribute activation is missing"),
        ("FusedConv", {"odd": [1]}, r"attribute odd = \[1\]"),
        ("Attention", {}, "attribute num_heads is missing"),
        ("Attention", {"num_heads": 2, "do_rotary": 1}, "attribute do_rotary = 1"),
        (
            "Attention",
            {"num_heads": 2, "qkv_hidden_sizes": [4, 4, 8]},
            "attribute qkv_hidden_sizes",
        ),
        ("PackedAttention", {}, "supported"),
    ],
)
def test_other_forms_are_refused_by_name(operator, attributes, reason, tmp_path):
    found = model("z = Flatten(c)", w=(4, 3, 3, 3))
    fused(found, "x", "w", operator=operator, **attributes)
    with pytest.raises(
        ModelError, match=f"operator (com.microsoft.{operator}|Conv) (is not|cannot) .*{reason}"
    ):
        load(found, tmp_path)

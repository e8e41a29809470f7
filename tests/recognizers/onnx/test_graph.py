"""The importer: names, batches, choices, and what it refuses."""

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper, parser
from torch import nn

from leam.errors import ModelError, WeightsError
from leam.recognizers.card import Card
from leam.recognizers.catalogue import load_recognizer

SIDE = 8


def parse(body, *, given="float[1,3,8,8] x", gives="float[b,d] z", **weights):
    text = (
        f'<ir_version: 8, opset_import: ["" : 17, "odd" : 1]> g ({given}) => ({gives}) {{ {body} }}'
    )
    model = parser.parse_model(text)
    for name, shape in weights.items():
        values = np.random.default_rng(len(name)).normal(size=shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    return model


@pytest.fixture
def load(tmp_path):
    def load(model, **fields):
        path = tmp_path / "model.onnx"
        path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
        fields = {"name": "mine", "input_size": (SIDE, SIDE)} | fields
        return load_recognizer(Card(architecture="onnx", file=str(path), **fields), trust=True)

    return load


def faces(count=2):
    return torch.rand((count, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(1))


def test_nodes_are_layers_under_their_names(load):
    model = parse("c = Conv(x, w) n = Sigmoid(c) z = Flatten(n)", w=(4, 3, 3, 3))
    for node, name in zip(
        model.graph.node, ["/stem/stem.0/Conv", "steps", "/stem/stem.0/Conv"], strict=True
    ):
        node.name = name
    module = load(model).module
    assert [name for name, _ in module.named_children()] == [
        "stem/stem_0/Conv",
        "steps_",
        "stem/stem_0/Conv_",
    ]
    assert type(module.get_submodule("stem/stem_0/Conv")) is nn.Conv2d


def test_a_node_may_have_the_name_of_a_constant(load):
    model = parse("c = Conv(x, w) s = Mul(c, v) z = Flatten(s)", w=(4, 3, 3, 3), v=(1, 1, 6, 6))
    model.graph.node[0].name = "constant_0"
    assert load(model).embed(np.zeros((2, SIDE, SIDE, 3), np.uint8)).shape == (2, 144)


def test_weights_become_torch_layers_and_constants_are_folded(load):
    model = parse(
        "v = Identity(w) c = Conv<pads = [0, 0, 1, 1]>(x, v) b = BatchNormalization(c, s, s, s, t)"
        "r = Relu(b) f = Flatten(r) z = Gemm<transB = 1>(f, m)",
        w=(4, 3, 3, 3), s=(4,), m=(5, 196),
    )  # fmt: skip
    model.graph.initializer.append(numpy_helper.from_array(np.ones(4, np.float32), "t"))
    children = [type(child) for child in load(model).module.children()]
    assert children[1:3] + children[4:] == [nn.BatchNorm2d, nn.ReLU, nn.Linear]
    assert issubclass(children[0], nn.Conv2d)
    assert len(children) == 5


def test_gradients_reach_every_layer(load):
    module = load(parse("c = Conv(x, w) s = Mul(c, c) z = Flatten(s)", w=(2, 3, 3, 3))).module
    seen = []
    module.get_submodule("Conv_0").register_forward_hook(lambda _, __, output: seen.append(output))
    (gradient,) = torch.autograd.grad(module(faces()).sum(), seen)
    torch.testing.assert_close(gradient, 2 * seen[0])


def test_nothing_is_changed_in_place(load):
    module = load(parse("r = Relu(x) c = Clip(r, low) s = Sub(c, x) z = Flatten(s)", low=())).module
    x = faces() - 0.5
    kept = x.clone()
    module(x)
    assert torch.equal(x, kept)


def test_batch_of_one_reshaped_by_attention_runs_in_batches(load):
    """Tokens, heads and a class token, all written for one face."""
    body = """
        r = Reshape(x, tokens) t = Transpose<perm = [0, 2, 1]>(r) c = Concat<axis = 1>(cls, t)
        q = MatMul(c, w) s = Reshape(q, heads) h = Transpose<perm = [2, 0, 3, 1, 4]>(s)
        a, b, v = Split<axis = 0>(h)
        a1 = Squeeze(a, zero) b1 = Squeeze(b, zero) v1 = Squeeze(v, zero)
        bt = Transpose<perm = [0, 1, 3, 2]>(b1) d = MatMul(a1, bt) p = Softmax(d) o = MatMul(p, v1)
        u = Transpose<perm = [0, 2, 1, 3]>(o) m = Reshape(u, back)
        e = ReduceMean<axes = [1], keepdims = 0>(m) z = Reshape(e, flat)
    """
    model = parse(body, w=(3, 18), cls=(1, 1, 3))
    shapes = {
        "tokens": [1, 3, 64],
        "heads": [1, 65, 3, 2, 3],
        "back": [1, 65, 6],
        "flat": [6],
        "zero": [0],
    }
    for name, values in shapes.items():
        model.graph.initializer.append(numpy_helper.from_array(np.array(values), name))
    module = load(model).module
    x = faces(3)
    torch.testing.assert_close(module(x), torch.cat([module(face[None]) for face in x]))


def test_graph_that_mixes_the_faces_of_a_batch_is_refused(load):
    with pytest.raises(ModelError, match="mixes the faces"):
        load(parse("m = ReduceMean<axes = [0]>(x) s = Sub(x, m) z = Flatten(s)"))


def test_unsupported_operator_names_node_and_operator(load):
    model = parse("h = odd.Curious(x) z = Flatten(h)")
    model.graph.node[0].name = "/body/7"
    with pytest.raises(
        ModelError,
        match=r"^mine: node body/7: operator odd.Curious is not supported; explain .*leam.BlackBox\)$",
    ):
        load(model)


def test_operators_that_the_embedding_does_not_need_do_not_matter(load):
    load(parse("h = odd.Curious(x) z = Flatten(x)"))


def test_impossible_node_names_itself(load):
    with pytest.raises(ModelError, match=r"mine: node MatMul_1: operator MatMul cannot run \("):
        load(parse("f = Flatten(x) z = MatMul(f, w)", w=(7, 5)))


def test_input_of_another_size_is_refused(load):
    with pytest.raises(ModelError, match="expects an input of 8x8; set the card's input_size"):
        load(parse("z = Flatten(x)"), input_size=(9, 8))


@pytest.mark.parametrize(
    ("given", "channels", "message"),
    [
        (
            "float[1,1,8,8] x",
            "RGB",
            'expects 1 colour channels; set the card\'s channels to "GRAY"',
        ),
        (
            "float[1,8,8,1] x",
            "BGR",
            'expects 1 colour channels; set the card\'s channels to "GRAY"',
        ),
        ("float[1,3,8,8] x", "GRAY", "expects 3 colour channels; set the card's channels to "),
    ],
)
def test_another_number_of_colour_channels_is_refused(load, given, channels, message):
    one = {"mean": (127.5,), "std": (127.5,)} if channels == "GRAY" else {}
    with pytest.raises(ModelError, match=message):
        load(parse("z = Flatten(x)", given=given), channels=channels, **one)


@pytest.mark.parametrize(
    ("given", "fields"),
    [
        ("float[n,3,h,w] x", {"input_size": (9, 8)}),
        ("float[n,c,8,8] x", {"channels": "GRAY"}),
        ("float[a,b,c,d] x", {"input_size": (12, 8)}),
    ],
)
def test_an_input_of_unstated_size_that_does_not_fit_names_the_cards_fields(load, given, fields):
    model = parse("f = Flatten(x) z = MatMul(f, w)", given=given, w=(192, 4))
    load(model)
    with pytest.raises(
        ModelError,
        match=r"MatMul cannot run .* check the card's input_size and channels, or export",
    ):
        load(model, **fields)
    model = parse("f = Flatten(x) z = MatMul(f, w)", w=(190, 4))
    with pytest.raises(ModelError, match=r"MatMul cannot run \([^;]*\)$"):
        load(model)


@pytest.mark.parametrize("given", ["float[3,8,8] x", "float[1,192] x", "float[1,1,3,8,8] x"])
def test_an_input_of_other_axes_is_refused_with_the_way_out(load, given):
    with pytest.raises(
        ModelError, match=r"input x has \d axes, expected 4.*export it with an input"
    ):
        load(parse("z = Flatten(x)", given=given))


def test_whole_numbers_are_given_whole_numbers_of_their_range(load):
    for kind, mean in (("uint8", 0), ("int8", 128)):
        model = parse("f = Cast<to = 1>(x) z = Flatten(f)", given=f"{kind}[1,8,8,3] x")
        recognizer = load(model, mean=(mean,), std=(1,))
        chips = np.random.default_rng(0).integers(0, 256, (2, SIDE, SIDE, 3), np.uint8)
        assert recognizer.embed(chips).equal(torch.from_numpy(chips).flatten(1) - float(mean))
        for fields in ({}, {"mean": (mean + 1,), "std": (1,)}, {"mean": (mean,), "std": (2,)}):
            with pytest.raises(
                ModelError, match=rf"\({kind}\).*set mean = \[{mean}\] and std = \[1\]$"
            ):
                load(model, **fields)


def test_a_broadcast_that_was_written_for_one_face_grows_with_the_batch(load):
    body = """
        n = Constant<value_ints = [4, 3, 4, 4]>() m = Constant<value_ints = [4, 1, 4, 4]>()
        p = Constant<value_ints = [1, 4, 48]>()
        w = Reshape(x, n) e = Expand(w, m) a = Exp(e) f = Reshape(a, p) z = Flatten(f)
    """
    module = load(parse(body)).module
    x = faces(3)
    assert torch.equal(module(x), x.flatten(1).exp())


def test_two_images_are_refused(load):
    with pytest.raises(
        ModelError, match="expected a graph with one input, the image; this one has x, y"
    ):
        load(parse("s = Add(x, y) z = Flatten(s)", given="float[1,3,8,8] x, float[1,3,8,8] y"))


def test_channels_last_input_is_recognised(load):
    module = load(parse("z = Flatten(x)", given="float[1,8,8,3] x")).module
    x = faces()
    assert torch.equal(module(x), x.permute(0, 2, 3, 1).flatten(1))


def test_embedding_among_outputs_by_size_or_by_name(load):
    model = parse(
        "f = Flatten(x) a = MatMul(f, w) b = MatMul(f, v)",
        gives="float[b,d] a, float[b,d] b",
        w=(192, 4),
        v=(192, 6),
    )
    assert load(model, embedding_size=6).module(faces()).shape == (2, 6)
    assert load(model, output="a").module(faces()).shape == (2, 4)
    assert load(model, output=-1).module(faces()).shape == (2, 6)
    with pytest.raises(ModelError, match=r"Set output in the card to one of a, b"):
        load(model)
    with pytest.raises(ModelError, match="no output 'c'; available: a, b"):
        load(model, output="c")


def test_half_precision_runs_in_single(load):
    half = helper.make_tensor("w", onnx.TensorProto.FLOAT16, [2], np.array([0.5, 2], np.float16))
    model = parse("h = Cast<to = 10>(x) r = Reshape(h, pairs) m = Mul(r, w) z = Flatten(m)")
    model.graph.initializer.extend([half, numpy_helper.from_array(np.array([1, 96, 2]), "pairs")])
    y = load(model).module(faces())
    assert y.dtype == torch.float32
    torch.testing.assert_close(y[:, 1::2], faces().flatten(1)[:, 1::2] * 2)


def test_values_that_are_not_finite_are_refused(load):
    with pytest.raises(ModelError, match="not finite"):
        load(parse("l = Sub(x, x) d = Div(x, l) z = Flatten(d)"))


def test_numbers_too_small_to_matter_are_zero(load):
    """They would make the network a hundred times slower."""
    model = parse("c = Conv(x, w) z = Flatten(c)")
    weight = np.full((1, 3, 1, 1), 1e-39, np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weight, "w"))
    assert not load(model).module.get_submodule("Conv_0").weight.any()


def test_value_that_nothing_gives_is_damage(load):
    with pytest.raises(WeightsError, match="reads 'ghost', which no node writes"):
        load(parse("s = Add(x, ghost) z = Flatten(s)"))


def test_graph_that_asks_for_too_much_memory_is_refused(load):
    model = parse("c = ConstantOfShape(s) m = Mul(x, c) z = Flatten(m)")
    model.graph.initializer.append(numpy_helper.from_array(np.array([1 << 20, 1 << 20]), "s"))
    with pytest.raises(
        ModelError,
        match=r"operator ConstantOfShape: .* 8.8 TB of memory; the limit is .*--memory-limit",
    ):
        load(model)

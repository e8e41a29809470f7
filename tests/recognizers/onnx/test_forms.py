"""Forms of nodes that networks of users have, each against onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from leam.errors import ModelError, WeightsError
from quirks import SIDE, Network

node = helper.make_node
MICROSOFT = "com.microsoft"


def float32(*values):
    return np.array(values, np.float32)


def resized(opset, attributes, *, scales=None, sizes=None, operator="Resize"):
    """A resize, and a convolution with a stride, so that it matters where pixels go."""
    given = ["scales"] if opset <= 10 else ["", "scales"] if scales else ["", "", "sizes"]
    stored = {"w": (8, 8, 3, 3)}
    if scales:
        stored["scales"] = float32(*scales)
    else:
        stored["sizes"] = np.array(sizes)
    nodes = [
        node(operator, ["c", *given], ["r"], **attributes),
        node("Conv", ["r", "w"], ["d"], "conv1", strides=[2, 2]),
        node("Tanh", ["d"], ["f"]),
    ]
    return Network(nodes, stored, opset=opset)


DOUBLE, ODD, HALF = (1, 1, 2, 2), (1, 1, 1.3, 1.7), (1, 1, 0.5, 0.5)
PLACES = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "asymmetric",
)


@pytest.mark.parametrize("scales", [DOUBLE, (1, 1, 3, 3), HALF, ODD])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_resize_by_scales(agrees, mode, place, scales):
    agrees(resized(19, {"mode": mode, "coordinate_transformation_mode": place}, scales=scales))


@pytest.mark.parametrize("scales", [DOUBLE, (1, 1, 3, 3), HALF])
@pytest.mark.parametrize("rounding", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
@pytest.mark.parametrize("place", PLACES)
def test_resize_to_the_nearest(agrees, place, rounding, scales):
    attributes = {"coordinate_transformation_mode": place, "nearest_mode": rounding}
    agrees(resized(19, attributes, scales=scales))


@pytest.mark.parametrize(
    "attributes",
    [
        {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
        {"mode": "cubic", "coordinate_transformation_mode": "align_corners"},
        {"mode": "nearest", "coordinate_transformation_mode": "align_corners"},
        {"mode": "linear", "antialias": 1},
        {"mode": "cubic", "antialias": 1, "exclude_outside": 1},
        {"mode": "cubic", "exclude_outside": 1, "cubic_coeff_a": -0.5},
        {"mode": "cubic", "cubic_coeff_a": -0.3},
    ],
    ids=str,
)
@pytest.mark.parametrize("sizes", [(1, 8, 9, 27), (1, 8, 23, 7)])
def test_resize_to_sizes(agrees, attributes, sizes):
    agrees(resized(18, attributes, sizes=sizes))


@pytest.mark.parametrize("policy", ["stretch", "not_larger", "not_smaller"])
def test_resize_of_some_axes_that_keeps_the_aspect_ratio(agrees, policy):
    attributes = {"mode": "linear", "axes": [3, 2], "keep_aspect_ratio_policy": policy}
    agrees(resized(18, attributes, sizes=(20, 27)))


@pytest.mark.parametrize("opset", [13, 18])
def test_resize_of_a_crop(agrees, opset):
    attributes = {
        "mode": "linear",
        "coordinate_transformation_mode": "tf_crop_and_resize",
        "extrapolation_value": 0.7,
    }
    network = resized(opset, attributes, sizes=(1, 8, 20, 27))
    roi = numpy_helper.from_array(float32(0, 0, 0.2, -0.1, 1, 1, 1.3, 0.8), "roi")
    network.model.graph.initializer.append(roi)
    network.model.graph.node[1].input[1] = "roi"
    agrees(network)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("scales", [DOUBLE, (1, 1, 3, 1), HALF, (1, 1, 0.6, 0.35)])
@pytest.mark.parametrize(("operator", "opset"), [("Resize", 10), ("Upsample", 9)])
def test_old_resizes_are_asymmetric(agrees, operator, opset, scales, mode):
    if operator == "Upsample" and min(scales) < 1:
        pytest.skip("onnxruntime refuses it")
    agrees(resized(opset, {"mode": mode}, scales=scales, operator=operator))


def test_the_oldest_upsample_has_its_scales_as_an_attribute(agrees):
    agrees(Network([node("Upsample", ["c"], ["f"], scales=[1.0, 1, 2, 2])], opset=7))


def test_ambiguous_resize_is_refused(load):
    attributes = {"mode": "linear", "coordinate_transformation_mode": "align_corners"}
    with pytest.raises(ModelError, match="align_corners with scales that give a fraction"):
        load(resized(13, attributes, scales=ODD))


def cropped(roi, mode, sizes):
    attributes = {"mode": mode, "coordinate_transformation_mode": "tf_crop_and_resize"}
    attributes |= {"nearest_mode": "floor"} if mode == "nearest" else {}
    nodes = [
        node("Resize", ["c", "roi", "", "sizes"], ["r"], **attributes),
        node("Conv", ["r", "w"], ["f"], strides=[2, 2]),
    ]
    stored = {"w": (8, 8, 3, 3), "roi": float32(*roi), "sizes": np.array(sizes)}
    return Network(nodes, stored, opset=19)


def test_places_are_rounded_as_onnxruntime_does(agrees):
    agrees(cropped((0, 0, 0.1, -0.2, 1, 1, 0.8, 1.3), "nearest", (1, 8, 7, 25)))


def test_a_crop_that_keeps_its_size_is_refused(load):
    with pytest.raises(ModelError, match="with a roi on axis 2, which keeps its size"):
        load(cropped((0, 0, 0.1, 0.1, 1, 1, 0.8, 0.9), "linear", (1, 8, SIDE, 8)))


NORM = {"g": (8,), "b": (8,), "m": (8,), "v": np.ones(8, np.float32)}
STATISTICS = ["c", "g", "b", "m", "v"]


@pytest.mark.parametrize(
    "network",
    [
        Network([node("Dropout", ["c"], ["f", "mask"], ratio=0.4)], opset=10),
        Network([node("MaxPool", ["c"], ["f", "i"], kernel_shape=[2, 2], strides=[2, 2])]),
        Network(
            [node("LayerNormalization", ["c", "g", "b"], ["f", "mean", "inverse"])],
            {"g": (SIDE,), "b": (SIDE,)},
        ),
        Network([node("BatchNormalization", STATISTICS, ["f", "1", "2", "3", "4"])], NORM, opset=9),
        Network(
            [
                node("LayerNormalization", ["c", "g"], ["n", "mean", "inverse"]),
                node("Mul", ["n", "mean"], ["p"]),
                node("Add", ["p", "inverse"], ["f"]),
            ],
            {"g": (SIDE,)},
        ),
        Network(
            [
                node("MaxPool", ["c"], ["p", "i"], kernel_shape=[3, 3], strides=[2, 2]),
                node("Cast", ["i"], ["j"], to=TensorProto.FLOAT),
                node("Mod", ["j", "plane"], ["k"], fmod=1),
                node("Mul", ["p", "k"], ["f"]),
            ],
            {"plane": float32(SIDE * SIDE)},
        ),
        Network(
            [
                node("Dropout", ["c"], ["d", "mask"]),
                node("Cast", ["mask"], ["n"], to=TensorProto.FLOAT),
                node("Add", ["d", "n"], ["f"]),
            ],
        ),
    ],
    ids=["mask", "indices", "statistics", "training", "statistics read", "indices read", "mask read"],
)  # fmt: skip
def test_optional_outputs(agrees, network):
    agrees(network)


def test_an_output_that_is_read_and_not_computed_is_refused(load):
    nodes = [
        node("BatchNormalization", STATISTICS, ["n", "mean", "variance"], training_mode=1),
        node("ReduceSum", ["mean"], ["s"]),
        node("Mul", ["n", "s"], ["f"]),
    ]
    with pytest.raises(
        ModelError, match=r"BatchNormalization is not supported \(with output 2, mean"
    ):
        load(Network(nodes, NORM))


def test_dropout_in_training_mode_is_the_identity(load):
    on = {"ratio": float32(0.5)[0], "on": np.array(True)}
    network = Network([node("Dropout", ["c", "ratio", "on"], ["f"])], on)
    plain = Network([node("Identity", ["c"], ["f"])])
    faces = np.zeros((2, SIDE, SIDE, 3), np.uint8)
    assert load(network).embed(faces).equal(load(plain).embed(faces))


FORMS = {
    "ConvTranspose": ({"kernel_shape": [2, 2], "strides": [2, 2]}, {"w": (8, 8, 2, 2)}),
    "ConvTranspose padded": (
        {"strides": [2, 3], "pads": [1, 0, 1, 2], "output_padding": [1, 0], "dilations": [2, 1]},
        {"w": (8, 8, 3, 3)},
    ),
    "ConvTranspose grouped": ({"group": 2}, {"w": (8, 4, 3, 3), "b": (8,)}),
    "ConvTranspose shaped": (
        {"strides": [2, 2], "output_shape": [30, 31], "auto_pad": "SAME_LOWER"},
        {"w": (8, 8, 3, 3)},
    ),
    "ConvTranspose shaped by an odd number": (
        {"strides": [2, 2], "output_shape": [32, 33]},
        {"w": (8, 8, 4, 4)},
    ),
    "ConvTranspose same": ({"strides": [2, 2], "auto_pad": "SAME_UPPER"}, {"w": (8, 8, 3, 3)}),
    "GroupNormalization": ({"num_groups": 2}, {"g": (8,), "b": (8,)}),
    "InstanceNormalization": ({"epsilon": 0.1}, {"g": (8,), "b": (8,)}),
    "Celu": ({"alpha": 0.7}, {}),
    "LpPool": ({"kernel_shape": [3, 3], "p": 3, "strides": [2, 2]}, {}),
    "LRN": ({"size": 3, "alpha": 0.1}, {}),
    "AveragePool": ({"kernel_shape": [3, 3], "dilations": [2, 2], "ceil_mode": 1}, {}),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms(agrees, form):
    attributes, stored = FORMS[form]
    agrees(Network([node(form.split()[0], ["c", *stored], ["f"], **attributes)], stored, opset=21))


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER"])
def test_a_transposed_convolution_whose_kernel_is_below_its_stride_is_refused(load, auto_pad):
    made = node("ConvTranspose", ["c", "w"], ["f"], auto_pad=auto_pad, strides=[2, 3])
    with pytest.raises(ModelError, match=f"auto_pad = '{auto_pad}' with a kernel below the stride"):
        load(Network([made], {"w": (8, 8, 2, 2)}))


def test_groups_have_scales_of_their_own_in_opset_18(agrees):
    made = node("GroupNormalization", ["c", "g", "b"], ["f"], num_groups=2)
    agrees(Network([made], {"g": (2,), "b": (2,)}, opset=18))


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_blocks(agrees, mode):
    agrees(Network([node("DepthToSpace", ["c"], ["f"], blocksize=2, mode=mode)], channels=2))
    agrees(Network([node("SpaceToDepth", ["c"], ["f"], blocksize=2)], channels=32))


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap"])
def test_negative_padding_crops_first(agrees, mode):
    nodes = [
        node("Pad", ["c", "pads"], ["p"], mode=mode),
        node("Conv", ["p", "w"], ["f"], strides=[2, 2]),
    ]
    stored = {"pads": np.array([0, 0, 2, -3, 0, 0, -1, 2]), "w": (8, 8, 3, 3)}
    agrees(Network(nodes, stored, opset=19))


def test_quick_gelu(agrees):
    agrees(Network([node("QuickGelu", ["c"], ["f"], domain=MICROSOFT, alpha=1.3)], domains=[MICROSOFT]))  # fmt: skip


def test_skip_layer_normalisation(agrees):
    nodes = [
        node("Reshape", ["c", "rows"], ["r"]),
        node("SkipLayerNormalization", ["r", "r", "g", "b"], ["n", "", "", "s"], domain=MICROSOFT),
        node("Mul", ["n", "s"], ["p"]),
        node("Reshape", ["p", "back"], ["f"]),
    ]
    stored = {"rows": np.array([1, 8 * SIDE, SIDE]), "back": np.array([1, 8, SIDE, SIDE])}
    agrees(Network(nodes, {**stored, "g": (SIDE,), "b": (SIDE,)}, domains=[MICROSOFT]))


def branch(name, operator, **attributes):
    made = node(operator, ["c"], [name], **attributes)
    return helper.make_graph([made], name, [], [helper.make_tensor_value_info(name, 1, None)])


def conditional(*condition):
    branches = {"then_branch": branch("t", "Relu"), "else_branch": branch("e", "Neg")}
    return [*condition, node("If", ["so"], ["f"], "choice", **branches)]


@pytest.mark.parametrize("size", [SIDE, 3])
def test_a_condition_on_shapes_is_folded(agrees, size):
    shape = [
        node("Shape", ["c"], ["s"]),
        node("Gather", ["s", "two"], ["d"]),
        node("Equal", ["d", "size"], ["so"]),
    ]
    agrees(Network(conditional(*shape), {"two": np.array(2), "size": np.array(size)}))


def test_a_condition_on_the_picture_is_refused(load):
    seen = [node("ReduceMax", ["c"], ["top"], keepdims=0), node("Greater", ["top", "one"], ["so"])]
    with pytest.raises(
        ModelError, match=r"node choice: operator If is not supported \(with a condi"
    ):
        load(Network(conditional(*seen), {"one": float32(1)[0]}))


def test_loops_are_refused_by_name(load):
    with pytest.raises(ModelError, match="operator Loop is not supported"):
        load(Network([node("Loop", ["", "", "c"], ["f"], body=branch("t", "Relu"))]))


def swish(**attributes):
    body = [node("Sigmoid", ["a"], ["s"]), node("Mul", ["a", "s"], ["b"])]
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    return helper.make_function(
        "mine", "Swish", ["a"], ["b"], attributes.get("body", body), imports
    )


def test_functions_of_the_file_are_written_out(agrees):
    called = [
        node("Swish", ["c"], ["d"], domain="mine"),
        node("Swish", ["d"], ["f"], domain="mine"),
    ]
    agrees(Network(called, domains=["mine"], functions=[swish()]))


def test_a_function_that_calls_itself_is_damage(load):
    endless = swish(body=[node("Swish", ["a"], ["b"], domain="mine")])
    called = [node("Swish", ["c"], ["f"], domain="mine")]
    with pytest.raises(WeightsError, match="the function Swish calls itself"):
        load(Network(called, domains=["mine"], functions=[endless]))


def test_functions_that_double_are_bounded(load):
    levels = []
    for level in range(40):
        inner = f"F{level - 1}" if level else "Relu"
        domain = "mine" if level else ""
        body = [node(inner, ["a"], ["m"], domain=domain), node(inner, ["m"], ["b"], domain=domain)]
        imports = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
        levels.append(helper.make_function("mine", f"F{level}", ["a"], ["b"], body, imports))
    called = [node("F39", ["c"], ["f"], domain="mine")]
    with pytest.raises(WeightsError, match=r"\d+ nodes with those of its functions; the limit is"):
        load(Network(called, domains=["mine"], functions=levels))


def test_the_card_fixes_other_inputs(agrees, load):
    phase = helper.make_tensor_value_info("phase", TensorProto.BOOL, [])
    nodes = [node("Neg", ["c"], ["n"]), node("Where", ["phase", "n", "c"], ["f"])]
    network = Network(nodes, inputs=[phase])
    for value in (False, True):
        agrees(network, {"phase": np.array(value)}, inputs={"phase": value})
    with pytest.raises(ModelError, match=r"this one has x, phase; .* inputs = \{ phase = false \}"):
        load(network)
    with pytest.raises(ModelError, match=r"inputs.phse: the graph has no such input; available"):
        load(network, inputs={"phse": True})


def test_weights_that_depend_on_the_picture_need_a_free_batch(load):
    nodes = [
        node("GlobalAveragePool", ["c"], ["p"]),
        node("Mul", ["w", "p"], ["v"]),
        node("Conv", ["c", "v"], ["f"]),
    ]
    with pytest.raises(
        ModelError, match=r"written for a batch of one.*export it with a free batch"
    ):
        load(Network(nodes, {"w": (8, 8, 3, 3)}))


def test_rows_of_tokens_that_come_first_are_not_mixed(load):
    """(N, 1, C) to the rows (N, C), which a dense layer takes: the optimiser of onnxruntime writes such shapes."""
    places = SIDE * SIDE
    nodes = [
        node("Reshape", ["c", "planes"], ["q"]),
        node("Transpose", ["q"], ["t"], perm=[2, 0, 1]),
        node("Reshape", ["t", "rows"], ["r"]),
        node("Gemm", ["r", "w"], ["g"]),
        node("Reshape", ["g", "tokens"], ["u"]),
        node("Transpose", ["u"], ["v"], perm=[1, 2, 0]),
        node("Reshape", ["v", "grid"], ["f"]),
    ]
    stored = {"planes": [0, 8, places], "rows": [places, 8], "tokens": [places, 1, 8]}
    stored = {k: np.array(v) for k, v in (stored | {"grid": [1, 8, SIDE, SIDE]}).items()}
    module = load(Network(nodes, {**stored, "w": (8, 8)})).module
    faces = torch.randn(3, 3, SIDE, SIDE)
    alone = torch.cat([module(face[None]) for face in faces])
    torch.testing.assert_close(module(faces), alone)


def test_nodes_in_any_order_are_sorted(load):
    """Converters to half precision append the cast of the input."""
    model = Network([node("Tanh", ["c"], ["f"])]).model
    expected = load(model).embed(np.zeros((1, SIDE, SIDE, 3), np.uint8))
    nodes = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    found = load(model, trust=False)
    assert found.reference.startswith("equals")
    assert found.embed(np.zeros((1, SIDE, SIDE, 3), np.uint8)).equal(expected)


@pytest.mark.parametrize(
    ("made", "complaint"),
    [
        (node("Elu", ["c"], ["f"], beta=2.0), "operator Elu is not supported .attribute beta = 2.0"),
        (node("Gelu", ["c"], ["f"], approximate="odd"), r"approximate = 'odd': input should be 'none' or"),
        (node("Resize", ["c", "", "k"], ["f"], mode="odd"), r"attribute mode = 'odd': input should be"),
        (node("MaxPool", ["c"], ["f"], kernel_shape=[2, 2], dilations=[2, 2], auto_pad="SAME_LOWER"),
         "attribute auto_pad = 'SAME_LOWER' with dilations"),
        (node("Relu", ["c", "k"], ["f"]), "operator Relu is not supported .with 2 inputs; supported: 1"),
        (node("AveragePool", ["c"], ["f"]), "operator AveragePool cannot run .attribute kernel_shape is"),
        (node("Conv", ["c", "", "k"], ["f"]), "operator Conv cannot run .input weight is missing"),
    ],
    ids=["attribute", "value", "mode", "padding", "inputs", "missing attribute", "missing input"],
)  # fmt: skip
def test_what_is_not_supported_is_named(load, made, complaint):
    with pytest.raises(ModelError, match=complaint):
        load(Network([made], {"k": float32(1, 1, 2, 2)}, opset=20))


def test_newer_opsets_are_refused(load):
    with pytest.raises(WeightsError, match="opset 99 is newer than"):
        load(Network([node("Relu", ["c"], ["f"])], opset=99))


def test_a_graph_optimised_for_one_processor_says_how_to_save_it(load):
    made = node("Conv", ["c", "k"], ["f"], domain="com.microsoft.nchwc")
    with pytest.raises(WeightsError, match=r"com.microsoft.nchwc.*ORT_ENABLE_EXTENDED or"):
        load(Network([made], {"k": float32(1, 1, 2, 2)}))


def test_outputs_that_double_are_bounded(load):
    nodes, name = [], "c"
    for level in range(20):
        nodes.append(node("Concat", [name, name], [f"d{level}"], axis=1))
        name = f"d{level}"
    nodes.append(node("Identity", [name], ["f"]))
    with pytest.raises(
        ModelError,
        match=r"node Concat_\d+, operator Concat: .* of memory; the limit is .*--memory-limit",
    ):
        load(Network(nodes))


@pytest.mark.parametrize("grown", ["Add", "Conv", "Gather"])
def test_results_that_are_too_large_are_refused_before_they_are_computed(load, grown):
    stored = {"row": np.array([1, -1]), "column": np.array([-1, 1]), "w": (8, 8, 1, 1)}
    nodes = {
        "Add": [
            node("Tile", ["c", "times"], ["t"]),
            node("Reshape", ["t", "row"], ["a"]),
            node("Reshape", ["t", "column"], ["b"]),
            node("Add", ["a", "b"], ["f"]),
        ],
        "Conv": [node("Conv", ["c", "w"], ["f"], pads=[1 << 20] * 4)],
        "Gather": [node("Gather", ["c", "many"], ["m"], axis=2), node("Gather", ["m", "many"], ["f"], axis=3)],
    }[grown]  # fmt: skip
    stored |= {"times": np.array([1, 1, 4, 4]), "many": np.zeros(40_000, np.int64)}
    with pytest.raises(
        ModelError, match=rf"operator {grown}: .* of memory; the limit is .*--memory-limit"
    ):
        load(Network(nodes, stored))


def test_many_nodes_of_one_name_take_linear_time(load):
    nodes = [node("Relu", ["c"], ["n0"], "same")]
    nodes += [node("Relu", [f"n{i}"], [f"n{i + 1}"], "same") for i in range(3000)]
    nodes.append(node("Identity", ["n3000"], ["f"]))
    assert len(load(Network(nodes)).module.steps) == 3006

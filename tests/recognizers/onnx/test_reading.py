"""ONNX files that are damaged, hostile or in pieces."""

from contextlib import suppress

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import numpy_helper, parser

from leam.errors import LeamError, WeightsError
from leam.recognizers.card import Card
from leam.recognizers.onnx.graph import build
from leam.recognizers.onnx.reading import read_onnx, to_tensor

TEXT = """<ir_version: 8, opset_import: ["" : 17]> g (float[1,3,8,8] x) => (float[b,d] z)
    <float[4,3,3,3] w> {
        c = Conv<pads = [1, 0, 0, 1]>(x, w) k = Constant<value = float[2] {0.5, 2.0}>()
        n = Constant<value_ints = [1, -1, 2]>() r = Reshape(c, n) m = Mul(r, k)
        s = Softmax<axis = 1>(m) z = Flatten(s) }"""
WEIGHT = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)


def model():
    made = parser.parse_model(TEXT)
    del made.graph.input[1:]
    made.graph.initializer.append(numpy_helper.from_array(WEIGHT, "w"))
    return made


def with_external(location, **entries):
    made = model()
    tensor = made.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=str(value))
    return made


def write(folder, made):
    path = folder / "model.onnx"
    path.write_bytes(made.SerializeToString())
    return path


@pytest.mark.parametrize("content", [b"", b"hello, I am a text file", b"\x00" * 64, b"\x08\x07"])
def test_what_is_no_onnx_file_is_said_so(tmp_path, content):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"model.onnx: not an ONNX file") as caught:
        read_onnx(path)
    assert "\n" not in str(caught.value)


def test_old_opset_names_the_way_out(tmp_path):
    made = model()
    made.opset_import[0].version = 6
    with pytest.raises(
        WeightsError, match=r"opset 6 is older than 7; convert it with onnx.version_converter"
    ):
        read_onnx(write(tmp_path, made))


def test_external_data_beside_the_model_is_read(tmp_path):
    (tmp_path / "weights.bin").write_bytes(b"----" + WEIGHT.tobytes())
    made = read_onnx(write(tmp_path, with_external("weights.bin", offset=4, length=WEIGHT.nbytes)))
    np.testing.assert_array_equal(to_tensor(made.graph.initializer[0]), WEIGHT)


@pytest.mark.parametrize(
    "location", ["../secret.bin", "/etc/hostname", "a/../../secret.bin", "link.bin", ""]
)
def test_external_data_elsewhere_is_never_read(tmp_path, location):
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(WEIGHT.tobytes())
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    with pytest.raises(WeightsError, match=r"tensor w points outside the model's folder"):
        read_onnx(write(folder, with_external(location)))


@pytest.mark.parametrize(
    "entries", [{}, {"length": WEIGHT.nbytes}, {"offset": -4}, {"offset": "many"}]
)
def test_external_data_missing_or_short_is_said_so(tmp_path, entries):
    if entries:
        (tmp_path / "weights.bin").write_bytes(b"short")
    with pytest.raises(WeightsError, match=r"external data weights.bin"):
        read_onnx(write(tmp_path, with_external("weights.bin", **entries)))


def test_tensor_that_does_not_fill_its_shape_is_damage(tmp_path):
    made = model()
    made.graph.initializer[0].dims[0] = 1 << 40
    with pytest.raises(WeightsError, match=r"damaged tensor"):
        build(Card(name="m", input_size=(8, 8)), write(tmp_path, made))


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(place=st.integers(0, 10_000), value=st.integers(0, 255), keep=st.integers(1, 10_000))
def test_damaged_bytes_never_end_in_a_traceback(tmp_path, place, value, keep):
    data = bytearray(model().SerializeToString())
    data[place % len(data)] = value
    path = tmp_path / "model.onnx"
    path.write_bytes(data[: max(1, keep % (2 * len(data)))])
    with suppress(LeamError):
        build(Card(name="m", input_size=(8, 8)), path)

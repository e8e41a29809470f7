"""ONNX files that are damaged, hostile or in pieces."""

import os
from contextlib import suppress

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import numpy_helper, parser

from leam.errors import LeamError, WeightsError
from leam.limits import VARIABLE
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
    with pytest.raises(WeightsError, match=r"external data 'weights.bin'"):
        read_onnx(write(tmp_path, with_external("weights.bin", **entries)))


def test_half_an_onnx_file_may_be_incomplete(tmp_path):
    path = write(tmp_path, with_external("weights.bin"))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(
        WeightsError, match=r"or an incomplete one .*; download or export it again$"
    ):
        read_onnx(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_external_data_that_is_no_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        message = f"external data '{name}' cannot be read .* must lie beside the model"
        with pytest.raises(WeightsError, match=message):
            read_onnx(write(tmp_path, with_external(name)))


@pytest.mark.parametrize(
    ("offset", "length"), [(401, 32), (400, 33), (1 << 62, 1 << 62), (433, 0), (1 << 70, 1)]
)
def test_external_data_beyond_the_end_of_the_file_is_said_so(tmp_path, offset, length):
    (tmp_path / "weights.bin").write_bytes(bytes(432))
    with pytest.raises(WeightsError, match=r"external data 'weights.bin' ends before the tensor w"):
        read_onnx(write(tmp_path, with_external("weights.bin", offset=offset, length=length)))


def test_external_data_counts_before_it_is_read(tmp_path, monkeypatch):
    """One file of zeros, which takes no space on the disk, for three tensors."""
    monkeypatch.setenv(VARIABLE, "10MB")
    with (tmp_path / "weights.bin").open("wb") as stream:
        stream.truncate(4_000_000)
    made = with_external("weights.bin")
    for name in ("v", "u"):
        made.graph.initializer.add().CopyFrom(made.graph.initializer[0])
        made.graph.initializer[-1].name = name
    with pytest.raises(WeightsError, match=r"tensor u, its external data needs more than 10 MB"):
        read_onnx(write(tmp_path, made))


def test_a_file_above_the_limit_is_not_read(tmp_path, monkeypatch):
    path = write(tmp_path, model())
    monkeypatch.setenv(VARIABLE, "500")
    with pytest.raises(WeightsError, match=r"the file needs more than 500 bytes.*--memory-limit"):
        read_onnx(path)


def with_functions(levels, calls, values):
    """A function that calls another one, and so on; the last one stores some values."""
    lines = ["<ir_version: 8, opset_import: ['' : 17, 'own' : 1]>".replace("'", '"')]
    lines.append("g (float[1,3,8,8] x) => (float[b,d] y) { z = own.f0(x) y = Flatten(z) }")
    for level in range(levels):
        body = " ".join(f"v{n + 1} = own.f{level + 1}(v{n})" for n in range(calls))
        lines.append(
            f'<domain: "own", opset_import: ["" : 17, "own" : 1]> f{level} (v0) => (v{calls}) {{ {body} }}'
        )
    numbers = ", ".join(["1.0"] * values)
    lines.append(
        f'<domain: "own", opset_import: ["" : 17]> f{levels} (a) => (c) '
        f"{{ b = Constant<value = float[{values}] {{{numbers}}}>() d = ReduceSum(b) c = Add(a, d) }}"
    )
    return parser.parse_model("\n".join(lines))


def test_functions_that_call_each_other_are_counted_before_they_are_written_out(tmp_path):
    with pytest.raises(WeightsError, match=r"3145729 nodes with those of its functions"):
        read_onnx(write(tmp_path, with_functions(20, 2, 1)))


def test_functions_that_are_nested_deeply_are_refused_in_one_line(tmp_path):
    with pytest.raises(WeightsError, match=r"damaged functions \(Function call chain depth"):
        read_onnx(write(tmp_path, with_functions(300, 1, 1)))
    with pytest.raises(WeightsError, match="its functions are nested too deeply"):
        read_onnx(write(tmp_path, with_functions(2000, 1, 1)))


@pytest.mark.parametrize(("part", "name"), [("node", "nodes"), ("initializer", "stored tensors")])
def test_very_many_parts_are_counted_before_they_are_read(tmp_path, monkeypatch, part, name):
    """Two bytes each, and empty."""
    monkeypatch.setattr("leam.recognizers.onnx.reading._names", None)
    made = model()
    for _ in range(50_001):
        getattr(made.graph, part).add()
    with pytest.raises(WeightsError, match=rf"\d+ {name}; the limit is 50000"):
        read_onnx(write(tmp_path, made))


def test_what_functions_store_is_counted_before_it_is_copied(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, "1MB")
    path = write(tmp_path, with_functions(3, 8, 1000))
    with pytest.raises(WeightsError, match=r"what its functions store needs more than 1 MB"):
        read_onnx(path)
    monkeypatch.setenv(VARIABLE, "10MB")
    assert len(read_onnx(path).graph.node) == 3 * 8**3 + 1


def test_too_many_nodes_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("leam.recognizers.onnx.reading._MOST_NODES", 4)
    with pytest.raises(WeightsError, match=r"7 nodes; the limit is 4"):
        read_onnx(write(tmp_path, model()))


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

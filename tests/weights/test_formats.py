"""Files that are not what their name says are called what they are."""

import io
import tarfile
import zipfile

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from PIL import Image
from safetensors.torch import save

from leam.errors import WeightsError
from leam.weights.checkpoints import read_state
from leam.weights.formats import CHECKPOINT, ONNX, SAFETENSORS, kind_of, not_a, unpacked_size


def zipped(**members):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/").replace("_dot_", "."), content)
    return stream.getvalue()


def tarred(name):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(name))
    return stream.getvalue()


def field(number, content):
    """A field of a protobuf message: a number, or bytes shorter than 128."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value):
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + varint(value >> 7)


def checkpoint(**options):
    stream = io.BytesIO()
    torch.save({"w": torch.ones(2)}, stream, **options)
    return stream.getvalue()


def picture(kind):
    stream = io.BytesIO()
    Image.new("RGB", (4, 4)).save(stream, kind)
    return stream.getvalue()


def graph(producer="pytorch"):
    node = helper.make_node("Relu", ["x"], ["y"])
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    built = helper.make_graph([node], "g", values[:1], values[1:])
    return helper.make_model(built, producer_name=producer).SerializeToString()


PAGE = b"\xef\xbb\xbf\n<!DOCTYPE html><html><body>Quota exceeded</body></html>"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"
NODE = field(1, field(1, b"input") + field(2, b"Placeholder"))
DESCRIPTION = field(1, field(1, b"image")) + field(10, field(1, b"embedding"))
FOREIGN = {
    "an empty file": b"",
    "a Git LFS pointer instead of the file; run `git lfs pull`": POINTER,
    "a web page instead of the file": PAGE,
    "a text file that begins with 'Not Found'": b"Not Found",
    "an XML document": b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
    "a zip archive (net.pth); unpack it": zipped(net_dot_pth=b"x"),
    "a tar archive; unpack it": tarred("net.pth"),
    "a gzip file; unpack it": b"\x1f\x8b\x08\0\0\0\0\0",
    "a HEIC picture": b"\0\0\0\x18ftypheic\0\0\0\0",
    "a PNG picture": picture("PNG"),
    "a JPEG picture": picture("JPEG"),
    "an HDF5 file, as Keras writes (.h5); convert it to ONNX": b"\x89HDF\r\n\x1a\n" + bytes(20),
    "a Keras model (.keras)": zipped(config_dot_json=b"{}", model_dot_weights_dot_h5=b""),
    "a TensorFlow Lite model; convert it to ONNX": b"\x1c\0\0\0TFL3" + bytes(20),
    "a TensorFlow graph (.pb)": NODE + NODE,
    "a PaddlePaddle model; convert it to ONNX": field(1, field(1, 0) + field(2, 0)) + field(4, b"\x08\0"),
    "a Caffe model": field(1, b"ResNet-50") + field(100, field(1, b"data")),
    "an MXNet parameter file": (0x112).to_bytes(8, "little") + bytes(40),
    "a NumPy archive (.npz)": zipped(w_dot_npy=b"\x93NUMPY"),
    "a TensorRT engine; use the model that it was converted from": b"ptrt" + bytes(40),
    "a model in onnxruntime's own format (.ort); use the model": b"\x1c\0\0\0ORTM" + bytes(20),
    "a Core ML model (.mlmodel); use the model": field(1, 4) + field(2, DESCRIPTION),
    "a Core ML package (.mlpackage); use the model": zipped(
        p__Manifest_dot_json=b"{}", p__Data__m_dot_mlmodel=b""),
    "an OpenVINO graph (.xml); use the model": b'<?xml version="1.0"?>\n<net name="r50" version="11">',
    "the index of a checkpoint in several files; load the files": (
        b'{"metadata": {"total_size": 5}, "weight_map": {"w": "model-00001-of-00002.safetensors"}}'),
    "a JSON file; give the path of a model file": b'{"architectures": ["ViT"]}',
    "a Torch7 file (.t7)": b"\4\0\0\0\1\0\0\0\3\0\0\0V 1\r\0\0\0",
}  # fmt: skip
MORE = {
    "a TensorRT engine": b"ftrt" + bytes(40),
    "a Core ML model (.mlmodel)": field(1, 1) + field(2, DESCRIPTION),
    "an OpenVINO graph (.xml)": b'<net name="r50" version="11">',
    "a PaddlePaddle model": b'{"base_code": {"magic": "pir", "version": 1}, "program": {}}',
    "a TensorFlow graph (.pb)": field(1, 1) + field(2, field(1, field(4, b"serve") + b"\xff")),
    "a PaddlePaddle model; convert it": bytes(16) + b"\x1a\0\0\0\x08\x05\x10\x40" + bytes(30),
    "a Caffe model": field(100, field(1, b"data")),
}


@pytest.mark.parametrize("suffix", [".pth", ".onnx", ".safetensors"])
@pytest.mark.parametrize(
    ("name", "content"),
    [*FOREIGN.items(), *MORE.items()],
    ids=[*FOREIGN, *(f"{n} 2" for n in MORE)],
)
def test_a_file_is_called_what_it_is(tmp_path, name, content, suffix):
    path = tmp_path / f"model{suffix}"
    path.write_bytes(content)
    assert str(kind_of(path)).startswith(name)
    with pytest.raises(WeightsError) as caught:
        read_state(path)
    assert f"model{suffix}: {name}" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "run code" not in str(caught.value)
    assert not_a(ONNX, path) == kind_of(path)


def test_zeros_are_no_tar_archive(tmp_path):
    (tmp_path / "model.pth").write_bytes(bytes(5000))
    assert kind_of(tmp_path / "model.pth") is None


def test_half_a_checkpoint_is_incomplete(tmp_path):
    (tmp_path / "model.pth").write_bytes(checkpoint()[:300])
    with pytest.raises(
        WeightsError, match=r"an incomplete or damaged zip archive, .*; download it again"
    ):
        read_state(tmp_path / "model.pth")


def test_a_checkpoint_that_claims_to_span_disks_is_damaged(tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "net.pth")
    content = bytearray((tmp_path / "net.pth").read_bytes())
    disks = content.rindex(b"PK\x06\x07") + 16
    content[disks : disks + 4] = (2).to_bytes(4, "little")
    (tmp_path / "net.pth").write_bytes(content)
    assert kind_of(tmp_path / "net.pth").name.startswith("an incomplete or damaged zip archive")
    assert unpacked_size(tmp_path / "net.pth") == len(content)
    with pytest.raises(WeightsError, match="incomplete or damaged zip archive"):
        read_state(tmp_path / "net.pth")


def test_torchscript_and_exported_programs_say_how_to_use_them(tmp_path):
    path = tmp_path / "script.pt"
    path.write_bytes(
        zipped(script__data_dot_pkl=b"", script__constants_dot_pkl=b"", script__code__x_dot_py=b"")
    )
    with pytest.raises(
        WeightsError, match=r"a TorchScript archive; load it with torch.jit.load and pass"
    ):
        read_state(path)
    path.write_bytes(zipped(program__archive_format=b"pt2", program__data_dot_pkl=b""))
    with pytest.raises(
        WeightsError, match=r"a torch.export program; load it with torch.export.load"
    ):
        read_state(path)


@pytest.mark.filterwarnings("ignore")
def test_what_torch_itself_writes_is_a_torchscript_archive(tmp_path):
    module = torch.jit.trace(torch.nn.Conv2d(3, 4, 3), torch.zeros(1, 3, 8, 8))
    torch.jit.save(module, tmp_path / "script.pth")
    assert kind_of(tmp_path / "script.pth").name == "a TorchScript archive"


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (CHECKPOINT, checkpoint()),
        (CHECKPOINT, checkpoint(_use_new_zipfile_serialization=False)),
        (CHECKPOINT, checkpoint(pickle_protocol=5, _use_new_zipfile_serialization=False)),
        (SAFETENSORS, save({"w": torch.ones(2)})),
        (ONNX, graph()),
        (ONNX, graph("")),
        (ONNX, graph("Jürgen")),
    ],
    ids=["zip", "legacy", "legacy 5", "safetensors", "onnx", "onnx without name", "onnx of Jürgen"],
)
def test_model_files_are_recognised_whatever_their_name(tmp_path, kind, content):
    path = tmp_path / "model.bin"
    path.write_bytes(content)
    assert kind_of(path) == kind
    assert not_a(kind, path) is None
    if kind == ONNX:
        with pytest.raises(WeightsError, match='an ONNX graph; write architecture = "onnx"'):
            read_state(path)
    else:
        assert torch.equal(read_state(path)["w"], torch.ones(2))


@pytest.mark.parametrize("version", range(1, 12))
def test_an_onnx_file_of_any_version_is_no_other_kind(tmp_path, version):
    model = onnx.ModelProto.FromString(graph())
    model.ir_version = version
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    assert not_a(ONNX, tmp_path / "m.onnx") is None


def test_content_that_tells_nothing_is_left_to_the_reader(tmp_path):
    path = tmp_path / "noise.pth"
    path.write_bytes(np.random.default_rng(0).bytes(5000))
    assert kind_of(path) is None
    with pytest.raises(WeightsError, match="not a readable checkpoint"):
        read_state(path)


@pytest.mark.parametrize(
    ("graph", "content", "name"),
    [
        ("r50.xml", b'<?xml version="1.0"?><net name="r50">', "the weights of an OpenVINO graph (.bin)"),
        ("r50.param", b"7767517\n75 83\n", "the weights of an ncnn graph (.bin)"),
    ],
)  # fmt: skip
def test_raw_weights_are_told_by_the_graph_beside_them(tmp_path, graph, content, name):
    path = tmp_path / "r50.bin"
    path.write_bytes(np.random.default_rng(0).bytes(5000))
    assert kind_of(path) is None
    (tmp_path / graph).write_bytes(content)
    with pytest.raises(WeightsError, match="use the model that it was converted from") as caught:
        read_state(path)
    assert name in str(caught.value)


@pytest.mark.parametrize(
    ("inside", "said"),
    [
        ("saved_model.pb", "a TensorFlow SavedModel; convert it to ONNX with"),
        ("Manifest.json", "a Core ML package (.mlpackage); use the model"),
        ("archive/data.pkl", "an unpacked torch checkpoint; name the file"),
        ("net.pth", "a folder; name the model file in it, such as net.pth"),
        ("notes.txt", "a folder; name the model file in it"),
    ],
)
def test_a_folder_is_called_that(tmp_path, inside, said):
    (tmp_path / inside).parent.mkdir(exist_ok=True)
    (tmp_path / inside).write_bytes(b"x")
    with pytest.raises(WeightsError) as caught:
        read_state(tmp_path)
    assert f"{tmp_path}: {said}" in str(caught.value)

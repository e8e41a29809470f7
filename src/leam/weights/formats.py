"""What kind of file something is, from its first bytes: model files are often another file than their name says."""

from __future__ import annotations

import os
import re
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from leam.files import open_regular

_HEAD_BYTES = 4096
_ORIGINAL = "use the model that it was converted from, as an ONNX graph or a torch checkpoint"
_TO_ONNX = "convert it to ONNX"
_AGAIN = "download it again"
_UNPACK = "unpack it and name the model file inside"
_PICTURE = "give the path of a model file"
_STATE_DICT = "save its state_dict with torch.save"
# Names of archive members, and of text, that a message quotes.
_MAX_QUOTED = 60


@dataclass(frozen=True)
class FileKind:
    """A kind of file.

    Attributes:
        name: What messages call it: ``a web page``.
        remedy: What to do if a model was expected: an imperative.
    """

    name: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.name}; {self.remedy}"


CHECKPOINT = FileKind("a torch checkpoint", "name its architecture instead of onnx in the card")
SAFETENSORS = FileKind("a safetensors file", "name its architecture instead of onnx in the card")
ONNX = FileKind("an ONNX graph", 'write architecture = "onnx" in the card')

_NCNN = FileKind("an ncnn graph", _ORIGINAL)

# First bytes, and the position at which they are found.
_SIGNATURES: tuple[tuple[int, bytes, FileKind], ...] = (
    (0, b"version https://git-lfs.github.com/spec/", FileKind(
        "a Git LFS pointer instead of the file", "run `git lfs pull`, or download the file itself")),
    (0, b"\x89HDF\r\n\x1a\n", FileKind(
        "an HDF5 file, as Keras writes (.h5)",
        f"{_TO_ONNX} with `python -m tf2onnx.convert --keras FILE --output model.onnx`")),
    (4, b"TFL3", FileKind(
        "a TensorFlow Lite model",
        f"{_TO_ONNX} with `python -m tf2onnx.convert --tflite FILE --output model.onnx`")),
    (0, b"\x12\x01\0\0\0\0\0\0", FileKind(
        "an MXNet parameter file (.params)", f"{_TO_ONNX} with MXNet's onnx.export_model")),
    (4, b"ftypavif", FileKind("an AVIF picture", _PICTURE)),
    (4, b"ftyp", FileKind("a HEIC picture or an MP4 video", _PICTURE)),
    (0, b"\x89PNG\r\n\x1a\n", FileKind("a PNG picture", _PICTURE)),
    (0, b"\xff\xd8\xff", FileKind("a JPEG picture", _PICTURE)),
    (0, b"GIF8", FileKind("a GIF picture", _PICTURE)),
    (8, b"WEBP", FileKind("a WebP picture", _PICTURE)),
    (0, b"II*\0", FileKind("a TIFF picture", _PICTURE)),
    (0, b"MM\0*", FileKind("a TIFF picture", _PICTURE)),
    (0, b"%PDF-", FileKind("a PDF document", _PICTURE)),
    (0, b"\x1f\x8b", FileKind("a gzip file", _UNPACK)),
    (0, b"BZh", FileKind("a bzip2 file", _UNPACK)),
    (0, b"\xfd7zXZ\0", FileKind("an xz file", _UNPACK)),
    (0, b"(\xb5/\xfd", FileKind("a Zstandard file", _UNPACK)),
    (0, b"7z\xbc\xaf'\x1c", FileKind("a 7z archive", _UNPACK)),
    (0, b"Rar!\x1a\x07", FileKind("a RAR archive", _UNPACK)),
    (0, b"GGUF", FileKind("a GGUF file", f"{_TO_ONNX}, or {_STATE_DICT}")),
    (0, b"\x93NUMPY", FileKind("a NumPy array", _STATE_DICT)),
    (0, b"MATLAB 5.0 MAT-file", FileKind("a MATLAB file", _TO_ONNX)),
    (0, b"7767517\n", _NCNN),
    (0, b"ptrt", FileKind("a TensorRT engine", _ORIGINAL)),
    (0, b"ftrt", FileKind("a TensorRT engine", _ORIGINAL)),
    (4, b"ORTM", FileKind("a model in onnxruntime's own format (.ort)", _ORIGINAL)),
    (0, b"RKNN", FileKind("an RKNN model", _ORIGINAL)),
    (4, b"ET12", FileKind("an ExecuTorch program (.pte)", _ORIGINAL)),
)  # fmt: skip
_TORCH7 = FileKind("a Torch7 file (.t7)", "load it with torchfile and save its state_dict")
_PB = FileKind(
    "a TensorFlow graph (.pb)",
    f"{_TO_ONNX} with `python -m tf2onnx.convert --graphdef FILE`, or --saved-model FOLDER",
)
_PADDLE = FileKind("a PaddlePaddle model", f"{_TO_ONNX} with paddle2onnx")
_COREML = FileKind("a Core ML model (.mlmodel)", _ORIGINAL)
_COREML_PACKAGE = FileKind("a Core ML package (.mlpackage)", _ORIGINAL)
_OPENVINO = FileKind("an OpenVINO graph (.xml)", _ORIGINAL)
_OPENVINO_WEIGHTS = FileKind("the weights of an OpenVINO graph (.bin)", _ORIGINAL)
_NCNN_WEIGHTS = FileKind("the weights of an ncnn graph (.bin)", _ORIGINAL)
_INDEX = FileKind(
    "the index of a checkpoint in several files",
    "load the files that it lists, and save their tensors together with safetensors.torch.save_file",
)
_CAFFE = FileKind("a Caffe model", f"{_TO_ONNX} with caffe2onnx")
_TORCHSCRIPT = FileKind(
    "a TorchScript archive",
    "load it with torch.jit.load and pass the module to leam.Recognizer, or save its state_dict",
)
_EXPORTED = FileKind(
    "a torch.export program",
    "load it with torch.export.load and pass its module() to leam.Recognizer",
)
_KERAS = FileKind("a Keras model (.keras)", f"{_TO_ONNX} with `python -m tf2onnx.convert`")
_NPZ = FileKind("a NumPy archive (.npz)", _STATE_DICT)
_PICKLE = FileKind("a Python pickle that torch did not write", f"if you trust it, {_STATE_DICT}")
_CUT_ZIP = FileKind("an incomplete or damaged zip archive, as torch's checkpoints are", _AGAIN)
_UNPACKED = FileKind("an unpacked torch checkpoint", "name the file before it was unpacked")
# What a folder holds, by the name of a file or folder in it.
_FOLDERS: tuple[tuple[str, FileKind], ...] = (
    ("saved_model.pb", FileKind(
        "a TensorFlow SavedModel",
        f"{_TO_ONNX} with `python -m tf2onnx.convert --saved-model FOLDER --output model.onnx`")),
    ("Manifest.json", _COREML_PACKAGE),
    ("coremldata.bin", FileKind("a compiled Core ML model (.mlmodelc)", _ORIGINAL)),
    ("data.pkl", _UNPACKED),
    ("archive/data.pkl", _UNPACKED),
)  # fmt: skip
_MODEL_SUFFIXES = {".onnx", ".pth", ".pt", ".ckpt", ".safetensors", ".bin", ".tar", ".dat"}
# How a file in torch's format before 1.6 begins: the pickled magic number, in a frame from protocol 4 on.
_PICKLED = re.compile(rb"\x80.(\x95.{8})?\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19", re.DOTALL)
# Paddle's combined tensors: version, levels and version, all zero, and the length and first field of a description.
_PADDLE_TENSORS = re.compile(rb"\0{16}.\0\0\0\x08", re.DOTALL)


def kind_of(path: Path) -> FileKind | None:  # noqa: C901, PLR0911  one kind after the other
    """What kind of file this is; None if its content does not tell.

    Raises:
        OSError: As for :func:`leam.files.open_regular`.
    """
    if path.is_dir():
        return kind_of_folder(path)
    with open_regular(path) as stream:
        head = stream.read(_HEAD_BYTES)
        stream.seek(max(0, path.stat().st_size - _HEAD_BYTES))
        tail = stream.read(_HEAD_BYTES)
    if not head:
        return FileKind("an empty file", _AGAIN)
    for place, signature, kind in _SIGNATURES:
        if head[place : place + len(signature)] == signature:
            return kind
    if _is_zip(path) or head.startswith(b"PK\x03\x04"):
        return _kind_of_zip(path)
    if head[12:15] == b"V 1" and head[1:4] == b"\0\0\0":
        return _TORCH7
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size:
        return SAFETENSORS
    if b"StructuredToParameterName@@" in head + tail or _PADDLE_TENSORS.match(head):
        return _PADDLE
    if head[:1] == b"\x80":
        return CHECKPOINT if _PICKLED.match(head) else _PICKLE
    if _is_tar(path):
        return FileKind("a tar archive", _UNPACK)
    return _kind_beside(path) or _kind_of_text(head) or _kind_of_protobuf(head)


def kind_of_folder(path: Path) -> FileKind:
    """What kind of model a folder holds."""
    for name, kind in _FOLDERS:
        if (path / name).exists():
            return kind
    models = sorted(one.name for one in path.iterdir() if one.suffix in _MODEL_SUFFIXES)
    named = f", such as {models[0]}" if models else ""
    return FileKind("a folder", f"name the model file in it{named}")


def unpacked_size(path: Path) -> int:
    """The bytes of a file, or of all members of a zip archive as they are unpacked, which may be a thousand times more.

    Raises:
        OSError: As for :func:`leam.files.open_regular`.
    """
    with open_regular(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        if not _is_zip(stream):
            return size
        try:
            with zipfile.ZipFile(stream) as archive:
                return max(size, sum(member.file_size for member in archive.infolist()))
        except (zipfile.BadZipFile, ValueError, NotImplementedError):
            return size  # what cannot be listed cannot be unpacked


def not_a(wanted: FileKind, path: Path) -> FileKind | None:
    """What a file is, if it is known to be another kind than the wanted one."""
    kind = kind_of(path)
    return None if kind == wanted else kind


def _kind_beside(path: Path) -> FileKind | None:
    """Raw weights have no signature; the graph beside them tells what they are."""
    if path.suffix != ".bin":
        return None
    for suffix, graph, weights in (
        (".xml", _OPENVINO, _OPENVINO_WEIGHTS),
        (".param", _NCNN, _NCNN_WEIGHTS),
    ):
        beside = path.with_suffix(suffix)
        if beside.is_file() and kind_of(beside) == graph:
            return weights
    return None


def _is_zip(file: Path | BinaryIO) -> bool:
    try:
        return zipfile.is_zipfile(file)
    except zipfile.BadZipFile:
        # A damaged one, whose directory claims to lie on several disks.
        return True


def _kind_of_zip(path: Path) -> FileKind | None:  # noqa: PLR0911
    """Torch's own files, and some others, are zip archives."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError):
        return _CUT_ZIP
    last = {name.rpartition("/")[2] for name in names}
    if "constants.pkl" in last:
        return _TORCHSCRIPT
    if "serialized_exported_program.json" in last or "archive_format" in last:
        return _EXPORTED
    if "data.pkl" in last:
        return CHECKPOINT
    if "Manifest.json" in last and any(name.endswith(".mlmodel") for name in names):
        return _COREML_PACKAGE
    if {"config.json", "model.weights.h5"} <= last:
        return _KERAS
    if names and all(name.endswith(".npy") for name in names):
        return _NPZ
    some = ", ".join(names[:3])[:_MAX_QUOTED]
    return FileKind(f"a zip archive ({some or 'empty'})", _UNPACK)


def _kind_of_text(head: bytes) -> FileKind | None:  # noqa: PLR0911
    """Pages and messages that a server sends instead of a file."""
    try:
        # The last character may be cut in two.
        text = head.decode("utf-8-sig", "strict" if len(head) < _HEAD_BYTES else "ignore").strip()
    except UnicodeDecodeError:
        return None
    start = text[:200].lower()
    if re.match(r"<(!doctype html|html|head|body|script|meta|!--)", start):
        return FileKind(
            "a web page instead of the file", "open its address in a browser to see why"
        )
    if not all(character.isprintable() or character in "\t\r\n" for character in text):
        return None
    if re.match(r"(<\?xml[^>]*>\s*)?<net\b", start):
        return _OPENVINO
    if start.startswith("{"):
        return _kind_of_json(text)
    if start.startswith("<"):
        return FileKind("an XML document", _AGAIN)
    begins = text.splitlines()[0][:_MAX_QUOTED] if text else ""
    return FileKind(f"a text file that begins with {begins!r}", _AGAIN)


def _kind_of_json(text: str) -> FileKind:
    """The kind of a JSON file, of which this is the beginning."""
    if '"weight_map"' in text or '"total_size"' in text:
        return _INDEX
    if '"magic"' in text and '"pir"' in text:
        return _PADDLE
    return FileKind("a JSON file", _PICTURE)


def _kind_of_protobuf(head: bytes) -> FileKind | None:  # noqa: PLR0911
    """ONNX, TensorFlow, Caffe and Paddle graphs, which have no signature, by their first fields."""
    fields = list(_fields(head))
    if not fields:
        return None
    (number, value), rest = fields[0], fields[1:]
    if number == 1 and isinstance(value, int) and rest:
        # ONNX's ir_version, or a SavedModel's schema version before its meta graph.
        second, content = rest[0]
        if second == 2 and _is_description(content):  # noqa: PLR2004
            return _COREML
        if value == 1 and second == 2 and not _is_text(content):  # noqa: PLR2004
            return _PB
        onnx = second in {2, 3, 4, 5, 6, 7, 8, 14, 20, 25}
        return ONNX if onnx else None
    if number == 1 and isinstance(value, bytes):
        inner = dict(list(_fields(value))[:2])
        if isinstance(inner.get(1), bytes) and _is_text(inner.get(2)):
            return _PB  # a node with its name and operator
        if inner.get(1) == 0 and isinstance(inner.get(2), int):
            return _PADDLE  # a block with its number and its parent's
        if _is_text(value) and rest and rest[0][0] in {2, 3, 4, 8, 100}:
            return _CAFFE  # the network's name before its inputs or layers
    return _CAFFE if number == 100 and isinstance(value, bytes) else None  # noqa: PLR2004


def _is_description(content: int | bytes) -> bool:
    """Whether this is Core ML's description of a model, with inputs and outputs, and not TensorFlow's meta graph."""
    numbers = [number for number, _ in _fields(content)] if isinstance(content, bytes) else []
    return numbers[:1] == [1] and (numbers.count(1) > 1 or 10 in numbers)  # noqa: PLR2004


def _is_tar(path: Path) -> bool:
    try:
        with tarfile.open(path, "r:") as archive:
            # Zeros alone are an empty archive.
            return archive.next() is not None
    except (tarfile.TarError, ValueError, OSError):
        return False


def _is_text(value: object) -> bool:
    return isinstance(value, bytes) and value.isascii() and value.decode("ascii").isprintable()


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a protobuf message that begins here, until something is no field: number and value.

    The content of the last field may be cut off.
    """
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        if number == 0 or kind not in {0, 2}:
            return
        value, at = _varint(data, at)
        if at > len(data):
            return
        if kind == 0:
            yield number, value
        else:
            yield number, data[at : at + value]
            at += value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data):
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80 or shift > 63:  # noqa: PLR2004
            return value, at
    return 0, len(data) + 1

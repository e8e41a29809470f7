"""Read ONNX files safely: they may be damaged or malicious."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import numpy_helper
from torch import Tensor

from leam.errors import WeightsError, first_line

# Before opset 7, broadcasting had different rules.
_MIN_OPSET = 7
_STANDARD_DOMAINS = {"", "ai.onnx"}


def read_onnx(path: Path) -> onnx.ModelProto:
    """Parse an ONNX file and load its external data.

    External data is read only from files in the model's own folder.

    Raises:
        WeightsError: The file is not an ONNX model, is damaged or too old, or its external data is missing or outside
            the folder.
    """
    model = onnx.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except (DecodeError, OSError, ValueError) as error:
        raise WeightsError(f"{path}: not an ONNX file ({first_line(error)})") from None
    if not model.graph.node:
        raise WeightsError(f"{path}: not an ONNX file, or its graph is empty")
    if not all(isinstance(name, str) and name.isprintable() for name in _names(model.graph)):
        raise WeightsError(f"{path}: damaged: a name in its graph is not text")
    if opset_of(model) < _MIN_OPSET:
        raise WeightsError(
            f"{path}: opset {opset_of(model)} is older than {_MIN_OPSET}; "
            "convert it with onnx.version_converter"
        )
    for tensor in _tensors(model.graph):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            _load_external(tensor, path)
    return model


def opset_of(model: onnx.ModelProto) -> int:
    """The version of the standard operators that the model uses."""
    versions = [entry.version for entry in model.opset_import if entry.domain in _STANDARD_DOMAINS]
    return max(versions, default=1)


def to_tensor(proto: onnx.TensorProto) -> Tensor:
    """A stored tensor; floating-point numbers become float32, integers int64.

    Raises:
        ValueError: The data does not fit the shape, or is not numeric.
    """
    array = numpy_helper.to_array(proto)
    if array.dtype == np.bool_:
        return torch.from_numpy(np.array(array))
    if np.issubdtype(array.dtype, np.integer):
        return torch.from_numpy(array.astype(np.int64))
    if array.dtype.kind in "SUO":
        raise ValueError(f"{proto.name or 'a tensor'} contains text")
    return torch.from_numpy(array.astype(np.float32))


def _names(graph: onnx.GraphProto) -> Iterator[object]:
    """All names in a graph; in a damaged file they may not be text."""
    for named in (*graph.input, *graph.output, *graph.initializer, *graph.node):
        yield named.name
    for node in graph.node:
        yield from (node.op_type, node.domain, *node.input, *node.output)


def _tensors(graph: onnx.GraphProto) -> list[onnx.TensorProto]:
    inside = [
        a.t for node in graph.node for a in node.attribute if a.type == onnx.AttributeProto.TENSOR
    ]
    return [*graph.initializer, *inside]


def _load_external(tensor: onnx.TensorProto, path: Path) -> None:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    folder = path.resolve().parent
    source = (folder / location).resolve()
    if not location or not source.is_relative_to(folder):
        raise WeightsError(
            f"{path}: tensor {tensor.name} points outside the model's folder, at {location!r}"
        )
    try:
        offset, length = int(entries.get("offset", 0)), int(entries.get("length", -1))
        with source.open("rb") as stream:
            stream.seek(offset)
            data = stream.read(length)
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"{path}: external data {location} cannot be read ({first_line(error)})"
        ) from None
    if length >= 0 and len(data) < length:
        raise WeightsError(f"{path}: external data {location} ends before the tensor {tensor.name}")
    tensor.raw_data = data
    tensor.data_location = onnx.TensorProto.DEFAULT
    del tensor.external_data[:]

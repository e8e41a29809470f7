"""Read ONNX files safely: they may be damaged or malicious."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import numpy_helper
from onnx.inliner import inline_local_functions
from torch import Tensor

from leam.errors import WeightsError, first_line
from leam.files import open_regular
from leam.limits import memory_limit, readable
from leam.weights.formats import ONNX, not_a

# Before opset 7, broadcasting had different rules. Operators of opsets after the newest one may mean something else.
_MIN_OPSET, _MAX_OPSET = 7, 28
_FLOATS = {
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.FLOAT16,
    onnx.TensorProto.BFLOAT16,
    onnx.TensorProto.DOUBLE,
}
_WIDE = {
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.DOUBLE,
    *(onnx.TensorProto.INT8, onnx.TensorProto.INT16, onnx.TensorProto.INT32),
    *(onnx.TensorProto.INT64, onnx.TensorProto.UINT8, onnx.TensorProto.BOOL),
}
# Largest number of nodes after model-local functions are written out, and of stored tensors. A node takes about a
# millisecond to read and test; networks have a few thousand.
_MOST_NODES = 50_000
STANDARD_DOMAINS = {"", "ai.onnx"}
# Nodes that onnxruntime writes for one kind of processor at its highest level of optimisation.
_PROCESSOR_DOMAINS = {"com.microsoft.nchwc", "com.ms.internal.nhwc"}


def read_onnx(path: Path) -> onnx.ModelProto:
    """Parse an ONNX file and load its external data.

    External data is read only from files in the model's own folder. Calls of model-local functions are replaced by
    the functions' nodes, and Dropout is taken out of training mode.

    Raises:
        WeightsError: The file is not an ONNX model, is damaged, too old or too new, or its external data is missing or
            outside the folder.
    """
    model = _parsed(path)
    if model.functions:
        model = _without_functions(model, path)
    graphs = list(_graphs(model.graph))
    room = memory_limit() - sum(_loaded_bytes(each) for graph in graphs for each in _tensors(graph))
    if room < 0:
        raise _too_large(path, "what it stores")
    for graph in graphs:
        room = _complete(graph, path, room)
    return model


def _parsed(path: Path) -> onnx.ModelProto:
    """The model as the file has it, of a version that can be read."""
    model = onnx.ModelProto()
    try:
        if kind := not_a(ONNX, path):
            raise WeightsError(f"{path}: not an ONNX file, but {kind}")
        if path.stat().st_size > memory_limit():
            raise _too_large(path, "the file")
        model.ParseFromString(path.read_bytes())
    except (DecodeError, OSError, ValueError) as error:
        raise WeightsError(
            f"{path}: not an ONNX file, or an incomplete one ({first_line(error)}); download or export it again"
        ) from None
    if not model.graph.node:
        raise WeightsError(f"{path}: not an ONNX file, or its graph is empty")
    _count(model, path)
    if not all(isinstance(name, str) and name.isprintable() for name in _names(model)):
        raise WeightsError(f"{path}: damaged: a name in its graph is not text")
    for_processor = sorted({node.domain for node in model.graph.node} & _PROCESSOR_DOMAINS)
    if for_processor:
        raise WeightsError(
            f"{path}: optimised by onnxruntime for one kind of processor (nodes of {for_processor[0]}); use the "
            "original file, or save it with graph_optimization_level ORT_ENABLE_EXTENDED or ORT_ENABLE_BASIC"
        )
    opset = opset_of(model)
    if not _MIN_OPSET <= opset <= _MAX_OPSET:
        limit = f"older than {_MIN_OPSET}" if opset < _MIN_OPSET else f"newer than {_MAX_OPSET}"
        raise WeightsError(
            f"{path}: opset {opset} is {limit}; convert it with onnx.version_converter"
        )
    return model


def _count(model: onnx.ModelProto, path: Path) -> None:
    """Refuse a model of very many parts before each of them becomes an object of Python."""
    nodes = tensors = 0
    for body in (model.graph, *model.functions):
        for graph in _graphs(body):
            nodes += len(graph.node)
            # Functions store none.
            tensors += len(getattr(graph, "initializer", ()))
            if nodes > _MOST_NODES or tensors > _MOST_NODES:
                what = f"{nodes} nodes" if nodes > _MOST_NODES else f"{tensors} stored tensors"
                raise WeightsError(f"{path}: {what}; the limit is {_MOST_NODES}")


def opset_of(model: onnx.ModelProto) -> int:
    """The version of the standard operators that the model uses."""
    versions = [entry.version for entry in model.opset_import if entry.domain in STANDARD_DOMAINS]
    return max(versions, default=1)


def to_tensor(proto: onnx.TensorProto) -> Tensor:
    """A stored tensor; floating-point numbers become float32.

    Integers of less than 8 bits and floating-point numbers of 8 bits or less become float64. As no other values are
    float64, operators recognise them.

    Raises:
        ValueError: The data does not fit the shape, or is not numeric.
    """
    array = numpy_helper.to_array(proto)
    if array.dtype.kind in "SUO":
        raise ValueError(f"{proto.name or 'a tensor'} contains text")
    if array.dtype.kind in "biu":
        return torch.from_numpy(np.array(array))
    if proto.data_type in _FLOATS:
        return torch.from_numpy(array.astype(np.float32))
    return torch.from_numpy(array.astype(np.float64))


def captured(value: object) -> set[str]:
    """Names of the values that a subgraph reads and does not itself compute."""
    if not isinstance(value, onnx.GraphProto):
        return set()
    own = {tensor.name for tensor in value.initializer}
    own |= {name for node in value.node for name in node.output}
    read = {name for node in value.node for name in node.input}
    read |= {result.name for result in value.output}
    for node in value.node:
        for attribute in node.attribute:
            read |= captured(attribute.g) if attribute.HasField("g") else set()
    return read - own - {""}


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph, or a function, and its subgraphs."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inside in (*([attribute.g] if attribute.HasField("g") else ()), *attribute.graphs):
                yield from _graphs(inside)


def _all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    return (node for each in _graphs(graph) for node in each.node)


def _names(model: onnx.ModelProto) -> Iterator[object]:
    """All names in a model; in a damaged file they may not be text."""
    nodes = [node for function in model.functions for node in function.node]
    for graph in _graphs(model.graph):
        nodes.extend(graph.node)
        for named in (*graph.input, *graph.output, *graph.initializer):
            yield named.name
    for node in nodes:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)


def _tensors(graph: onnx.GraphProto) -> list[onnx.TensorProto]:
    inside = [
        a.t for node in graph.node for a in node.attribute if a.type == onnx.AttributeProto.TENSOR
    ]
    return [*graph.initializer, *inside]


def _without_functions(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """The model with the calls of its functions replaced by their nodes."""
    bodies = {
        (f.domain, f.name): [(n.domain, n.op_type) for n in _all_nodes(f)] for f in model.functions
    }
    own = {(f.domain, f.name): f.ByteSize() for f in model.functions}
    counts: dict[tuple[str, str], tuple[int, int]] = {}

    def cost(call: tuple[str, str], callers: tuple[tuple[str, str], ...] = ()) -> tuple[int, int]:
        """The nodes that a call stands for, and their bytes."""
        if call in callers:
            raise WeightsError(f"{path}: damaged: the function {call[1]} calls itself")
        if call in bodies and call not in counts:
            inside = [cost(each, (*callers, call)) for each in bodies[call]]
            counts[call] = sum(n for n, _ in inside), own[call] + sum(size for _, size in inside)
        return counts.get(call, (1, 0))

    try:
        costs = [cost((node.domain, node.op_type)) for node in _all_nodes(model.graph)]
        count = sum(n for n, _ in costs)
        if count > _MOST_NODES:
            raise WeightsError(
                f"{path}: {count} nodes with those of its functions; the limit is {_MOST_NODES}"
            )
        if sum(size for _, size in costs) > memory_limit():
            raise _too_large(path, "what its functions store")
        return inline_local_functions(model)
    except RecursionError:
        raise WeightsError(f"{path}: damaged: its functions are nested too deeply") from None
    except (RuntimeError, ValueError, onnx.checker.ValidationError) as error:
        raise WeightsError(f"{path}: damaged functions ({first_line(error)})") from None


def _loaded_bytes(tensor: onnx.TensorProto) -> int:
    """The bytes that a tensor of the file takes at most once it is read, see :func:`to_tensor`."""
    kind = tensor.data_type
    # Numbers of 4 bits become float64, half-precision ones float32.
    size: int = tensor.ByteSize()
    return size * (1 if kind in _WIDE else 2 if kind in _FLOATS else 16)


def _complete(graph: onnx.GraphProto, path: Path, room: int) -> int:
    """Load a graph's external data, sort its nodes, and take them out of training mode.

    Args:
        graph: The graph.
        path: The model's file.
        room: The bytes that external data may take.

    Returns:
        The bytes that are left.
    """
    _sort(graph)
    for tensor in _tensors(graph):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            factor = max(1, _loaded_bytes(tensor) // max(1, tensor.ByteSize()))
            room -= factor * _load_external(tensor, path, room // factor)
    for node in graph.node:
        if node.op_type == "Dropout" and node.domain in STANDARD_DOMAINS:
            del node.input[2:]  # the training mode, in which results are random
    return room


def _sort(graph: onnx.GraphProto) -> None:
    """Put nodes after those that write what they read, as onnxruntime does; some converters append nodes."""
    nodes = list(graph.node)
    writers = {name: place for place, node in enumerate(nodes) for name in node.output if name}
    reads = [
        {*node.input}.union(*(captured(a.g) for a in node.attribute if a.HasField("g")))
        for node in nodes
    ]
    written: set[str] = set()
    for node, names in zip(nodes, reads, strict=True):
        if (names & writers.keys()) - written:
            break
        written.update(node.output)
    else:
        return
    before = {
        place: {writers[name] for name in names if name in writers}
        for place, names in enumerate(reads)
    }
    with suppress(CycleError):  # the import names a value that nothing gives
        order = list(TopologicalSorter(before).static_order())
        del graph.node[:]
        graph.node.extend(nodes[place] for place in order)


def _load_external(tensor: onnx.TensorProto, path: Path, room: int) -> int:
    """Load a tensor from a regular file in the model's folder, of which it must be a part; returns its bytes."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    folder = path.resolve().parent
    try:
        source = (folder / location).resolve()
        if not location or not source.is_relative_to(folder):
            raise WeightsError(
                f"{path}: tensor {tensor.name} points outside the model's folder, at {location!r}"
            )
        offset, stated = int(entries.get("offset", 0)), int(entries.get("length", -1))
        with open_regular(source) as stream:
            size = os.fstat(stream.fileno()).st_size
            length = stated if stated >= 0 else size - offset
            if not 0 <= offset <= offset + length <= size:
                raise WeightsError(
                    f"{path}: external data {location!r} ends before the tensor {tensor.name}"
                )
            if length > room:
                raise _too_large(path, f"with the tensor {tensor.name}, its external data")
            stream.seek(offset)
            data = stream.read(length)
    except (OSError, RuntimeError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise WeightsError(
            f"{path}: external data {location!r} cannot be read ({reason or first_line(error)}); the file must lie "
            "beside the model, under this name"
        ) from None
    if len(data) < length:
        raise WeightsError(
            f"{path}: external data {location!r} ends before the tensor {tensor.name}"
        )
    tensor.raw_data = data
    tensor.data_location = onnx.TensorProto.DEFAULT
    del tensor.external_data[:]
    return length


def _too_large(path: Path, what: str) -> WeightsError:
    return WeightsError(
        f"{path}: {what} needs more than {readable(memory_limit())} of memory; raise the limit with --memory-limit "
        "(in Python, leam.set_memory_limit)"
    )

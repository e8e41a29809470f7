"""Compare an imported graph with onnxruntime, where it is installed.

onnxruntime runs in a process of its own: a hostile file may crash it or take all memory, but not this process.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from google.protobuf.message import EncodeError  # type: ignore[import-untyped]
from numpy.typing import NDArray
from torch import nn

from leam.errors import ModelError
from leam.limits import values_limit
from leam.recognizers.card import Card
from leam.recognizers.onnx.graph import examples, extra_inputs, image_input
from leam.recognizers.onnx.module import Graph
from leam.recognizers.onnx.reading import captured, read_onnx

TOLERANCE = 1e-3
"""Largest difference of two embeddings, relative to the largest value of onnxruntime's."""
HALF_COSINE, QUANTISED_COSINE = 0.99, 0.8
"""Least cosine of two embeddings of a graph with half-precision, and with quantised numbers.

A difference of one rounding grows through the layers: a MobileFaceNet of 8 bits gave 0.92 to 1, and 0.99 between runs
of onnxruntime with and without its optimiser. A wrong operator gives far less.
"""
_SECONDS, _LONGEST = 60, 200
# What onnxruntime and its copies of the file take beside the values.
_IMPORTS, _COPIES = 500 << 20, 3
_HALF = {onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16}
_QUANTISED = re.compile("^QuantizeLinear|^Dynamic|^Q(Linear|Gemm)|Integer")
# Reads the model and the inputs, and writes the outputs, one row for each face.
_PROGRAM = """
import io, sys
target, source, size, threads, limit = sys.argv[1:]
try:
    import resource
    resource.setrlimit(resource.RLIMIT_DATA, (int(limit), int(limit)))
except (ImportError, OSError, ValueError):
    pass  # another system
import numpy as np
import onnxruntime
model = sys.stdin.buffer.read(int(size))
feeds = dict(np.load(io.BytesIO(sys.stdin.buffer.read()), allow_pickle=False))
options = onnxruntime.SessionOptions()
options.log_severity_level = 4
options.intra_op_num_threads = int(threads)
options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
faces = feeds.pop(source)
rows = [session.run([target], {source: face[None], **feeds})[0].reshape(-1) for face in faces]
np.save(sys.stdout.buffer, np.stack(rows).astype(np.float32))
"""


def compare(card: Card, path: Path, module: nn.Module) -> str:
    """Compare a graph with onnxruntime on two random pictures, one at a time.

    Args:
        card: The recognizer's card.
        path: The ONNX file.
        module: The graph that was imported from it.

    Returns:
        One line: how large the difference is, or why onnxruntime cannot tell.

    Raises:
        ModelError: The embeddings differ by more than ``TOLERANCE``; in a graph that rounds, their cosine is less than
            ``HALF_COSINE`` or ``QUANTISED_COSINE``.
    """
    if not isinstance(module, Graph) or find_spec("onnxruntime") is None:
        return "not compared: onnxruntime is not installed"
    model = read_onnx(path)
    source, channels_last = image_input(card, model.graph)
    declared = next(value for value in model.graph.input if value.name == source)
    kind = onnx.helper.tensor_dtype_to_np_dtype(declared.type.tensor_type.elem_type)
    faces = examples(card)
    if np.issubdtype(kind, np.integer):
        faces = faces.round()
    with torch.no_grad():
        ours = torch.cat([module(face[None]) for face in faces]).numpy()
    given = faces.permute(0, 2, 3, 1) if channels_last else faces
    feeds = {source: given.numpy().astype(kind), **extra_inputs(card, model.graph)}
    theirs = _run(model, module.target, feeds, source)
    if isinstance(theirs, str):
        return f"not compared: onnxruntime cannot run the file ({theirs})"
    if theirs.shape != ours.shape:
        raise ModelError(
            f"{card.name}: {ours.shape[1]} values, onnxruntime gives {theirs.shape[1]}"
        )
    return _verdict(card, ours, theirs, limit=_least_cosine(model.graph))


def _verdict(
    card: Card, ours: NDArray[np.floating], theirs: NDArray[np.floating], *, limit: float | None
) -> str:
    """One line about the difference; ``limit`` is the least cosine of a graph that rounds."""
    # Squares of large numbers overflow in single precision.
    ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
    norms = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    cosine = float(((ours * theirs).sum(1) / np.maximum(norms, 1e-30)).min())
    error = float(np.abs(ours - theirs).max() / max(np.abs(theirs).max(), 1e-30))
    agrees = error <= TOLERANCE if limit is None else cosine >= limit
    found = f"relative error {error:.1g}" if limit is None else f"cosine {cosine:.4f}"
    if not agrees:
        expected = f"at most {TOLERANCE}" if limit is None else f"at least {limit}"
        raise ModelError(
            f"{card.name}: the embeddings differ from onnxruntime's ({found}, expected {expected}); "
            "report the file, or load it with --trust (in Python, trust=True)"
        )
    return f"equals onnxruntime on two random pictures ({found})"


def _run(
    model: onnx.ModelProto,
    target: str,
    feeds: dict[str, NDArray[Any]],
    source: str,
) -> NDArray[np.float32] | str:
    """The values that onnxruntime gives a target ``(B, D)`` for each face alone, or why there are none."""
    _prune(model.graph, target)
    try:
        content = model.SerializeToString()
    except (ValueError, EncodeError):
        return "it is larger than 2 GB"
    packed = io.BytesIO()
    np.savez(packed, allow_pickle=False, **feeds)
    limit = _IMPORTS + _COPIES * len(content) + max(0, values_limit(len(content)))
    numbers = (len(content), torch.get_num_threads(), limit)
    arguments = [target, source, *map(str, numbers)]
    try:
        done = subprocess.run(  # noqa: S603  our own program, in a folder without modules of others
            [sys.executable, "-c", _PROGRAM, *arguments],
            input=content + packed.getvalue(),
            capture_output=True,
            timeout=_SECONDS,
            cwd=sys.prefix,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"it takes more than {_SECONDS} seconds"
    if done.returncode < 0:
        return f"it crashes: signal {-done.returncode}"
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        return lines[-1][:_LONGEST] if lines else f"exit status {done.returncode}"
    result: NDArray[np.float32] = np.load(io.BytesIO(done.stdout), allow_pickle=False)
    return result


def _prune(graph: onnx.GraphProto, target: str) -> None:
    """Leave only what a target depends on: onnxruntime need not know the other operators."""
    wanted, kept = {target}, []
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            nested = [a.g for a in node.attribute if a.HasField("g")]
            wanted.update(node.input, *(captured(each) for each in nested))
            kept.append(node)
    outputs = [value for value in graph.output if value.name == target]
    del graph.node[:], graph.output[:]
    graph.node.extend(reversed(kept))
    graph.output.extend(outputs)


def _least_cosine(graph: onnx.GraphProto) -> float | None:
    """The limit for a graph that computes with quantised or half-precision numbers; None for any other."""
    if any(_QUANTISED.search(node.op_type) for node in graph.node):
        return QUANTISED_COSINE
    types = {tensor.data_type for tensor in graph.initializer}
    types |= {value.type.tensor_type.elem_type for value in graph.input}
    casts = [node for node in graph.node if node.op_type == "Cast"]
    types |= {a.i for node in casts for a in node.attribute if a.name == "to"}
    return HALF_COSINE if types & _HALF else None

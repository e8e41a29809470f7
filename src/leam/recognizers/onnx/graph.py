"""Import an ONNX file as a differentiable torch module, one layer per node."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional

from leam.errors import ModelError, WeightsError, first_line
from leam.recognizers.card import Card
from leam.recognizers.onnx.bounds import Budget, TooLargeError
from leam.recognizers.onnx.importer import CANNOT_RUN, Importer, measured, nodes_of
from leam.recognizers.onnx.layers import PerBatch, Run
from leam.recognizers.onnx.module import Graph
from leam.recognizers.onnx.reading import opset_of, read_onnx, to_tensor

# Relative error to which two faces in a batch must give the same embeddings as each alone.
_TOLERANCE = 1e-3
_INTEGERS = {
    *(
        onnx.TensorProto.INT8,
        onnx.TensorProto.INT16,
        onnx.TensorProto.INT32,
        onnx.TensorProto.INT64,
    ),
    *(onnx.TensorProto.UINT8, onnx.TensorProto.UINT16, onnx.TensorProto.UINT32),
}
_FREE = (
    'export it with a free batch size: torch.onnx.export(..., dynamic_axes={"input": {0: "batch"}})'
)


def build(card: Card, path: Path) -> nn.Module:
    """Build a card's ONNX file as a torch module.

    The card's ``output`` names the output with the embedding; it is needed if the graph has several outputs that
    ``embedding_size`` does not distinguish. Its ``inputs`` give values to inputs other than the image.

    Raises:
        WeightsError: The file is damaged.
        ModelError: The graph has an unsupported operator, expects another input, or mixes the faces of a batch.
    """
    model = read_onnx(path)
    try:
        constants = {tensor.name: to_tensor(tensor) for tensor in model.graph.initializer}
        nodes = nodes_of(model.graph, opset_of(model))
    except Exception as error:  # noqa: BLE001  damaged tensors raise nearly anything
        raise WeightsError(f"{path}: damaged tensor ({first_line(error)})") from None
    source, channels_last = image_input(card, model.graph)
    constants |= {
        name: torch.from_numpy(value) for name, value in extra_inputs(card, model.graph).items()
    }
    faces = examples(card)
    targets = _targets(card, model.graph)
    one = faces[:1].permute(0, 2, 3, 1) if channels_last else faces[:1]
    with torch.no_grad():
        budget = measured(card.name, constants, {source: one}, nodes, targets)
        running = None if budget else Budget(constants.values(), dry=False)
        importer = Importer(card.name, constants, {source: one}, running)
        with _sized(card, model.graph, source):
            importer.add(nodes, targets)
        target = _choose(card, targets, importer.values)
        graph = importer.graph(source, target, channels_last=channels_last)
        graph.eval()
        if found := budget or running:
            graph.face_bytes, graph.peak_bytes = found.total, found.peak
        _free_batch(card, graph, faces)
        _check_batch(card, graph, faces)
    return graph


def image_input(card: Card, graph: onnx.GraphProto) -> tuple[str, bool]:
    """The name of the graph's only input to which the card gives no value, and whether its channels come last.

    Raises:
        ModelError: There is none or more than one, or the image has another number of axes or another size, or whole
            numbers that the card's preprocessing does not give.
    """
    stored = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in stored]
    for name in card.inputs:
        if name not in {value.name for value in inputs}:
            raise ModelError(
                f"{card.name}: inputs.{name}: the graph has no such input; "
                f"available: {', '.join(value.name for value in inputs)}"
            )
    inputs = [value for value in inputs if value.name not in card.inputs]
    if len(inputs) != 1:
        names = [value.name for value in inputs]
        raise ModelError(
            f"{card.name}: expected a graph with one input, the image; this one has {', '.join(names) or 'none'}; "
            f"give the others a value in the card, such as inputs = {{ {names[-1] if names else 'x'} = false }}"
        )
    kind = inputs[0].type.tensor_type
    sizes = [d.dim_value for d in kind.shape.dim]
    (channels, *expected), rank = card.input_shape, 4
    if kind.HasField("shape") and len(sizes) != rank:
        raise ModelError(
            f"{card.name}: the graph's input {inputs[0].name} has {len(sizes)} axes, expected 4: faces, channels, rows "
            f"and columns; export it with an input such as {(1, *card.input_shape)}"
        )
    _check_type(card, kind.elem_type)
    channels_last = len(sizes) == rank and sizes[3] == channels and sizes[1] != channels
    if len(sizes) == rank and channels not in (sizes[1], sizes[3]) and 4 - channels in sizes[1::2]:
        wanted = '"RGB" or "BGR"' if card.channels == "GRAY" else '"GRAY"'
        raise ModelError(
            f"{card.name}: the graph expects {4 - channels} colour channels; set the card's channels to {wanted}"
        )
    spatial = sizes[1:3] if channels_last else sizes[2:4]
    for wanted, given in zip(spatial, expected, strict=False):
        if wanted > 0 and wanted != given:
            height, width = spatial
            raise ModelError(
                f"{card.name}: the graph expects an input of {height}x{width}; "
                "set the card's input_size"
            )
    return inputs[0].name, channels_last


@contextmanager
def _sized(card: Card, graph: onnx.GraphProto, source: str) -> Iterator[None]:
    """Say of an operator that cannot run that the card may state another input than the graph needs.

    Raises:
        ModelError: An operator cannot run, and the graph does not state its input's shape.
    """
    try:
        yield
    except TooLargeError:
        raise
    except ModelError as error:
        (image,) = (value for value in graph.input if value.name == source)
        sizes = [size.dim_value for size in image.type.tensor_type.shape.dim]
        if CANNOT_RUN not in str(error) or (sizes and min(sizes[1:]) > 0):
            raise
        raise ModelError(
            f"{error}; the file does not state the size of its input: check the card's input_size and channels, or "
            f"export it with a fixed input such as {(1, *card.input_shape)}"
        ) from None


def _check_type(card: Card, kind: int) -> None:
    """Check that a graph's input of whole numbers gets whole numbers of its range.

    Raises:
        ModelError: The card's preprocessing gives other numbers.
    """
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind) if kind in _INTEGERS else None
    if dtype is None:
        return
    limits = np.iinfo(dtype)
    ends = [value - mean for mean in card.mean for value in (0, 255)]
    inside = all(end == round(end) and limits.min <= end <= limits.max for end in ends)
    if not inside or set(card.std) != {1}:
        mean = 128 if limits.max < 255 else 0  # noqa: PLR2004  of bytes with a sign
        raise ModelError(
            f"{card.name}: the graph's input takes whole numbers ({dtype}), and the card's mean and std give others; "
            f"set mean = [{mean}] and std = [1]"
        )


def extra_inputs(card: Card, graph: onnx.GraphProto) -> dict[str, np.ndarray]:
    """The values that the card gives to inputs, in the types and shapes of the graph.

    Raises:
        ModelError: A value does not fit the input.
    """
    given = {}
    for declared in graph.input:
        if declared.name not in card.inputs:
            continue
        kind = declared.type.tensor_type
        try:
            dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
            value = np.array(card.inputs[declared.name]).astype(dtype)
            sizes = [max(1, size.dim_value) for size in kind.shape.dim]
            # One value may stand for all elements.
            given[declared.name] = np.broadcast_to(
                value, sizes if value.ndim == 0 else value.shape
            ).copy()
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"{card.name}: inputs.{declared.name} does not fit the graph ({first_line(error)})"
            ) from None
    return given


def examples(card: Card) -> Tensor:
    """Two smooth random pictures ``(2, C, h, w)`` in the range of the card's preprocessing, as faces are."""
    channels, *size = card.input_shape
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand((2, channels, 8, 8), generator=generator)
    smooth = functional.interpolate(coarse, size, mode="bicubic").clamp(0, 1) * 223
    noise = torch.rand(smooth.shape, generator=generator) * 32
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (card.mean, card.std))
    return ((smooth + noise).round() - mean) / std


def _targets(card: Card, graph: onnx.GraphProto) -> list[str]:
    names = [value.name for value in graph.output]
    asked = card.output
    if asked is None:
        return names
    if isinstance(asked, int) and -len(names) <= asked < len(names):
        return [names[asked]]
    if asked not in names:
        raise ModelError(f"{card.name}: no output {asked!r}; available: {', '.join(names)}")
    return [str(asked)]


def _choose(card: Card, targets: list[str], values: Mapping[str, Tensor]) -> str:
    """The name of the embedding: the only output that depends on the image, or the only one of the embedding's size."""
    found = [name for name in targets if name in values]
    if len(found) > 1 and card.embedding_size:
        found = [name for name in found if values[name].numel() == card.embedding_size]
    if len(found) == 1:
        return found[0]
    names = ", ".join(targets) or "none"
    raise ModelError(
        f"{card.name}: which output is the embedding? Set output in the card to one of {names}"
    )


def _free_batch(card: Card, graph: Graph, faces: Tensor) -> None:
    """Run one and two faces side by side, and make what was written for one face grow with the batch."""
    alone, both = graph.start(faces[:1]), graph.start(faces)
    for step in graph.steps:
        module = graph.get_submodule(step.name)
        results = graph.run(step, alone, faces.device)
        try:
            if isinstance(module, PerBatch):
                first = next(iter(results.values())).shape
                one, two = (
                    [graph.value(name, values) for name in step.inputs] for values in (alone, both)
                )
                module.free(Run(one[0], first, *one[1:]), Run(two[0], first, *two[1:]))
            both.update(graph.run(step, both, faces.device))
        except (IndexError, RuntimeError, ValueError) as error:
            raise ModelError(
                f"{card.name}: node {step.name}: operator {step.operator} was written for a batch of one, and cannot "
                f"run two faces ({first_line(error)}); {_FREE}"
            ) from None
        alone.update(results)
        for name in step.spent:
            alone.pop(name, None)
            both.pop(name, None)


def _check_batch(card: Card, graph: Graph, example: Tensor) -> None:
    """Check that two faces in a batch give the same embeddings as each alone."""
    mixed = f"{card.name}: the graph mixes the faces of a batch; {_FREE}"
    try:
        alone = torch.cat([graph(face[None]) for face in example])
        both = graph(example)
    except RuntimeError:
        raise ModelError(mixed) from None
    if not alone.numel() or not torch.isfinite(alone).all():
        raise ModelError(
            f"{card.name}: the graph's output is not finite; check the card's mean and std"
        )
    scale = alone.abs().max().clamp_min(torch.finfo(torch.float32).tiny)
    if both.shape != alone.shape or (both - alone).abs().max() > _TOLERANCE * scale:
        raise ModelError(mixed)

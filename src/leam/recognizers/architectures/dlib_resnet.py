"""dlib's ResNet-29 face recognizer in PyTorch, with the weights of dlib's own file.

The network and its file are Davis King's (dlib_face_recognition_resnet_model_v1, public domain);
the layout is described in dlib's ``dnn_face_recognition_ex.cpp`` and ``dlib/dnn/layers.h``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from leam.errors import WeightsError
from leam.recognizers.architectures import architecture
from leam.recognizers.card import Card

Blob = NDArray[np.float32]

# Width of each residual block, and the blocks that halve their input.
_WIDTHS = (32,) * 3 + (64,) * 4 + (128,) * 3 + (256,) * 4
_HALVING = {3, 7, 10, 13}
_TENSOR_VERSION = 2


class Affine(nn.Module):
    """dlib's frozen batch normalisation: a scale and a bias for each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, h, w)`` to the same shape."""
        return x * self.weight[:, None, None] + self.bias[:, None, None]


class Block(nn.Module):
    """A residual block.

    A halving block pools its shortcut; the sum pads missing channels and borders with zeros.
    """

    def __init__(self, inputs: int, channels: int, *, halve: bool) -> None:
        super().__init__()
        # dlib pads only if the stride is 1.
        self.conv1 = nn.Conv2d(
            inputs, channels, 3, stride=2 if halve else 1, padding=0 if halve else 1
        )
        self.affine1 = Affine(channels)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.affine2 = Affine(channels)
        self.relu2 = nn.ReLU()
        self.halve = halve

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, h, w)`` to ``(B, C', h', w')``."""
        y = self.affine2(self.conv2(self.relu1(self.affine1(self.conv1(x)))))
        skip = functional.avg_pool2d(x, 2) if self.halve else x
        out: Tensor = self.relu2(_add(y, skip))
        return out


class DlibResNet(nn.Module):
    """ResNet-29: ``(B, 3, 150, 150)`` to embeddings ``(B, 128)``, not normalised."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 32, 7, stride=2)
        self.affine = Affine(32)
        self.relu = nn.ReLU()
        self.pool = nn.MaxPool2d(3, stride=2)
        widths = (32, *_WIDTHS)
        self.blocks = nn.Sequential(
            *(
                Block(inputs, channels, halve=index in _HALVING)
                for index, (inputs, channels) in enumerate(zip(widths, _WIDTHS, strict=False))
            )
        )
        self.fc = nn.Linear(256, 128, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Embeddings ``(B, 128)`` of ``(B, 3, 150, 150)``."""
        x = self.pool(self.relu(self.affine(self.conv(x))))
        pooled = self.blocks(x).mean(dim=(2, 3))
        embeddings: Tensor = self.fc(pooled)
        return embeddings


@architecture("dlib_resnet", options=())
def build(card: Card, path: Path) -> nn.Module:
    """Build the network with the weights of dlib's own ``.dat`` file.

    Raises:
        WeightsError: The file does not hold this network.
    """
    module = DlibResNet()
    data = path.read_bytes()
    try:
        # The file has the layers in order, from the input to the embedding.
        for kind, tag in ((nn.Conv2d, "con_4"), (Affine, "affine_")):
            layers = [layer for layer in module.modules() if isinstance(layer, kind)]
            for layer, blob in zip(layers, _all(data, tag, len(layers)), strict=True):
                _fill(layer, blob)
        (matrix,) = _tensors(data, "fc_2", integers_before=2)
        with torch.no_grad():
            module.fc.weight.copy_(torch.from_numpy(matrix.reshape(256, 128).T.copy()))
    except (RuntimeError, ValueError) as error:
        raise WeightsError(
            f"{path}: not the ResNet-29 of {card.name} ({error}); dlib's file is called "
            "dlib_face_recognition_resnet_model_v1.dat"
        ) from None
    return module


def _add(a: Tensor, b: Tensor) -> Tensor:
    """The sum as in dlib's add_prev: the smaller operand is padded with zeros at the end of each axis."""
    shape = [max(m, n) for m, n in zip(a.shape, b.shape, strict=True)]
    return _grow(a, shape) + _grow(b, shape)


def _grow(x: Tensor, shape: list[int]) -> Tensor:
    channels, rows, columns = (n - m for m, n in zip(x.shape[1:], shape[1:], strict=True))
    if channels == rows == columns == 0:
        return x
    return functional.pad(x, (0, columns, 0, rows, 0, channels))


def _fill(layer: nn.Conv2d | Affine, blob: Blob) -> None:
    """Set a layer's weight and bias from one flat array."""
    assert layer.bias is not None  # noqa: S101  both kinds are built with a bias
    size = layer.weight.numel()
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(blob[:size].copy()).view_as(layer.weight))
        layer.bias.copy_(torch.from_numpy(blob[size:].copy()).view_as(layer.bias))


class _Reader:
    """A reader of dlib's serialisation format.

    Integers are a length byte and that many bytes; tensors are raw float32.
    """

    def __init__(self, data: bytes, position: int) -> None:
        self._data = data
        self._position = position

    def integer(self) -> int:
        control = self._take(1)[0]
        value = int.from_bytes(self._take(control & 0x0F), "little")
        return -value if control & 0x80 else value

    def tensor(self) -> Blob:
        if self.integer() != _TENSOR_VERSION:
            raise ValueError("an unknown tensor version")
        size = int(np.prod([self.integer() for _ in range(4)]))
        return np.frombuffer(self._take(4 * size), dtype="<f4").astype(np.float32)

    def _take(self, count: int) -> bytes:
        taken = self._data[self._position : self._position + count]
        if len(taken) < count:
            raise ValueError("the file ends early")
        self._position += count
        return taken


def _all(data: bytes, tag: str, count: int) -> list[Blob]:
    """The tensors of all layers with this tag, of which there must be this many."""
    found = list(_tensors(data, tag))
    if len(found) != count:
        raise ValueError(f"{len(found)} layers of kind {tag}, expected {count}")
    return found


def _tensors(data: bytes, tag: str, integers_before: int = 0) -> Iterator[Blob]:
    """The flat parameter tensors of all layers with this tag, in the file's order."""
    # A tag is a string: its length as an integer, followed by its bytes.
    needle = bytes([1, len(tag)]) + tag.encode()
    position = data.find(needle)
    while position >= 0:
        reader = _Reader(data, position + len(needle))
        for _ in range(integers_before):
            reader.integer()
        yield reader.tensor()
        position = data.find(needle, position + len(needle))

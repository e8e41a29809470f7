"""A network that maps an aligned face to an embedding, with everything needed to use it."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from threading import RLock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from leam.errors import ModelError, WeightsError
from leam.faces.alignment import Crop
from leam.recognizers.architectures import ARCHITECTURES
from leam.recognizers.card import Card, Similarity

# Larger batches do not fit a processor's caches.
_CPU_BATCH, _GPU_BATCH = 16, 64


class Recognizer:
    """A face recognition network and how it is used.

    Args:
        module: Maps ``(B, 3, h, w)`` float32 to embeddings ``(B, D)``. Its mode, hooks and parameters are restored
            after every call.
        card: Preprocessing, similarity and origin. Only fields that differ from the defaults are needed.
        device: The device to run on.

    Example:
        >>> card = Card(name="mine", input_size=(112, 112), channels="BGR")
        >>> recognizer = Recognizer(my_network, card)
    """

    def __init__(self, module: nn.Module, card: Card, device: torch.device | str = "cpu") -> None:
        self._card = card
        self._device = torch.device(device)
        self._module = module.to(self._device)
        self._mean = torch.tensor(card.mean, device=self._device).view(1, -1, 1, 1)
        self._std = torch.tensor(card.std, device=self._device).view(1, -1, 1, 1)
        # SHA-256 of the verified weights file, and CRC-32 of the parameters and buffers that it gave.
        self._loaded: tuple[str, int] | None = None
        self.reference = ""
        """How the network compares with another implementation of its file; empty if it was not compared."""

    @classmethod
    def load(
        cls,
        card: Card,
        path: Path,
        device: torch.device | str = "cpu",
        *,
        trust: bool = False,
    ) -> Recognizer:
        """Build a card's architecture and fill it with the weights of a file.

        Args:
            card: Names the architecture.
            path: The weights file; verified against the card's ``sha256``, if it has one.
            device: The device to run on.
            trust: Do not compare the network with another implementation of its file.

        Raises:
            CardError: The card has an option that the architecture does not know.
            ModelError: There is no such architecture, or the network differs from another implementation of its file.
            WeightsError: The file has another checksum, is damaged, does not fit, or changes while it is read.
        """
        architecture = ARCHITECTURES[card.architecture]
        before = _state_of(path)
        card.verify(path)
        module = architecture(card, path)
        reference = (
            "" if trust or not architecture.check else architecture.check(card, path, module)
        )
        recognizer = cls(module, card, device)
        recognizer.reference = reference
        if _state_of(path) != before:
            raise WeightsError(f"{card.name}: {path} changed while it was read; try again")
        if card.sha256:
            recognizer._loaded = card.sha256, _crc32_of(recognizer.module)
        return recognizer

    @property
    def card(self) -> Card:
        """Preprocessing, similarity and origin."""
        return self._card

    @property
    def module(self) -> nn.Module:
        """The network."""
        return self._module

    @property
    def device(self) -> torch.device:
        """Where the network runs."""
        return self._device

    @property
    def name(self) -> str:
        """The card's name."""
        return self.card.name

    @property
    def crop(self) -> Crop:
        """The geometry of the input."""
        return self.card.crop

    @property
    def sha256(self) -> str:
        """SHA-256 that identifies the network, in hexadecimal.

        Of the verified weights file, as long as layers, parameters and buffers are those that the file gave (compared
        by CRC-32); otherwise of the printed layers, the parameters and the buffers. A checksum that a card claims is
        never taken on trust.
        """
        with _LOCK:
            if self._loaded and self._loaded[1] == _crc32_of(self.module):
                return self._loaded[0]
            return self._digest()

    def _digest(self) -> str:
        digest = hashlib.sha256(str(self.module).encode())
        for name, tensor in _tensors_of(self.module):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
            digest.update(_bytes_of(tensor))
        return digest.hexdigest()

    def preprocess(self, chips: NDArray[np.uint8] | Tensor) -> Tensor:
        """Turn aligned faces into the network's input.

        Args:
            chips: RGB, ``(B, h, w, 3)``, 0-255, uint8 or float, at the input size.

        Returns:
            ``(B, 3, h, w)`` float32 on the recognizer's device, channels in the network's order.

        Raises:
            ModelError: The shape is not this recognizer's.
        """
        batch = torch.as_tensor(chips)
        expected = (*self.card.input_size, 3)
        if batch.ndim != 4 or tuple(batch.shape[1:]) != expected:  # noqa: PLR2004
            raise ModelError(
                f"{self.name}: chips of shape {tuple(batch.shape)}, expected (B, {expected})"
            )
        batch = batch.to(self.device, torch.float32).permute(0, 3, 1, 2)
        if self.card.channels == "BGR":
            batch = batch.flip(1)
        return (batch - self._mean) / self._std

    def forward(self, inputs: Tensor) -> Tensor:
        """Embeddings ``(B, D)`` of preprocessed inputs ``(B, 3, h, w)``, differentiable.

        Raises:
            ModelError: The module's output is not ``(B, D)``, or ``D`` is not the card's ``embedding_size``.
        """
        with _LOCK:
            embeddings = self.module(inputs)
        if not isinstance(embeddings, Tensor):
            raise ModelError(
                f"{self.name}: the module returns {type(embeddings).__name__}, expected a tensor"
            )
        embeddings = embeddings.flatten(1)
        size = self.card.embedding_size
        if embeddings.shape[0] != inputs.shape[0] or (size and embeddings.shape[1] != size):
            raise ModelError(
                f"{self.name}: embeddings of shape {tuple(embeddings.shape)} for "
                f"{inputs.shape[0]} faces, expected ({inputs.shape[0]}, {size or 'D'})"
            )
        return embeddings

    def embed(self, chips: NDArray[np.uint8] | Tensor, batch_size: int | None = None) -> Tensor:
        """Embeddings ``(B, D)`` float32 of aligned faces ``(B, h, w, 3)``, without gradients.

        Args:
            chips: As for :meth:`preprocess`.
            batch_size: Number of faces per forward pass; by default 16 on a processor and 64 on a GPU.
        """
        batch_size = batch_size or (_CPU_BATCH if self.device.type == "cpu" else _GPU_BATCH)
        with evaluating(self.module), torch.inference_mode():
            parts = [
                self.forward(self.preprocess(chips[start : start + batch_size]))
                for start in range(0, len(chips), batch_size)
            ]
        return torch.cat(parts).clone() if parts else torch.empty(0, self.card.embedding_size or 0)

    def similarity(self, a: Tensor, b: Tensor) -> Tensor:
        """Cosine in [-1, 1], or minus the distance, of embeddings ``(..., D)`` and ``(..., D)``."""
        return similarity(a, b, self.card.similarity)


def similarity(a: Tensor, b: Tensor, kind: Similarity) -> Tensor:
    """Similarity of embeddings: cosine in [-1, 1], or minus the Euclidean distance.

    Args:
        a: ``(..., D)``.
        b: ``(..., D)``; broadcasts against ``a``.
        kind: ``cosine`` or ``euclidean``.

    Returns:
        ``(...)``, larger for more similar faces.
    """
    if kind == "cosine":
        return torch.cosine_similarity(a, b, dim=-1)
    distance: Tensor = torch.linalg.vector_norm(a - b, dim=-1)
    return -distance


# One lock for all networks: two recognizers may share a submodule, and with one lock per network, two threads that
# need both networks could deadlock.
_LOCK = RLock()


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Reserve networks for this thread and put one into evaluation mode.

    Code that runs a module may change its mode, hooks or parameters, which another thread would see. The mode of every
    child is restored afterwards, also after an exception.
    """
    with _LOCK:
        training = [child for child in module.modules() if child.training]
        if training:
            module.eval()
        try:
            yield
        finally:
            for child in training:
                child.training = True


def _tensors_of(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """All parameters and buffers by name."""
    return chain(module.named_parameters(), module.named_buffers())


def _bytes_of(tensor: Tensor) -> memoryview:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return np.asarray(flat.view(torch.uint8).numpy()).data


def _crc32_of(module: nn.Module) -> int:
    """A checksum of layers, parameters and buffers, much faster than SHA-256 (measured: 6 against 2 GB/s)."""
    value = zlib.crc32(str(module).encode())
    for name, tensor in _tensors_of(module):
        value = zlib.crc32(_bytes_of(tensor), zlib.crc32(name.encode(), value))
    return value


def _state_of(path: Path) -> tuple[int, int, int]:
    """What changes when a file is replaced or written to."""
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns

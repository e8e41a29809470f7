"""A network that maps an aligned face to an embedding, with everything needed to use it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from leam.errors import ModelError
from leam.faces.alignment import Crop
from leam.recognizers.card import Card, Similarity


def similarity(a: Tensor, b: Tensor, kind: Similarity) -> Tensor:
    """Cosine in [-1, 1], or minus the Euclidean distance, of two sets of embeddings.

    Args:
        a: ``(..., D)``.
        b: ``(..., D)``; broadcasts against ``a``.
        kind: Which of the two.

    Returns:
        ``(...)``, larger being more alike.
    """
    if kind == "cosine":
        return torch.cosine_similarity(a, b, dim=-1)
    distance: Tensor = torch.linalg.vector_norm(a - b, dim=-1)
    return -distance


# One lock for each network, shared by all recognizers and explainers that use it; not part of what is pickled.
_LOCKS: WeakKeyDictionary[nn.Module, RLock] = WeakKeyDictionary()
_LOCKS_LOCK = RLock()


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Have a module for this thread alone, in evaluation mode.

    Whoever runs a module may hook into it or change its mode, so that two threads would see each other's changes.
    The mode of every child is restored afterwards, also after an exception.
    """
    with _lock_of(module):
        training = [child for child in module.modules() if child.training]
        if training:
            module.eval()
        try:
            yield
        finally:
            for child in training:
                child.training = True


def _lock_of(module: nn.Module) -> RLock:
    with _LOCKS_LOCK:
        return _LOCKS.setdefault(module, RLock())


class Recognizer:
    """A face recognition network and how it is used.

    Args:
        module: Maps ``(B, 3, h, w)`` float32 to embeddings ``(B, D)``. It is used as it is given:
            its mode, hooks and parameters are never changed lastingly.
        card: Preprocessing, similarity and provenance. Only the fields that differ from the
            defaults need be given.
        device: Where the module runs.

    Example:
        >>> recognizer = Recognizer(my_network, Card(name="mine", input_size=(112, 112),
        channels="BGR"))
    """

    def __init__(self, module: nn.Module, card: Card, device: torch.device | str = "cpu") -> None:
        self.card = card
        self.device = torch.device(device)
        self.module = module.to(self.device)
        self._mean = torch.tensor(card.mean, device=self.device).view(1, 3, 1, 1)
        self._std = torch.tensor(card.std, device=self.device).view(1, 3, 1, 1)

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
        """What identifies the weights: the file's checksum, else one of parameters and buffers."""
        if self.card.sha256:
            return self.card.sha256
        digest = hashlib.sha256()
        for name, tensor in self.module.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
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
                f"{self.name}: chips of shape {tuple(batch.shape)}, but (B, {expected}) is wanted"
            )
        batch = batch.to(self.device, torch.float32).permute(0, 3, 1, 2)
        if self.card.channels == "BGR":
            batch = batch.flip(1)
        return (batch - self._mean) / self._std

    def forward(self, inputs: Tensor) -> Tensor:
        """Embeddings ``(B, D)`` of preprocessed inputs ``(B, 3, h, w)``, differentiable.

        Raises:
            ModelError: The module's output is not ``(B, D)``, or ``D`` is not the card's
                ``embedding_size``.
        """
        embeddings = self.module(inputs)
        if not isinstance(embeddings, Tensor):
            raise ModelError(
                f"{self.name}: the module returns {type(embeddings).__name__}, not one tensor"
            )
        embeddings = embeddings.flatten(1)
        wanted = self.card.embedding_size
        if embeddings.shape[0] != inputs.shape[0] or (wanted and embeddings.shape[1] != wanted):
            raise ModelError(
                f"{self.name}: embeddings of shape {tuple(embeddings.shape)} "
                f"for {inputs.shape[0]} faces, but {wanted or 'any number of'} "
                "dimensions are wanted"
            )
        return embeddings

    def embed(self, chips: NDArray[np.uint8] | Tensor, batch_size: int | None = None) -> Tensor:
        """Embeddings ``(B, D)`` float32 of aligned faces ``(B, h, w, 3)``, without gradients.

        Args:
            chips: As for :meth:`preprocess`.
            batch_size: How many to embed at once; by default 16 on a processor, whose caches hold no more, else 64.
        """
        batch_size = batch_size or (16 if self.device.type == "cpu" else 64)
        with evaluating(self.module), torch.inference_mode():
            parts = [
                self.forward(self.preprocess(chips[start : start + batch_size]))
                for start in range(0, len(chips), batch_size)
            ]
        return torch.cat(parts).clone() if parts else torch.empty(0, self.card.embedding_size or 0)

    def similarity(self, a: Tensor, b: Tensor) -> Tensor:
        """Cosine in [-1, 1], or minus the distance, of embeddings ``(..., D)`` and ``(..., D)``."""
        return similarity(a, b, self.card.similarity)

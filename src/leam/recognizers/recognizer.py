"""A network that maps an aligned face to an embedding, with everything needed to use it."""

from __future__ import annotations

import copy
import hashlib
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from itertools import chain
from pathlib import Path
from threading import RLock

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from leam.devices import CPU, Precision, check_precision, full_float32, resolve
from leam.display import card as html_card
from leam.errors import InputError, ModelError, WeightsError, first_line, warn
from leam.faces.alignment import Crop
from leam.limits import memory_limit, values_limit
from leam.recognizers.architectures import ARCHITECTURES
from leam.recognizers.card import Card, Similarity
from leam.recognizers.chips import Chips, Layout, Range, as_chips
from leam.recognizers.decisions import amount, noun
from leam.recognizers.outputs import embedding_of

# The weights of red, green and blue in the luminance (ITU-R BT.601), as OpenCV and PIL use them.
_LUMINANCE = (0.299, 0.587, 0.114)
# Parts of the messages with which torch's operations refuse the shape of their input.
_SHAPE_ERRORS = (
    "channels",
    "Guard failed",
    "shape",
    "size",
    "elements",
    "dimension",
    "invalid for input",
)
# Part of the message with which Python refuses a call, as of a network that also takes labels.
_MISSING_ARGUMENT = "forward() missing"
# Larger batches do not fit a processor's caches.
_CPU_BATCH, _GPU_BATCH = 16, 64


class Recognizer:
    """A face recognition network and how it is used.

    A network computes in float32. If the module has parameters of another floating-point type (half, bfloat16,
    double), a copy of it is cast to float32, and the caller's module stays as it is. With the precision ``bfloat16``,
    the operations that torch's autocast lists run in bfloat16; parameters and embeddings remain float32.

    Args:
        module: Maps ``(B, 3, h, w)`` float32, or ``(B, 1, h, w)`` if ``card.channels`` is ``GRAY``, to embeddings
            ``(B, D)``, or to a container of tensors among which ``card.output`` names the embedding. The module is
            moved to the device; its mode, hooks and parameters are restored after every call.
        card: Preprocessing, similarity and origin. Only fields that differ from the defaults are needed.
        device: The device to run on, as :func:`leam.devices.resolve` takes it; by default that of the module's first
            parameter.
        precision: ``float32`` or ``bfloat16``.
        batch_size: Number of faces per pass of the network; by default 16 on a processor and 64 on a GPU, or for
            explanations as many as are fast.

    Raises:
        InputError: There is no such device or precision, or the batch size is below 1.
        ModelError: Not a module, or one that must be cast to float32 and cannot be copied.

    Example:
        >>> card = Card(name="mine", input_size=(112, 112), channels="BGR")
        >>> recognizer = Recognizer(my_network, card)
    """

    def __init__(
        self,
        module: nn.Module,
        card: Card,
        device: torch.device | str | None = None,
        precision: Precision = "float32",
        batch_size: int | None = None,
    ) -> None:
        if batch_size is not None and batch_size < 1:
            raise InputError(f"batch size {batch_size}: must be at least 1")
        _check_module(module, card)
        self._card = card
        self._precision = check_precision(precision)
        self._batch_size = batch_size
        self._cast_from = _other_type(module)
        # Tensors that were made in torch.inference_mode have no gradients; those of a copy have.
        inert = any(tensor.is_inference() for _, tensor in _tensors_of(module))
        self._module = self._in_float32(module) if self._cast_from or inert else module
        # SHA-256 of the verified weights file, and CRC-32 of the parameters and buffers that it gave.
        self._loaded: tuple[str, int] | None = None
        self.reference = ""
        """How the network compares with another implementation of its file; empty if it was not compared."""
        self.to(_device_of(module) if device is None else device)

    def to(self, device: torch.device | str) -> Recognizer:
        """Move the network to a device, and return this recognizer.

        Raises:
            InputError: There is no such device.
        """
        self._device = resolve(device)
        self._module.to(self._device)
        self._mean = torch.tensor(self.card.mean, device=self._device).view(1, -1, 1, 1)
        self._std = torch.tensor(self.card.std, device=self._device).view(1, -1, 1, 1)
        self._luminance = torch.tensor(_LUMINANCE, device=self._device).view(1, 3, 1, 1)
        return self

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join([self.name, *self._facts().values()])})"

    def _repr_html_(self) -> str:
        more = {"license": self.card.license, "source": self.card.source}
        return html_card(f"{type(self).__name__} {self.name}", {**self._facts(), **more})

    def _facts(self) -> dict[str, str]:
        """What distinguishes this recognizer from others, in words."""
        card = self.card
        height, width = card.input_size
        compared = noun(card.similarity)
        if card.threshold is not None:
            compared += f" with threshold {amount(card.threshold, card.similarity)}"
        return {
            "input": f"{height}x{width} {card.channels}",
            "alignment": "own points" if card.points else card.template,
            "compares by": compared,
            "device": f"{self.device}, {self.precision}",
        }

    def __getstate__(self) -> dict[str, object]:
        # Another process or machine may not have this device.
        state = vars(self).copy()
        if self.device.type != "cpu":
            state |= {"_module": copy.deepcopy(self._module).to(CPU), "_device": CPU}
            state |= {
                name: value.cpu() for name, value in state.items() if isinstance(value, Tensor)
            }
        return state

    @classmethod
    def load(
        cls,
        card: Card,
        path: Path,
        device: torch.device | str = "cpu",
        *,
        precision: Precision = "float32",
        batch_size: int | None = None,
        trust: bool = False,
    ) -> Recognizer:
        """Build a card's architecture and fill it with the weights of a file.

        Args:
            card: Names the architecture.
            path: The weights file; verified against the card's ``sha256``, if it has one.
            device: The device to run on.
            precision: As for :class:`Recognizer`.
            batch_size: As for :class:`Recognizer`.
            trust: Do not compare the network with another implementation of its file.

        Raises:
            InputError: There is no such device or precision.
            CardError: The card has an option that the architecture does not know.
            ModelError: There is no such architecture, or the network differs from another implementation of its file.
            WeightsError: The file has another checksum, is damaged, does not fit, or changes while it is read.
        """
        architecture, device = ARCHITECTURES[card.architecture], resolve(device)
        before = _state_of(path)
        card.verify(path)
        module = architecture(card, path)
        reference = (
            "" if trust or not architecture.check else architecture.check(card, path, module)
        )
        recognizer = cls(module, card, device, precision, batch_size)
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
    def precision(self) -> Precision:
        """What the network computes with."""
        return self._precision

    @property
    def batch_size(self) -> int | None:
        """Number of faces per pass of the network; None for a number that depends on the device."""
        return self._batch_size

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

    def preprocess(
        self,
        chips: Chips,
        *,
        range: Range | None = None,  # noqa: A002
        layout: Layout | None = None,
    ) -> Tensor:
        """Turn aligned faces into the network's input.

        Args:
            chips: RGB ``(B, h, w, 3)`` at the input size, 0-255, as an array or tensor, or a list of arrays, tensors,
                PIL images or picture files.
            range: The values that stand for black and white, such as ``(0, 1)``; by default ``(0, 255)``.
            layout: ``BCHW`` for chips ``(B, 3, h, w)``; by default ``BHWC``.

        Returns:
            ``(B, C, h, w)`` float32 on the recognizer's device, channels in the network's order.

        Raises:
            ModelError: The shape is not this recognizer's.
            InputError: The values are not those of the range, or are floats of another range than 0-255 without
                ``range``.
        """
        return self.normalise(self.as_chips(chips, range=range, layout=layout))

    def as_chips(
        self,
        chips: Chips,
        *,
        range: Range | None = None,  # noqa: A002
        layout: Layout | None = None,
    ) -> Tensor:
        """Aligned faces as :meth:`normalise` takes them; arguments and errors as for :meth:`preprocess`.

        Returns:
            ``(B, h, w, 3)``, RGB, 0-255, uint8 or float32, where the chips were.
        """
        return as_chips(self.card, chips, range=range, layout=layout)

    def normalise(self, chips: Tensor) -> Tensor:
        """From chips ``(B, h, w, 3)``, RGB, 0-255, to the network's input ``(B, C, h, w)`` float32."""
        batch = chips.to(self.device, torch.float32).permute(0, 3, 1, 2)
        if self.card.channels == "BGR":
            batch = batch.flip(1)
        if self.card.channels == "GRAY":
            batch = (batch * self._luminance).sum(dim=1, keepdim=True)
        return (batch - self._mean) / self._std

    def forward(self, inputs: Tensor) -> Tensor:
        """Embeddings ``(B, D)`` float32 of preprocessed inputs ``(B, C, h, w)``, differentiable.

        Raises:
            ModelError: The module's output is not ``(B, D)``, ``D`` is not the card's ``embedding_size``, or which of
                several outputs is the embedding is not clear.
        """
        with _LOCK, self.computing():
            output = self._run(inputs)
        return self.embedding(output, len(inputs))

    def embedding(self, output: object, count: int) -> Tensor:
        """The embeddings ``(B, D)`` float32 in a module's output for ``count`` faces; errors as for :meth:`forward`."""
        embeddings = embedding_of(self.card, output)
        if not embeddings.is_floating_point():
            raise ModelError(f"{self.name}: embeddings of {embeddings.dtype}, expected floats")
        if embeddings.ndim > 1:
            embeddings = embeddings.flatten(1)
        elif count == 1 < len(embeddings):
            embeddings = embeddings[None]  # the module drops the axis of a single face
        size, shape = self.card.embedding_size, tuple(embeddings.shape)
        if len(shape) != 2 or shape[0] != count or (size and shape[1] != size):  # noqa: PLR2004
            raise ModelError(
                f"{self.name}: embeddings of shape {shape} for {count} faces, "
                f"expected ({count}, {size or 'D'})"
            )
        return embeddings.float()

    def _in_float32(self, module: nn.Module) -> nn.Module:
        try:
            return copy.deepcopy(module).float()
        except RuntimeError as error:
            raise ModelError(
                f"{self.name}: the module has parameters of {self._cast_from} and cannot be copied "
                f"({first_line(error)}); give module.float()"
            ) from error

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Run operations in the recognizer's precision inside the block."""
        cast = self.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16) if cast else nullcontext():
            yield

    def _run(self, inputs: Tensor) -> object:
        try:
            return self.module(inputs)
        except TypeError as error:
            if _MISSING_ARGUMENT not in str(error):
                raise
            raise ModelError(
                f"{self.name}: the module takes more than the pictures ({first_line(error)}); give its backbone, or a "
                "module whose forward passes the rest on"
            ) from error
        except (AssertionError, RuntimeError) as error:
            if any(words in str(error) for words in _SHAPE_ERRORS):
                more = (
                    ", or export the program with a free batch size"
                    if "Guard" in str(error)
                    else ""
                )
                raise ModelError(
                    f"{self.name}: the module cannot run an input of shape {tuple(inputs.shape)} "
                    f"({first_line(error)}); set the card's channels and input_size{more}"
                ) from error
            if self._cast_from is None or isinstance(error, AssertionError):
                raise
            raise ModelError(
                f"{self.name}: the module has parameters of {self._cast_from}, and its copy in float32 cannot run "
                f"({first_line(error)}); give a module that runs in float32"
            ) from error

    def embed(
        self,
        chips: Chips,
        batch_size: int | None = None,
        *,
        range: Range | None = None,  # noqa: A002
        layout: Layout | None = None,
    ) -> Tensor:
        """Embeddings ``(B, D)`` float32 of aligned faces, without gradients, on the recognizer's device.

        Args:
            chips: As for :meth:`preprocess`.
            batch_size: Number of faces per forward pass; by default the recognizer's.
            range: As for :meth:`preprocess`.
            layout: As for :meth:`preprocess`.

        Warns:
            LeamWarning: An embedding is zero or not finite; it has no similarity.
        """
        usual = _CPU_BATCH if self.device.type == "cpu" else _GPU_BATCH
        size = batch_size or self.batch_size or self.within_memory(usual)
        faces = self.as_chips(chips, range=range, layout=layout)
        if not len(faces):
            return torch.empty(0, self.card.embedding_size or 0, device=self.device)
        found = self._embed(faces, size)
        unusable = int((~found.isfinite().all(dim=1) | ~found.any(dim=1)).sum())
        if unusable:
            warn(
                f"{self.name}: {unusable} of {len(found)} embeddings are zero or not finite; check the card's mean and "
                "std, and the weights"
            )
        return found

    def within_memory(self, count: int, *, gradients: bool = False) -> int:
        """How many of some faces may run at once on a processor, by what an imported graph says that a face takes.

        Args:
            count: The number of faces.
            gradients: Whether all values are kept for gradients.

        Returns:
            At least 1 and at most ``count``.
        """
        face = getattr(self.module, "face_bytes" if gradients else "peak_bytes", 0)
        if self.device.type != "cpu" or not isinstance(face, int) or face < 1:
            return count
        limit = memory_limit() if gradients else values_limit()
        return max(1, min(count, limit // face))

    def _embed(self, faces: Tensor, size: int) -> Tensor:
        with evaluating(self.module), torch.inference_mode():
            parts = [
                self.forward(self.normalise(faces[start : start + size]))
                for start in range(0, len(faces), size)
            ]
        return torch.cat(parts).clone()

    def similarity(self, a: Tensor, b: Tensor) -> Tensor:
        """Cosine in [-1, 1], or minus the distance, of embeddings ``(..., D)`` and ``(..., D)``."""
        return similarity(a, b, self.card.similarity)


def similarity(a: Tensor, b: Tensor, kind: Similarity) -> Tensor:
    """Similarity of embeddings: cosine in [-1, 1], or minus the Euclidean distance.

    Args:
        a: ``(..., D)``.
        b: ``(..., D)``; broadcasts against ``a``. Embeddings from a file may be on another device.
        kind: ``cosine`` or ``euclidean``.

    Returns:
        ``(...)``, larger for more similar faces, on the device of ``a``.
    """
    b = b.to(a.device)
    if kind == "cosine":
        return torch.cosine_similarity(a, b, dim=-1)
    distance: Tensor = torch.linalg.vector_norm(a - b, dim=-1)
    return -distance


# One lock for all networks: two recognizers may share a submodule, and with one lock per network, two threads that
# need both networks could deadlock.
_LOCK = RLock()


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Reserve networks for this thread, put one into evaluation mode, and compute float32 in full.

    Code that runs a module may change its mode, hooks or parameters, which another thread would see. The mode of every
    child is restored afterwards, also after an exception.
    """
    with _LOCK, full_float32():
        # Frozen script modules have no mode.
        training = [child for child in module.modules() if getattr(child, "training", False)]
        if training:
            # Exported programs refuse to change a mode that they do not use.
            with suppress(NotImplementedError):
                module.eval()
        for child in training:
            child.training = False
        try:
            yield
        finally:
            for child in training:
                child.training = True


def _check_module(module: object, card: Card) -> None:
    if not isinstance(module, nn.Module):
        what = module.__name__ if isinstance(module, type) else type(module).__name__
        raise ModelError(
            f"{card.name}: {what} is not a torch.nn.Module; {_way_to_a_module(module)}"
        )
    unmade = next((name for name, tensor in _tensors_of(module) if is_lazy(tensor)), None)
    if unmade is not None:
        raise ModelError(
            f"{card.name}: {unmade} of a lazy module has no shape yet; run the module once, and load its weights"
        )
    empty = next((name for name, tensor in _tensors_of(module) if tensor.is_meta), None)
    if empty is not None:
        raise ModelError(
            f"{card.name}: {empty} is on the meta device and has no values; load the weights first, such as with "
            "module.load_state_dict(state, assign=True)"
        )


def _way_to_a_module(given: object) -> str:
    """What to give instead of something that is no module."""
    if isinstance(given, type) and issubclass(given, nn.Module):
        return f"give an instance, such as {given.__name__}()"
    if isinstance(given, Mapping):
        return "if it is a state dict, load it into its network, or write a card that names the file and architecture"
    if isinstance(given, str | Path):
        return "leam.load_recognizer takes the path of a card"
    if hasattr(given, "module"):
        return "give its .module()"
    return "use leam.BlackBox, which takes any function of pictures"


def _other_type(module: nn.Module) -> torch.dtype | None:
    """The first floating-point type of a module's parameters other than float32."""
    types = (one.dtype for one in module.parameters() if one.is_floating_point())
    return next((found for found in types if found != torch.float32), None)


def _device_of(module: nn.Module) -> torch.device:
    """The device of a module's first parameter or buffer; the processor if it has none."""
    return next((tensor.device for _, tensor in _tensors_of(module)), CPU)


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

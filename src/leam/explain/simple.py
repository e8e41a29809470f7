"""What ``leam.explain`` does: pictures or aligned faces in any form, explained with whatever is not given."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from leam.errors import InputError, LeamError, ModelError, printable, warn
from leam.explain.explanation import Explanation, explain_faces, explain_pair
from leam.explain.methods import Method, create_method, method_named
from leam.faces.detection import Detector, find_face
from leam.faces.detectors import DEFAULT as DEFAULT_DETECTOR
from leam.faces.detectors import load_detector
from leam.faces.face import Face
from leam.faces.pictures import IN_MEMORY
from leam.parsers import DEFAULT as DEFAULT_PARSER
from leam.parsers import load_parser
from leam.parsers.parsing import Parser
from leam.recognizers.card import Card
from leam.recognizers.catalogue import DEFAULT as DEFAULT_RECOGNIZER
from leam.recognizers.catalogue import load_recognizer
from leam.recognizers.chips import Layout, Range
from leam.recognizers.outputs import embedding_of
from leam.recognizers.recognizer import Recognizer

_BATCH_AXES, _CHANNELS = 4, 3
_USUAL: Range = (0.0, 255.0)
# Standardised pictures lie within so many standard deviations.
_MOST_DEVIATIONS = 10


@dataclass(frozen=True)
class Request:
    """The settings of a call of ``leam.explain``; see there."""

    recognizer: str | Path | Card | Recognizer | nn.Module | None
    method: str
    parser: str | Parser | None
    detector: str | Detector | None
    range: Range | None
    layout: Layout | None
    top: float

    def explain(self, faces: Any, other: Any) -> Explanation | list[Explanation]:  # noqa: ANN401
        """The explanation of a picture, or those of several or of a batch."""
        self._check()
        if is_batch(faces):
            recognizer = self._loaded(faces)
            with _feature_maps(recognizer) as shapes:
                made = self._batch(faces, other, recognizer)
            if shapes:
                warn(
                    f"{recognizer.name}: the module returns a feature map of shape {shapes[0]}, which is flattened; an "
                    "embedding has two axes, (B, D)"
                )
            return made
        if self.range is not None or self.layout is not None:
            raise InputError(
                "range and layout describe a batch of aligned faces; leave them out for pictures"
            )
        self._check_single(faces)
        recognizer = self._loaded()
        if is_batch(other):
            raise InputError("with_: a batch, but faces is none; give a picture")
        several = isinstance(faces, list | tuple)
        sources = list(faces) if several else [faces]
        mates = _mates(other, len(sources))
        detector = self.detector or DEFAULT_DETECTOR
        if isinstance(detector, str):
            detector = load_detector(detector, {recognizer.name: recognizer.crop})
        found = _found(sources, detector, "")
        explained = self._explained(found, _found(mates, detector, "with_"), recognizer)
        return explained if several else explained[0]

    def _check(self) -> None:
        """Refuse settings of a wrong type.

        Raises:
            InputError: There is one.
        """
        known = (str, Path, Card, Recognizer, nn.Module)
        for name, value, right, expected in (
            ("recognizer", self.recognizer, isinstance(self.recognizer, known), "a name, a card or a module"),
            ("parser", self.parser, _is_named_or_can(self.parser, "parse"), "a name or a parser"),
            ("detector", self.detector, _is_named_or_can(self.detector, "detect"), "a name or a detector"),
        ):  # fmt: skip
            if value is not None and not right:
                raise InputError(f"{name}: of type {type(value).__name__}; expected {expected}")
        if not isinstance(self.method, str):
            raise InputError(
                f"method: of type {type(self.method).__name__}; expected a name such as leam; leam.explain_faces takes "
                "the methods themselves"
            )
        if self.range is not None and not _is_range(self.range):
            raise InputError(
                f"range {printable(repr(self.range))}: expected two numbers, the values of black and white, "
                "such as (0, 1)"
            )
        if self.layout not in (None, "BHWC", "BCHW"):
            raise InputError(
                f"layout {printable(repr(self.layout))}: not known; available: BHWC, BCHW"
            )

    def _check_single(self, faces: Any) -> None:  # noqa: ANN401
        """Refuse one aligned face for a module, which needs a batch.

        Raises:
            InputError: It is one.
        """
        if not isinstance(self.recognizer, nn.Module) or not isinstance(faces, np.ndarray | Tensor):
            return
        shape = tuple(faces.shape)
        if len(shape) == _BATCH_AXES - 1 and (shape[0] == _CHANNELS or _is_float(faces)):
            raise InputError(
                f"{_name_of(self.recognizer)}: one face of shape {shape}, expected a batch; for one aligned face, give "
                "x[None]"
            )

    def _batch(
        self,
        chips: Any,  # noqa: ANN401  arrays or tensors
        other: Any,  # noqa: ANN401
        recognizer: Recognizer,
    ) -> list[Explanation]:
        if self.detector is not None:
            raise InputError("detector: not used for a batch of aligned faces; leave it out")
        layout = self.layout
        if isinstance(self.recognizer, nn.Module):
            layout = layout or "BCHW"
        faces, mates = self._aligned(chips, recognizer, layout), []
        if other is not None:
            if not is_batch(other) or len(other) != len(chips):
                raise InputError("with_: give a batch of aligned faces, one for each face")
            mates = self._aligned(other, recognizer, layout)
        return self._explained(faces, mates, recognizer)

    def _aligned(self, chips: Any, recognizer: Recognizer, layout: Layout | None) -> list[Face]:  # noqa: ANN401
        """The faces of a batch, whose pictures are the aligned faces themselves.

        Raises:
            InputError: The recognizer's input is a resized chip, from which the chip cannot be recovered.
        """
        side = recognizer.crop.chip_side
        if recognizer.crop.resized_chip and recognizer.crop.size != (side, side):
            raise InputError(
                f"{recognizer.name}: takes chips of {side}x{side} pixels that it resizes; give them as a list of "
                'pictures with detector="aligned"'
            )
        given = chips.detach() if isinstance(chips, Tensor) else chips
        try:
            batch = recognizer.as_chips(given, range=self.range, layout=layout)
        except InputError:
            if _is_standardised(given):
                raise InputError(
                    f"{recognizer.name}: the batch looks standardised, with values below 0 and above 1; give it as it "
                    "was before, 0-255, and leam.Recognizer(module, leam.Card(..., mean=..., std=...)), which "
                    "standardises it"
                ) from None
            raise
        pictures = batch.cpu().round().clamp(0, 255).to(torch.uint8).numpy()
        detector = load_detector("aligned", {recognizer.name: recognizer.crop})
        return [find_face(np.ascontiguousarray(picture), detector) for picture in pictures]

    def _explained(
        self, faces: list[Face], mates: list[Face], recognizer: Recognizer
    ) -> list[Explanation]:
        """The explanations of faces, or if there are mates, of their similarities with these."""
        method = self._method(recognizer, pair=bool(mates))
        parser = self.parser or DEFAULT_PARSER
        if isinstance(parser, str):
            parser = load_parser(parser)
        if not mates:
            return explain_faces(faces, method, parser, top=self.top)
        made = []
        for number, (face, mate) in enumerate(zip(faces, mates, strict=True), 1):
            with _naming(_place(number, len(faces))):
                made.append(explain_pair(face, mate, method, parser, top=self.top)[0])
        return made

    def _method(self, recognizer: Recognizer, *, pair: bool) -> Method:
        if method_named(self.method).compares and not pair:
            raise InputError(
                f"{self.method}: explains a similarity, not the embedding alone; give the other picture as with_"
            )
        return create_method(self.method, recognizer)

    def _loaded(self, batch: Any = None) -> Recognizer:  # noqa: ANN401  an array or tensor
        given = self.recognizer
        if isinstance(given, Recognizer):
            return given
        if isinstance(given, nn.Module):
            return self._of_module(given, batch)
        return load_recognizer(DEFAULT_RECOGNIZER if given is None else given)

    def _of_module(self, module: nn.Module, batch: Any) -> Recognizer:  # noqa: ANN401
        """The recognizer whose module gets a batch as it is given.

        Raises:
            InputError: There is no batch, or not one of floats in the module's shape.
        """
        name = _name_of(module)
        way_out = "give leam.Recognizer(module, leam.Card(...)), which states size, channels, mean and std"
        if batch is None:
            raise InputError(f"{name}: how pictures become its input is not known; {way_out}")
        tensor, layout = torch.as_tensor(batch), self.layout or "BCHW"
        size = tensor.shape[2:] if layout == "BCHW" else tensor.shape[1:3]
        if not tensor.is_floating_point():
            raise InputError(
                f"{name}: a batch of {tensor.dtype}; give floats, scaled as the module takes them, or {way_out}"
            )
        if tensor.shape[1 if layout == "BCHW" else 3] != _CHANNELS:
            other = "BHWC" if layout == "BCHW" else "BCHW"
            raise InputError(
                f'{name}: a batch of shape {tuple(tensor.shape)}, taken as {layout}; add layout="{other}" if it is '
                f"that, or {way_out}"
            )
        low, high = _USUAL if self.range is None else self.range
        scale = 255 / (high - low) if high > low else 1.0
        card = Card(name=name, input_size=(size[0], size[1]), mean=(-low * scale,), std=(scale,))
        return Recognizer(module, card)


def is_batch(faces: object) -> bool:
    """Whether these are aligned faces in one array or tensor of four axes."""
    return isinstance(faces, np.ndarray | Tensor) and faces.ndim == _BATCH_AXES


def _mates(other: Any, count: int) -> list[Any]:  # noqa: ANN401  pictures in any form
    """The picture that each of ``count`` pictures is compared with; empty if there is none.

    Raises:
        InputError: There are some, but not one for each.
    """
    if other is None:
        return []
    mates = list(other) if isinstance(other, list | tuple) else [other] * count
    if len(mates) != count:
        raise InputError(f"with_: {len(mates)} pictures for {count}; give one, or one for each")
    missing = [number for number, mate in enumerate(mates, 1) if mate is None]
    if missing:
        raise InputError(f"with_: no picture for number {missing[0]}; give one for each")
    return mates


def _found(sources: list[Any], detector: Detector, argument: str) -> list[Face]:
    """The faces of pictures; messages about those without a path say which it is."""
    faces = []
    for number, source in enumerate(sources, 1):
        place = ", ".join(filter(None, (argument, _place(number, len(sources)))))
        with _naming(place):
            faces.append(source if isinstance(source, Face) else find_face(source, detector))
    return faces


def _place(number: int, count: int) -> str:
    """A picture's place in a list; empty for the only one."""
    return f"picture {number} of {count}" if count > 1 else ""


@contextmanager
def _naming(place: str) -> Iterator[None]:
    """In messages about a picture without a path, say where it is in the arguments."""
    try:
        yield
    except LeamError as error:
        unnamed, _, rest = str(error).partition(": ")
        if place and unnamed in {IN_MEMORY, "the face"}:
            raise type(error)(f"{place}: {rest}") from error
        raise


def _name_of(module: nn.Module) -> str:
    return re.sub(r"[^A-Za-z0-9]", "", type(module).__name__) or "module"


def _is_named_or_can(value: object, ability: str) -> bool:
    """Whether this is a name, or an object with a method."""
    return isinstance(value, str) or (hasattr(value, ability) and not isinstance(value, type))


def _is_range(range: object) -> bool:  # noqa: A002  the word for it
    """Whether this is two increasing numbers."""
    if not isinstance(range, list | tuple) or len(range) != 2:  # noqa: PLR2004
        return False
    return all(isinstance(value, Real) for value in range) and bool(range[0] < range[1])


def _is_float(values: NDArray[np.generic] | Tensor) -> bool:
    return torch.as_tensor(values).is_floating_point()


def _is_standardised(values: NDArray[np.generic] | Tensor) -> bool:
    """Whether values are probably those of pictures minus their mean, divided by their standard deviation."""
    tensor = torch.as_tensor(values)
    if not tensor.is_floating_point() or not tensor.numel():
        return False
    least, most = (float(value) for value in torch.aminmax(tensor))
    return -_MOST_DEVIATIONS < least < 0 and 1 < most < _MOST_DEVIATIONS


@contextmanager
def _feature_maps(recognizer: Recognizer) -> Iterator[list[tuple[int, ...]]]:
    """The shapes of the feature maps that the module returns as embeddings inside the block."""
    shapes: list[tuple[int, ...]] = []

    def look(_module: nn.Module, _inputs: object, output: object) -> None:
        with suppress(ModelError):
            shape = embedding_of(recognizer.card, output).shape
            if shape[2:].numel() > 1:
                shapes.append(tuple(shape))

    # The modules of black boxes are never run.
    handle = recognizer.module.register_forward_hook(look)
    try:
        yield shapes
    finally:
        handle.remove()

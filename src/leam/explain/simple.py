"""What ``leam.explain`` does: pictures or aligned faces in any form, explained with whatever is not given."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from leam.errors import InputError
from leam.explain.explanation import Explanation, explain_faces, explain_pair
from leam.explain.methods import Method, create_method, method_named
from leam.faces.detection import Detector, find_face
from leam.faces.detectors import DEFAULT as DEFAULT_DETECTOR
from leam.faces.detectors import load_detector
from leam.faces.face import Face
from leam.faces.pictures import Source
from leam.parsers import DEFAULT as DEFAULT_PARSER
from leam.parsers import load_parser
from leam.parsers.parsing import Parser
from leam.recognizers.card import Card
from leam.recognizers.catalogue import DEFAULT as DEFAULT_RECOGNIZER
from leam.recognizers.catalogue import load_recognizer
from leam.recognizers.chips import Layout, Range
from leam.recognizers.recognizer import Recognizer

_BATCH_AXES, _CHANNELS = 4, 3
_USUAL: Range = (0.0, 255.0)


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
        if is_batch(faces):
            return self._batch(faces, other)
        if self.range is not None or self.layout is not None:
            raise InputError(
                "range and layout describe a batch of aligned faces; leave them out for pictures"
            )
        recognizer = self._loaded()
        if is_batch(other):
            raise InputError("with_: a batch, but faces is none; give a picture")
        sources = list(faces) if isinstance(faces, list | tuple) else [faces]
        mates = list(other) if isinstance(other, list | tuple) else [other] * len(sources)
        if len(mates) != len(sources):
            raise InputError(
                f"with_: {len(mates)} pictures for {len(sources)}; give one, or one for each"
            )
        detector = self.detector or DEFAULT_DETECTOR
        if isinstance(detector, str):
            detector = load_detector(detector, {recognizer.name: recognizer.crop})
        found = [_found(source, detector) for source in sources]
        others = [None if mate is None else _found(mate, detector) for mate in mates]
        made = self._explained(found, others, recognizer)
        return made if isinstance(faces, list | tuple) else made[0]

    def _batch(self, chips: Any, other: Any) -> list[Explanation]:  # noqa: ANN401  arrays or tensors
        if self.detector is not None:
            raise InputError("detector: not used for a batch of aligned faces; leave it out")
        recognizer, layout = self._loaded(chips), self.layout
        if isinstance(self.recognizer, nn.Module):
            layout = layout or "BCHW"
        faces = self._aligned(chips, recognizer, layout)
        mates: list[Face | None] = [None] * len(faces)
        if other is not None:
            if not is_batch(other) or len(other) != len(chips):
                raise InputError("with_: give a batch of aligned faces, one for each face")
            mates = [*self._aligned(other, recognizer, layout)]
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
        batch = recognizer.as_chips(chips, range=self.range, layout=layout)
        pictures = batch.cpu().round().clamp(0, 255).to(torch.uint8).numpy()
        detector = load_detector("aligned", {recognizer.name: recognizer.crop})
        return [find_face(np.ascontiguousarray(picture), detector) for picture in pictures]

    def _explained(
        self, faces: list[Face], mates: list[Face | None], recognizer: Recognizer
    ) -> list[Explanation]:
        method = self._method(recognizer, pair=any(mates))
        parser = self.parser or DEFAULT_PARSER
        if isinstance(parser, str):
            parser = load_parser(parser)
        if not any(mates):
            return explain_faces(faces, method, parser, top=self.top)
        return [
            explain_pair(face, mate, method, parser, top=self.top)[0]
            for face, mate in zip(faces, mates, strict=True)
            if mate is not None
        ]

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
        name = re.sub(r"[^A-Za-z0-9]", "", type(module).__name__) or "module"
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


def _found(source: Source | Face, detector: Detector) -> Face:
    return source if isinstance(source, Face) else find_face(source, detector)

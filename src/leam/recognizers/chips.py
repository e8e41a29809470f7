"""Aligned faces in the forms that users have them, as one tensor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from leam.errors import InputError, ModelError
from leam.faces.reading import read_picture
from leam.recognizers.card import Card

Chips = (
    NDArray[np.generic]
    | Tensor
    | Image.Image
    | str
    | Path
    | Sequence[NDArray[np.generic] | Tensor | Image.Image | str | Path]
)
"""Aligned faces, RGB: an array or tensor ``(B, h, w, 3)``, or a list of arrays, tensors, PIL images or files."""
Layout = Literal["BHWC", "BCHW"]
Range = tuple[float, float]
"""The values that stand for black and white: ``(0, 255)``, ``(0, 1)`` or ``(-1, 1)``."""

_USUAL: Range = (0.0, 255.0)
# Noise may exceed the range by this part of it.
_SLACK = 1 / 8
# A face whose brightest value, on the scale of 0 to 255, is at most this is scaled wrongly: with whole numbers or a
# stated range, it is a picture of 0 and 1; floats may also be those of [-1, 1] or of standardised pictures.
_SMALL, _SMALL_FLOATS = 1.0, 8.0
# What a hint suggests for values in a range: the first one that they fit into.
_SUGGESTED: tuple[Range, ...] = (
    *((0, 1), (-1, 1), (0, 255), (-127.5, 127.5), (-128, 127), (0, 65535)),
)


def as_chips(
    card: Card,
    chips: Chips,
    *,
    range: Range | None = None,  # noqa: A002  the word for it
    layout: Layout | None = None,
) -> Tensor:
    """Aligned faces as a tensor ``(B, h, w, 3)``, RGB, 0-255: uint8 as given, other types as float32.

    Args:
        card: Its ``input_size`` is the size of the faces.
        chips: See :data:`Chips`; of any real type.
        range: The values that stand for black and white; by default 0 and 255. Floats in another range are refused
            unless it is stated.
        layout: ``BCHW`` for ``(B, 3, h, w)``, or for a list of ``(3, h, w)``; ``BHWC`` by default.

    Raises:
        ModelError: The shape is not ``(B, h, w, 3)``, or with ``layout="BCHW"`` not ``(B, 3, h, w)``.
        InputError: Not pictures, or the values lie outside the range, or a face has only values near black and none
            that is black, so that it must be scaled differently.
    """
    batch = _stacked(card, chips)
    batch = _channels_last(card, batch, layout)
    return _in_range(card, batch, range)


def _stacked(card: Card, chips: Chips) -> Tensor:
    """One tensor of all faces."""
    if isinstance(chips, Image.Image | str | Path):
        chips = [chips]
    if isinstance(chips, list | tuple):
        arrays = [_tensor(card, chip) for chip in chips]
        shapes = sorted({tuple(array.shape) for array in arrays})
        if len(shapes) > 1:
            raise ModelError(f"{card.name}: chips of several shapes, {', '.join(map(str, shapes))}")
        return torch.stack(arrays) if arrays else torch.empty(0, *card.input_size, 3)
    return _tensor(card, chips)


def _tensor(card: Card, chip: object) -> Tensor:
    if isinstance(chip, str | Path):
        chip = read_picture(chip)
    if isinstance(chip, Image.Image):
        if chip.mode not in {"RGB", "L"}:
            raise InputError(
                f'{card.name}: a picture of mode {chip.mode}; convert it with .convert("RGB")'
            )
        chip = np.array(chip.convert("RGB"))
    if getattr(chip, "dtype", None) in (bool, torch.bool):
        chip = torch.as_tensor(chip).byte()
    if isinstance(chip, np.ndarray) and chip.dtype.kind in "uif":
        # Types that torch lacks; float64 holds all values of uint16 and uint32.
        known = chip.dtype.kind != "u" or chip.dtype == np.uint8
        numbers = chip if known else chip.astype(np.float64)
        # A copy of an array that cannot be written, of which torch would warn.
        chip = torch.as_tensor(np.require(numbers, requirements=["C", "W"]))
    if isinstance(chip, Tensor) and not chip.is_complex():
        return chip
    what = getattr(chip, "dtype", type(chip).__name__)
    raise InputError(
        f"{card.name}: chips of type {what}; expected numbers in an array or tensor, PIL images or files"
    )


def _channels_last(card: Card, batch: Tensor, layout: Layout | None) -> Tensor:
    height, width = card.input_size
    planes_first = layout == "BCHW"
    if layout not in {None, "BHWC", "BCHW"}:
        raise InputError(f"layout {layout}: not known; available: BHWC, BCHW")
    expected = (3, height, width) if planes_first else (height, width, 3)
    shape = tuple(batch.shape)
    if shape[1:] == expected and len(shape) == 4:  # noqa: PLR2004
        return batch.movedim(1, 3) if planes_first else batch
    where = f"{card.name}: chips of shape {shape}, expected (B, {', '.join(map(str, expected))})"
    other = (height, width, 3) if planes_first else (3, height, width)
    if shape[1:] == other:
        raise ModelError(f'{where}; if they are, add layout="{"BHWC" if planes_first else "BCHW"}"')
    if shape in {expected, other}:
        raise ModelError(f"{where}; for one face, give chips[None]")
    if shape[1:] in {(height, width), (height, width, 1), (1, height, width)}:
        raise ModelError(f"{where}; repeat a grey picture's values for red, green and blue")
    raise ModelError(where)


def _in_range(card: Card, batch: Tensor, range: Range | None) -> Tensor:  # noqa: A002
    """Values of the range as 0-255, float32 unless they are uint8 already; refused where they cannot be."""
    low, high = _USUAL if range is None else range
    if not high > low:
        raise InputError(f"range {range}: expected two numbers, the values of black and white")
    usual = (low, high) == _USUAL
    values = batch if usual and batch.dtype == torch.uint8 else batch.to(torch.float32)
    scaled = values if usual else (values - low) * (255 / (high - low))
    if not values.numel() or (range is not None and values.dtype == torch.uint8):
        return scaled
    least, most = (float(value) for value in torch.aminmax(values))
    if not np.isfinite([least, most]).all():
        raise InputError(f"{card.name}: chips with values that are not finite")
    said = f"{card.name}: chips with values from {least:.4g} to {most:.4g}, expected {low:g} to {high:g}"
    hint = f"; state which values are black and white, such as range={_suggested(least, most)}"
    slack = _SLACK * (high - low)
    if least < low - slack or most > high + slack:
        raise InputError(said + ("" if range else hint))
    if range is None or not usual:
        sizes = scaled.abs().flatten(1).amax(dim=1)
        floats = range is None and batch.is_floating_point()
        small = (sizes > 0) & (sizes <= (_SMALL_FLOATS if floats else _SMALL))
        # Whole numbers are judged together: one dark picture among others is a picture.
        if bool(small.any() if floats else small.any() & (sizes <= _SMALL).all()):
            raise InputError(said + hint)
    return scaled


def _suggested(least: float, most: float) -> str:
    """The range that values probably have, as it is written in Python."""
    fitting = (
        f"({low:g}, {high:g})"
        for low, high in _SUGGESTED
        if low - 1e-3 <= least and high / 2 < most <= high + 1e-3
    )
    return next(fitting, "(0, 1)")

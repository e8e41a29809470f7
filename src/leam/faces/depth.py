"""Pixel values of any depth as 8 bits, scaled by what they contain."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Depths of masks, screens, camera sensors and files.
_BITS = (1, 8, 10, 12, 14, 16)
# Largest value of a scale, and the largest value that is still taken for it: resampling overshoots.
_FLOAT_SCALES = ((1.0, 2.0), (255.0, 300.0), (65535.0, 70000.0))
# Rows are scaled in blocks, since copies of a large picture as floats would take gigabytes.
_ROWS = 256


def to_eight_bits(values: NDArray[Any]) -> tuple[NDArray[np.uint8], str]:
    """Scale values to 0-255.

    Integers have the smallest of 1, 8, 10, 12, 14 and 16 bits that holds the largest value: 12-bit values in a 16-bit
    file are divided by 4095, not by 65535. Floats are on the scale 0-1, 0-255 or 0-65535, the smallest that holds
    them, or on -1 to 1 if some are negative.

    Args:
        values: Integers or floats of any shape.

    Returns:
        The scaled values, and a sentence that says how they were scaled; empty for 8-bit values.

    Raises:
        ValueError: Some values are not finite, or floats are below -1.
    """
    if values.dtype == np.uint8:
        return values, ""
    lowest, highest = float(values.min(initial=0)), float(values.max(initial=0))
    if not (np.isfinite(lowest) and np.isfinite(highest)):
        raise ValueError("some values are not finite")
    if values.dtype.kind == "f":
        low, high = _float_scale(lowest, highest)
        note = f"floats from {low:g} to {high:g} are scaled to 8 bits"
    else:
        bits = next((b for b in _BITS if highest < 2**b), int(highest).bit_length())
        low, high = 0.0, float(2**bits - 1)
        note = f"{bits}-bit values in {8 * values.dtype.itemsize} bits are scaled to 8 bits"
    scaled = np.empty(values.shape, np.uint8)
    for start in range(0, len(values), _ROWS):
        block = (values[start : start + _ROWS].astype(np.float64) - low) * (255 / (high - low))
        scaled[start : start + _ROWS] = np.clip(np.rint(block), 0, 255)
    return scaled, note


def _float_scale(lowest: float, highest: float) -> tuple[float, float]:
    if lowest < 0:
        if lowest < -1 or highest > 1:
            raise ValueError(f"floats from {lowest:g} to {highest:g} are on no known scale")
        return -1.0, 1.0
    return 0.0, next((scale for scale, most in _FLOAT_SCALES if highest <= most), highest)

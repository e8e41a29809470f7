"""Kernels: one pass over memory where torch's operations take several. Importing this module imports numba.

Arrays have a row for each location of each face and a column for each channel, float32 without gaps; gains, shifts and
slopes have one value for each channel.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

ENABLED = not numba.config.DISABLE_JIT  # type: ignore[attr-defined]
"""False where the user disabled numba's compiler, without which kernels would be slow."""

Array = np.ndarray[Any, np.dtype[np.float32]]

_ZERO, _ONE = np.float32(0), np.float32(1)
# Sums may be computed in any order, several values at a time.
_ANY_ORDER = {"reassoc", "contract", "nsz"}


# A product and a sum are rounded once, as in torch's batch normalisation: a value may not change to the other side of an
# activation's kink.
@numba.njit(nogil=True, error_model="numpy", fastmath={"contract"})
def activate(
    x: Array, gain: Array, shift: Array, slope: Array, low: float, high: float, out: Array
) -> None:
    """A gain, a shift and an activation: ``slope`` times what lies below ``low``, and at most ``high``."""
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            value = x[i, j] * gain[j] + shift[j]
            value = low + (value - low) * slope[j] if value <= low else value
            out[i, j] = high if value > high else value


@numba.njit(nogil=True, error_model="numpy", fastmath=_ANY_ORDER)
def activate_backward(
    gradient: Array, x: Array, gain: Array, shift: Array, slope: Array, above: float, below: float,
    out: Array, sums: Array,
) -> None:  # fmt: skip
    """The gradient at ``x`` of :func:`activate`, and the weighting ``positive`` of both.

    The gradient of the output passes between ``above`` and ``below``, and times ``slope`` up to ``above``.
    """
    for i in range(x.shape[0]):
        total = _ZERO
        for j in range(x.shape[1]):
            given = x[i, j] * gain[j] + shift[j]
            factor = gain[j] * slope[j] if given <= above else gain[j]
            # A product with zero would keep what is not finite.
            value = _ZERO if factor == _ZERO or given >= below else gradient[i, j] * factor
            out[i, j] = value
            total += max(value, _ZERO) * x[i, j]
        sums[i] = max(total, _ZERO)


@numba.njit(nogil=True, error_model="numpy", fastmath=_ANY_ORDER)
def positive(activations: Array, gradients: Array, sums: Array) -> None:
    """The weighting ``positive``."""
    for i in range(activations.shape[0]):
        total = _ZERO
        for j in range(activations.shape[1]):
            total += max(gradients[i, j], _ZERO) * activations[i, j]
        sums[i] = max(total, _ZERO)

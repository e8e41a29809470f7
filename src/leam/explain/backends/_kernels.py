"""A kernel that reads memory once where torch's operations read it several times. Importing this imports numba."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

ENABLED = not numba.config.DISABLE_JIT  # type: ignore[attr-defined]
"""False where the user disabled numba's compiler; the kernel would then be slow."""

Array = np.ndarray[Any, np.dtype[np.float32]]

_ZERO = np.float32(0)


# Sums may be computed in any order, several values at a time.
@numba.njit(nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})
def backward(  # noqa: PLR0917
    gradient: Array, x: Array, activations: Array, gain: Array, shift: Array, slope: Array, scale: Array,
    above: float, below: float, sums: Array,
) -> None:  # fmt: skip
    """The backward pass of normalisations and an activation, with the weighting ``positive`` of their input.

    ``gradient``, ``x`` and ``activations`` are ``(n, C)``, a row for each location of each face: the gradient at the
    activation's output, which is replaced by that at ``activations``; the input of the last normalisation; and that of
    the first one. ``gain``, ``shift``, ``slope`` and ``scale`` are ``(C,)``: the activation's input is
    ``x * gain + shift``, and ``scale`` is the product of all normalisations' gains. The gradient passes where the
    activation's input lies between ``above`` and ``below``, and times ``slope`` where it is at most ``above``. ``sums``
    is ``(n,)`` and receives the weighting.
    """
    for i in range(x.shape[0]):
        total = _ZERO
        for j in range(x.shape[1]):
            given = x[i, j] * gain[j] + shift[j]
            passed = gradient[i, j] * scale[j]
            # A product with a slope of zero would keep what is not finite. Written so that it runs without branches.
            sloped = passed * slope[j] if slope[j] != _ZERO else _ZERO
            value = sloped if given <= above else (_ZERO if given >= below else passed)
            gradient[i, j] = value
            total += max(value, _ZERO) * activations[i, j]
        sums[i] = max(total, _ZERO)

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
    gradient: Array, x: Array, slope: Array, scale: Array, above: float, below: float, least: float,
    sums: Array, magnitudes: Array,
) -> None:  # fmt: skip
    """The backward pass of an activation and of the normalisations before it, with what a weighting needs.

    ``gradient`` and ``x`` are ``(n, C)``, a row for each location of each face: the gradient at the activation's
    output, which is replaced by that at the normalisations' input; and the activation's input, which is explained.
    ``slope`` and ``scale`` are ``(C,)``: ``scale`` is the product of the normalisations' gains. The gradient passes
    where ``x`` lies between ``above`` and ``below``, and times ``slope`` where it is at most ``above``. ``sums`` and
    ``magnitudes`` are ``(n,)`` and receive the sums of ``x`` times its gradient, replaced by ``least`` where it is
    smaller, and of the absolute values of these products.
    """
    for i in range(x.shape[0]):
        total = magnitude = _ZERO
        for j in range(x.shape[1]):
            given, passed = x[i, j], gradient[i, j]
            # A product with a slope of zero would keep what is not finite. Written so that it runs without branches.
            sloped = passed * slope[j] if slope[j] != _ZERO else _ZERO
            value = sloped if given <= above else (_ZERO if given >= below else passed)
            gradient[i, j] = value * scale[j]
            product = max(value, least) * given
            total += product
            magnitude += abs(product)
        sums[i], magnitudes[i] = total, magnitude

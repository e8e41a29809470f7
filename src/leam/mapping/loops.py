"""How a loop over the places of a layer is compiled, and shared out among torch's own threads.

Threads of another library would have to wait for torch's, which spin for a while after each of their steps and so keep
the cores. The library that torch calls for its own steps (OpenMP) runs anybody's function on the same threads, so that
a loop is given to it as a plain function in memory: see ``GOMP_parallel`` in GNU's libgomp, which Intel's and LLVM's
libraries know as well on Linux. Where torch's is not found, loops run in one thread only.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

# One that was made for another NumPy refuses to be imported.
try:
    import numba
except ImportError:
    INSTALLED = False
else:
    # What a user turned off is as good as absent.
    INSTALLED = not numba.config.DISABLE_JIT  # type: ignore[attr-defined]


ANY_ORDER = {"reassoc", "contract", "nsz"}
"""Of numba's ``fastmath``: sums may be taken in any order, so that several values are added at once."""

# Compiling takes two seconds, once in a process; of one picture, loops save milliseconds.
LEAST_FACES = 4


class Loop:
    """A loop over places, compiled when it is first run.

    Args:
        body: Given the addresses of sizes and operands, which the functions below read; takes one thread's share.
        options: Of numba's ``cfunc``.
    """

    def __init__(self, body: Callable[[Any], None], options: Mapping[str, Any]) -> None:
        self.body = body
        self.options = options

    def __call__(self, sizes: Sequence[int], operands: Sequence[Tensor]) -> None:
        """Run it.

        Args:
            sizes: What the body wants to know; threads share out the first.
            operands: What the body reads and writes: float32, in memory without gaps.
        """
        numbers = (ctypes.c_int64 * len(sizes))(*sizes)
        addresses = [ctypes.addressof(numbers), *(operand.data_ptr() for operand in operands)]
        data = (ctypes.c_void_p * len(addresses))(*addresses)
        threads, library = torch.get_num_threads(), openmp()
        if threads == 1 or library is None:
            self._compiled.ctypes(data)
        else:
            library.GOMP_parallel(self._address, data, threads, 0)

    @cached_property
    def _compiled(self) -> Any:  # noqa: ANN401  numba has no types
        addresses = numba.types.CPointer(numba.types.voidptr)  # type: ignore[no-untyped-call]
        signature = numba.types.void(addresses)
        return numba.cfunc(signature, error_model="numpy", **self.options)(self.body)

    @cached_property
    def _address(self) -> ctypes.c_void_p:
        return ctypes.c_void_p(self._compiled.address)


def loop(**options: Any) -> Callable[[Callable[[Any], None]], Loop]:  # noqa: ANN401
    """Make a function the body of a :class:`Loop`."""
    return lambda body: Loop(body, options)


@cache
def openmp() -> ctypes.CDLL | None:
    """The OpenMP library that torch itself calls; None where it cannot run a function of ours."""
    try:
        # A symbol of a library is sought in it and in those that it was linked to.
        library = ctypes.CDLL(str(next(Path(torch.__file__).parent.glob("lib/libtorch_cpu.*"))))
        library.GOMP_parallel.argtypes = [
            ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint,
        ]  # fmt: skip
        library.GOMP_parallel.restype = None
        for function in (library.omp_get_thread_num, library.omp_get_num_threads):
            function.argtypes, function.restype = [], ctypes.c_int
    except (StopIteration, OSError, AttributeError):
        return None
    return library


def ready(faces: int) -> bool:
    """Whether loops are to run for so many faces at once.

    They are where numba is installed, and there is one thread, or torch's can be had; but for few faces they are not
    worth being compiled.
    """
    threads = torch.get_num_threads() == 1 or openmp() is not None
    return INSTALLED and faces >= LEAST_FACES and threads


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a function one that a loop's body can call, and nobody else."""
    if not INSTALLED:
        return function
    options: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    decorated: Callable[..., Any] = numba.njit(**options)(function)
    return decorated


_library = openmp()
_thread: Callable[[], int]
_threads: Callable[[], int]
if _library is not None:
    _thread, _threads = _library.omp_get_thread_num, _library.omp_get_num_threads
else:
    _thread, _threads = inlined(lambda: 0), inlined(lambda: 1)


@inlined
def sizes(data: Any, count: int) -> Any:  # noqa: ANN401
    """The first ``count`` sizes that a loop was given."""
    return numba.carray(data[0], count, np.int64)  # type: ignore[attr-defined]


@inlined
def share(data: Any) -> tuple[int, int]:  # noqa: ANN401
    """The first of this thread's share of the first size, and the one after its last."""
    count = sizes(data, 1)[0]
    return count * _thread() // _threads(), count * (_thread() + 1) // _threads()


@inlined
def vector(data: Any, place: int, count: int) -> Any:  # noqa: ANN401
    """The operand at a place, as ``count`` values."""
    return numba.carray(data[place + 1], count, np.float32)  # type: ignore[attr-defined]


@inlined
def matrix(data: Any, place: int, rows: int, columns: int) -> Any:  # noqa: ANN401
    """The operand at a place, as ``(rows, columns)`` values."""
    return numba.carray(data[place + 1], (rows, columns), np.float32)  # type: ignore[attr-defined]

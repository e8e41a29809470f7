"""The memory and the operations that a graph may need: a file of a few kilobytes may describe terabytes.

The nodes are first run on shapes alone, in :func:`leam.recognizers.onnx.importer.measured`: values that depend on the
picture have no memory then. A :class:`Budget` adds up what they will need, and refuses the graph before anything large
is computed. Where a shape depends on the picture's pixels, the rest of the graph is checked while it runs on a face.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from leam.errors import ModelError
from leam.limits import memory_limit, readable, values_limit

OPERATIONS = 10**11
"""Most operations for one face, in multiplications of matrices and convolutions.

The largest networks for faces have 2 to 8 * 10**10 (ResNet-200 at 112x112, ViT-L at 224x224). A processor does some
10**10 a second, and reading a file takes about seven passes of a face.
"""
SECONDS = 60
"""Most time for the first pass of a face while a file is read; what operations take is estimated, and may be wrong."""
# An element that is read or written takes as long as this many multiplications of a matrix product.
_ELEMENT = 64
# Values of at most so many elements that depend on constants and shapes alone are computed while a graph is measured.
_SMALL = 1 << 20
META = torch.device("meta")


class TooLargeError(ModelError):
    """A graph needs too much memory or too many operations."""


class Budget(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up what operations need, and refuses one before it runs if it needs too much.

    Args:
        constants: The values that the file stores.
        dry: Whether to compute on shapes: results are on the meta device, except small ones that depend on no value
            there.

    Attributes:
        peak: The most bytes that values of one face occupied at one time.
        total: Bytes of all values of one face together, which a gradient keeps.

    Raises:
        TooLargeError: Inside the block, by the operation that goes beyond the limits.
    """

    def __init__(self, constants: Iterable[Tensor], *, dry: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._dry = dry
        self._stored = sum(value.numel() * value.element_size() for value in constants)
        # For gradients, and for the weights and the values of two faces.
        self._limits = memory_limit(), self._stored + values_limit(self._stored)
        # Bytes of the storages that are held, by their address, and how many values share each.
        self._held: dict[int, list[int]] = {}
        self._known: dict[Any, Tensor] = {}
        self._live = self._node = self._operations = 0
        self.peak = self.total = 0

    def hold(self, values: Iterable[Tensor], *, counts: bool) -> None:
        """A node has run, and these results are kept; they count for a gradient if they depend on the picture."""
        self._node = 0
        for value in values:
            storage = value.untyped_storage()
            entry = self._held.setdefault(storage._cdata, [0, storage.nbytes()])  # noqa: SLF001  its identity
            if not entry[0]:
                self._live += entry[1]
                self.total += entry[1] if counts else 0
            entry[0] += 1
        self._check(
            self.total, self._limits[0], "a gradient needs all values of a face up to here:"
        )

    def release(self, value: Tensor) -> None:
        """A value that was held is read no more."""
        key = value.untyped_storage()._cdata  # noqa: SLF001
        if key in self._held:  # else it is a constant of the file
            self._held[key][0] -= 1
            if not self._held[key][0]:
                self._live -= self._held.pop(key)[1]

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Otherwise torch imports its compiler, which takes 2 s and 90 MB.
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        kwargs = kwargs or {}
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        predicted = self._predict(func, args, kwargs)
        made = [leaf for leaf in tree_leaves(predicted) if isinstance(leaf, Tensor)]
        if predicted is None:
            if self._dry and any(value.is_meta for value in given):
                raise NotImplementedError("a shape depends on the values of the picture")
            result = func(*args, **kwargs)
            made = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
            self._add(func, args, given, made)
            return result
        self._add(func, args, given, made)
        if self._dry and not _computable(func, given, made):
            return predicted
        return func(*args, **kwargs)

    def _predict(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
        """As :func:`_predicted`, which is slow: results of a call with inputs of known shapes are made anew."""
        key = (func, _key(args), _key(kwargs))
        try:
            known = self._known.get(key)
        except TypeError:  # an argument without a hash
            return _predicted(func, args, kwargs)
        if known is not None:
            return _without_memory(known, always=True)
        found = _predicted(func, args, kwargs)
        if isinstance(found, Tensor) and not _shares(func):
            self._known[key] = found
        return found

    def _add(self, func: Any, args: Any, given: list[Tensor], made: list[Tensor]) -> None:  # noqa: ANN401
        if not _shares(func):
            self._node += sum(value.numel() * value.element_size() for value in made)
        if not func.is_view:
            self._operations += _operations(func, args, given, made)
        live = self._live + self._node
        self.peak = max(self.peak, live)
        # A batch of two faces is checked.
        needed = self._stored + 2 * live
        self._check(needed, self._limits[1], "the values of two faces and the weights take")
        if self._operations > OPERATIONS:
            raise TooLargeError(
                f"up to here, one face takes {self._operations:.1e} operations; the limit is {OPERATIONS:.0e}; "
                "use a smaller input or network"
            )

    def _check(self, size: int, limit: int, what: str) -> None:
        if size > limit:
            raise TooLargeError(
                f"{what} {readable(size)} of memory; the limit is {readable(limit)}; "
                "raise it with --memory-limit (in Python, leam.set_memory_limit)"
            )


def _operations(func: Any, args: Any, given: list[Tensor], made: list[Tensor]) -> int:  # noqa: ANN401
    """An estimate of how many operations a function of torch takes."""
    name = func._schema.name.partition("::")[2]  # noqa: SLF001
    results = sum(value.numel() for value in made)
    elements = _ELEMENT * max([results, *(value.numel() for value in given)])
    if "convolution" in name:
        values, weight = given[:2]
        ends = values if args[6] else made[0]  # a transposed one spreads what it reads
        return elements + ends.numel() * math.prod(weight.shape[1:])
    if name in {"mm", "bmm", "mv", "dot"}:
        return elements + results * given[0].shape[-1]
    if name in {"addmm", "baddbmm", "addmv", "addbmm"}:
        return elements + results * given[1].shape[-1]
    if "attention" in name:
        return elements + 2 * given[0].numel() * given[1].shape[-2]
    if "pool" in name and "adaptive" not in name:
        kernel: int = math.prod(args[1])
        return elements + _ELEMENT // 8 * results * kernel
    return elements


def _shares(func: Any) -> bool:  # noqa: ANN401
    """Whether a function returns a view of its input, or its input itself."""
    return any(each.alias_info for each in func._schema.returns)  # noqa: SLF001


def _computable(func: Any, given: list[Tensor], made: list[Tensor]) -> bool:  # noqa: ANN401
    """Whether results are computed while a graph is measured: views and small ones, of values that are known."""
    if any(value.is_meta for value in given):
        return False
    return func.is_view or all(value.numel() <= _SMALL for value in (*given, *made))


def _predicted(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
    """The result on tensors without memory; None where the shape depends on values, and cannot be known."""
    if torch.Tag.pointwise in func.tags and not _shares(func) and "device" not in kwargs:
        return _elementwise(func, args, kwargs)
    args, kwargs = tree_map_only(Tensor, _without_memory, (args, kwargs))
    if "device" in kwargs or not any(isinstance(leaf, Tensor) for leaf in tree_leaves(args)):
        kwargs = {**kwargs, "device": META}
    try:
        return func(*args, **kwargs)
    except (NotImplementedError, RuntimeError, TypeError):
        return None


def _elementwise(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:  # noqa: ANN401
    """The result of an operation on each element alone: its type is found on one element.

    torch would compile many of these for the meta device, which takes long.
    """
    given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    args, kwargs = tree_map_only(Tensor, _one_element, (args, kwargs))
    try:
        shape = torch.Size(np.broadcast_shapes(*(tuple(value.shape) for value in given)))
        kind = func(*args, **kwargs).dtype
    except (AttributeError, NotImplementedError, RuntimeError, TypeError, ValueError):
        return None
    for value in given:
        if value.shape == shape:
            return torch.empty_like(value, dtype=kind, device=META)
    return torch.empty(shape, dtype=kind, device=META)


def _one_element(value: Tensor) -> Tensor:
    """A tensor of one element, whose type counts as much as this tensor's does."""
    return torch.ones((1,) * value.ndim, dtype=value.dtype)


def _key(value: Any) -> Any:  # noqa: ANN401
    """An argument as a part of a key: of a tensor, its layout."""
    if isinstance(value, Tensor):
        return (value.shape, value.stride(), value.dtype)
    if isinstance(value, dict):
        return tuple((name, _key(each)) for name, each in value.items())
    if isinstance(value, list | tuple):
        return tuple(map(_key, value))
    # Numbers of different types are equal, but results have other types.
    return (type(value), value)


def _without_memory(tensor: Tensor, *, always: bool = False) -> Tensor:
    """A tensor of the same layout on the meta device; one that is there already is returned, unless ``always``."""
    if tensor.is_meta and not always:
        return tensor
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=META)

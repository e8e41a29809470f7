"""Follow the output of a linear map through the frozen affine operations that a graph optimiser would merge into it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from leam.explain.identity import Identities

# The slope is taken over a wide interval, so that a large shift does not cancel it. The cubes at which a function is
# then tried cover both signs and several orders of magnitude, so that no usual activation passes as affine.
_FAR = 1024.0
_TOLERANCE = 1e-4

# Functions that write nothing and whose result, if it is no tensor, has no values of one: attributes among them.
_QUERIES = {"__get__", "dim", "is_floating_point", "is_inference", "numel", "size", "stride"}

_Given = tuple[Tensor, int]
"""A tensor that is given to a function, and its version."""


@dataclass(frozen=True)
class Affine:
    """An affine operation with one scale and one shift for each channel, ``(C,)`` each: ``x * scale + shift``."""

    scale: Tensor
    shift: Tensor

    def after(self, first: Affine | None) -> Affine:
        """This operation after another one."""
        if first is None:
            return self
        return Affine(first.scale * self.scale, first.shift * self.scale + self.shift)

    @property
    def changes(self) -> bool:
        """Whether the operation is more than a copy."""
        return bool((self.scale != 1).any() or (self.shift != 0).any())


@dataclass(frozen=True)
class Step:
    """A tensor that a frozen affine operation has computed, its version then, and the operation.

    Attributes:
        number: The tensor's number, see :meth:`AffineTrace.number`.
        version: Its version.
        operation: The operation.
    """

    number: int
    version: int
    operation: Affine


@dataclass(frozen=True)
class _Read:
    """A call of a function that read a tensor.

    Attributes:
        number: The number of the tensor that it returned; None if it returned something else.
        version: The version of this tensor.
        run: The function of the tensor that it read alone; None if it cannot be an affine one with frozen constants.
        shape: The shape of the tensor that was read.
        dtype: Its type.
        device: Its device.
    """

    number: int | None
    version: int
    run: Callable[[Tensor], Tensor] | None
    shape: torch.Size
    dtype: torch.dtype
    device: torch.device

    @property
    def like(self) -> Tensor:
        """A tensor like the one that was read, with memory for one element."""
        return torch.empty((), dtype=self.dtype, device=self.device).expand(self.shape)


class AffineTrace(TorchFunctionMode):
    """Records which functions of torch read which tensors in a forward pass.

    Args:
        inputs: The network's input: what depends on it is not frozen.
    """

    def __init__(self, inputs: Tensor) -> None:
        super().__init__()
        self._identities = Identities()
        self._reads: dict[tuple[int, int], list[_Read]] = {}
        self._varying = {self.number(inputs)}

    def number(self, tensor: Tensor) -> int:
        """A number for a tensor, which no other tensor of the pass has."""
        return self._identities.of(tensor)

    def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN204
        """Run any function of torch, and record the tensors that it reads."""
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in _QUERIES and not isinstance(
            known := func(*args, **kwargs), Tensor
        ):
            return known
        given = [(tensor, version_of(tensor)) for tensor in _tensors([*args, *kwargs.values()])]
        result = func(*args, **kwargs)
        # An assignment to a part of a tensor returns nothing.
        made = _tensors([result]) or [t for t, version in given if version_of(t) != version]
        # A shape or a device is no value, and a move to the same device returns the tensor itself.
        reads = [
            (t, v)
            for t, v in _valued(func, given)
            if made and (result is not t or version_of(t) != v)
        ]
        found = [
            ((self.number(tensor), before), self._read(func, args, kwargs, result, tensor))
            for tensor, before in reads
        ]
        if any(self.number(tensor) in self._varying for tensor, _ in reads):
            self._varying.update(map(self.number, made))
        for key, read in found:
            self._reads.setdefault(key, []).append(read)
        return result

    def _read(self, func: Any, args: Any, kwargs: Any, result: object, tensor: Tensor) -> _Read:  # noqa: ANN401
        """What a call did with a tensor, without the values that vary."""
        given = _tensors([*args, *kwargs.values()])
        others = [other for other in given if other is not tensor]
        frozen = not any(self.number(t) in self._varying or t.grad_fn is not None for t in others)
        like = (tensor.shape, tensor.dtype, tensor.device)
        if not isinstance(result, Tensor):
            return _Read(None, 0, None, *like)
        same = (result.shape, result.dtype) == like[:2]
        # A convolution of one pixel and one channel is a layer of its own.
        affine = same and frozen and len(others) == len(given) - 1 and func is not torch.conv2d
        place = object()
        kept = _replaced((args, kwargs), tensor, place) if affine else None

        def run(values: Tensor) -> Tensor:
            own, named = _replaced(kept, place, values)
            output: Tensor = func(*own, **named)
            return output

        return _Read(self.number(result), version_of(result), run if affine else None, *like)

    def follow(self, number: int, version: int) -> Iterator[Step]:
        """The frozen affine operations after a tensor ``(B, C, h, w)``, as long as nothing else reads their inputs.

        Args:
            number: The tensor's number.
            version: Its version.
        """
        while len(reads := self._reads.get((number, version), [])) == 1:
            read = reads[0]
            if read.run is None or read.number is None:
                return
            with torch.no_grad():
                operation = _fit(read.run, read.like)
            if operation is None:
                return
            number, version = read.number, read.version
            yield Step(number, version, operation)


def _fit(run: Callable[[Tensor], Tensor], like: Tensor) -> Affine | None:
    """The scale and shift of each channel, if a function of tensors like this one is affine in each element."""
    shift = run(torch.zeros_like(like))
    scale = (run(torch.full_like(like, _FAR)) - shift) / _FAR
    if not all(bool((values == values[:, :, :1, :1]).all()) for values in (shift, scale)):
        return None
    cubes = torch.linspace(-10, 10, like.numel(), dtype=like.dtype, device=like.device) ** 3
    # Each channel gets values from the whole range.
    values = cubes.view(*like.shape[2:], -1).permute(2, 0, 1)[None]
    expected = values * scale + shift
    limit = _TOLERANCE * ((values * scale).abs() + shift.abs() + scale.abs())
    if not bool(((run(values.clone()) - expected).abs() <= limit).all()):
        return None
    return Affine(scale[0, :, 0, 0].clone(), shift[0, :, 0, 0].clone())


def _valued(function: Callable[..., Any], given: Sequence[_Given]) -> Sequence[_Given]:
    """Of the tensors given to a function, those that give more to its result than a shape, a type or a device."""
    name = getattr(function, "__name__", "")
    if name.endswith("_like") or name.startswith("new_"):
        return given[1:]
    return given[:1] if name.endswith("_as") or name == "to" else given


def _tensors(values: Sequence[object]) -> list[Tensor]:
    """The tensors among values and in their lists and tuples."""
    lists = [value if isinstance(value, tuple | list) else [value] for value in values]
    return [value for items in lists for value in items if isinstance(value, Tensor)]


def _replaced(value: Any, old: object, new: object) -> Any:  # noqa: ANN401
    """A nested structure of arguments with one object replaced."""
    if isinstance(value, tuple | list):
        return type(value)(_replaced(item, old, new) for item in value)
    if isinstance(value, dict):
        return {key: _replaced(item, old, new) for key, item in value.items()}
    return new if value is old else value


def version_of(tensor: Tensor) -> int:
    """How often a tensor has been written to."""
    # torch counts in-place writes here alone, and does not count them for tensors of inference mode.
    return 0 if tensor.is_inference() else tensor._version  # noqa: SLF001

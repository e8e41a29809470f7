"""Sums, means and extremes over axes, and softmax."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from leam.recognizers.onnx.operators.declaration import implements, numbers

Reduction = Callable[[Tensor, list[int], bool], Tensor]


def mean_over(x: Tensor, axes: list[int], keep: bool) -> Tensor:  # noqa: FBT001
    """The mean, with a gradient that is an expanded view instead of a full tensor."""
    # In half precision the sum could overflow.
    if x.dtype != torch.float32:
        return x.to(torch.float32).mean(axes, keepdim=keep).to(x.dtype)
    return x.sum(axes, keepdim=keep) / math.prod(x.shape[axis] for axis in axes)


def _product(x: Tensor, axes: list[int], keep: bool) -> Tensor:  # noqa: FBT001
    for axis in sorted((axis % x.ndim for axis in axes), reverse=True):
        x = x.prod(axis, keepdim=keep)
    return x


def _sum(x: Tensor, axes: list[int], keep: bool) -> Tensor:  # noqa: FBT001
    return x.sum(axes, keepdim=keep).to(x.dtype)


def _reduced(
    function: Reduction, x: Tensor, axes: list[int] | None, keepdims: bool  # noqa: FBT001
) -> Tensor:  # fmt: skip
    every = list(range(x.ndim))
    chosen = [axis % x.ndim for axis in axes] if axes else every
    return function(x, chosen, keepdims) if chosen else function(x[None], [0], False)  # noqa: FBT003


def _implement(name: str, function: Reduction, since: int) -> None:
    """Register a reduction, whose axes are an attribute in old opsets and an input from ``since`` on."""

    @implements(name)
    def by_attribute(x: Tensor, *, axes: list[int] | None = None, keepdims: bool = True) -> Tensor:
        return _reduced(function, x, axes, keepdims)

    @implements(name, since=since)
    def by_input(
        x: Tensor,
        axes: Tensor | None = None,
        *,
        keepdims: bool = True,
        noop_with_empty_axes: bool = False,
    ) -> Tensor:
        chosen = None if axes is None else numbers(axes)
        if not chosen and noop_with_empty_axes:
            # Without axes, each element is reduced alone.
            return function(x[None], [0], False)  # noqa: FBT003
        return _reduced(function, x, chosen, keepdims)


_AXES_ARE_INPUT = 18
for _name, _function in {
    "ReduceL1": lambda x, axes, keep: _sum(x.abs(), axes, keep),
    "ReduceL2": lambda x, axes, keep: torch.linalg.vector_norm(x, dim=axes, keepdim=keep),
    "ReduceLogSum": lambda x, axes, keep: _sum(x, axes, keep).log(),
    "ReduceLogSumExp": lambda x, axes, keep: x.logsumexp(axes, keepdim=keep),
    "ReduceMax": lambda x, axes, keep: x.amax(axes, keepdim=keep),
    "ReduceMean": mean_over,
    "ReduceMin": lambda x, axes, keep: x.amin(axes, keepdim=keep),
    "ReduceProd": _product,
    "ReduceSumSquare": lambda x, axes, keep: _sum(x.square(), axes, keep),
}.items():
    _implement(_name, _function, _AXES_ARE_INPUT)
_implement("ReduceSum", _sum, 13)


def _arg(name: str, function: Callable[..., Tensor]) -> None:
    @implements(name)
    def argument(
        x: Tensor, *, axis: int = 0, keepdims: bool = True, select_last_index: bool = False
    ) -> Tensor:
        if not select_last_index:
            return function(x, axis, keepdims)
        return x.shape[axis] - 1 - function(x.flip(axis), axis, keepdims)


_arg("ArgMax", torch.argmax)
_arg("ArgMin", torch.argmin)


@implements("TopK", since=10)
def _top_k(
    x: Tensor, count: Tensor, *, axis: int = -1, largest: bool = True, sorted: bool = True  # noqa: A002, ARG001
) -> tuple[Tensor, ...]:  # fmt: skip
    # Equal values come in the order of their places.
    values, places = x.sort(dim=axis, descending=largest, stable=True)
    return values.narrow(axis, 0, int(count)), places.narrow(axis, 0, int(count))


def _softmax_family(name: str, function: Callable[[Tensor, int], Tensor]) -> None:
    @implements(name)
    def flattened(x: Tensor, *, axis: int = 1) -> Tensor:
        """Before opset 13, the axis and all later ones were flattened."""
        return function(x.flatten(axis % x.ndim), axis % x.ndim).reshape(x.shape)

    @implements(name, since=13)
    def by_axis(x: Tensor, *, axis: int = -1) -> Tensor:
        return function(x, axis)


_softmax_family("Softmax", torch.softmax)
_softmax_family("LogSoftmax", torch.log_softmax)
_softmax_family(
    "Hardmax",
    lambda x, axis: torch.zeros_like(x).scatter(axis, x.argmax(axis, keepdim=True), 1),
)


@implements("LpNormalization")
def _lp_normalization(x: Tensor, *, axis: int = -1, p: Literal[1, 2] = 2) -> Tensor:
    return functional.normalize(x, p, axis)

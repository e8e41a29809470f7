"""Arithmetic, logic and activations: one output element for each element of the inputs."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from leam.recognizers.onnx.operators.declaration import MICROSOFT, Operator, implements, together


def _unary(function: Callable[[Tensor], Tensor]) -> Operator:
    def of_one(x: Tensor) -> Tensor:
        return function(x)

    return of_one


def _binary(function: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    return lambda a, b: function(*together(a, b))


def _variadic(function: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    return lambda *inputs: reduce(function, together(*inputs))


_UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    "Abs": torch.abs,
    "Acos": torch.acos,
    "Acosh": torch.acosh,
    "Asin": torch.asin,
    "Asinh": torch.asinh,
    "Atan": torch.atan,
    "Atanh": torch.atanh,
    "Ceil": torch.ceil,
    "Cos": torch.cos,
    "Cosh": torch.cosh,
    "Erf": torch.erf,
    "Exp": torch.exp,
    "Floor": torch.floor,
    "HardSwish": functional.hardswish,
    "Identity": lambda x: x,
    "IsNaN": torch.isnan,
    "Log": torch.log,
    "Mish": functional.mish,
    "Neg": torch.neg,
    "Not": torch.logical_not,
    "Reciprocal": torch.reciprocal,
    "Relu": torch.relu,
    "Round": torch.round,
    "Sigmoid": torch.sigmoid,
    "Sign": torch.sign,
    "Sin": torch.sin,
    "Sinh": torch.sinh,
    "Softplus": functional.softplus,
    "Softsign": functional.softsign,
    "Sqrt": torch.sqrt,
    "Tan": torch.tan,
    "Tanh": torch.tanh,
}
for _name, _function in _UNARY.items():
    implements(_name)(_unary(_function))

_BINARY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Add": torch.add,
    "And": torch.logical_and,
    "Equal": torch.eq,
    "Greater": torch.gt,
    "GreaterOrEqual": torch.ge,
    "Less": torch.lt,
    "LessOrEqual": torch.le,
    "Mul": torch.mul,
    "Or": torch.logical_or,
    "Sub": torch.sub,
    "Xor": torch.logical_xor,
}
for _name, _of_two in _BINARY.items():
    implements(_name)(_binary(_of_two))

_VARIADIC: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Max": torch.maximum,
    "Min": torch.minimum,
    "Sum": torch.add,
}
for _name, _of_two in _VARIADIC.items():
    implements(_name)(_variadic(_of_two))


@implements("Mean")
def _mean(*inputs: Tensor) -> Tensor:
    return reduce(torch.add, together(*inputs)) / len(inputs)


@implements("Div")
def _div(a: Tensor, b: Tensor) -> Tensor:
    a, b = together(a, b)
    if a.is_floating_point() or b.is_floating_point():
        return a / b
    _check_divisor(a, b)
    return torch.div(a, b, rounding_mode="trunc")


def _check_divisor(a: Tensor, b: Tensor) -> None:
    """Refuse integer divisions that processors answer with a signal, which ends the process.

    Raises:
        ValueError: An integer is divided by zero, or the smallest integer by -1.
    """
    if a.is_floating_point() or b.is_floating_point() or a.is_meta or b.is_meta:
        return
    if (b == 0).any():
        raise ValueError("an integer is divided by zero")
    kind = torch.promote_types(a.dtype, b.dtype)
    lowest = 0 if kind == torch.bool else torch.iinfo(kind).min
    if lowest < 0 and ((a == lowest) & (b == -1)).any():
        raise ValueError(f"{lowest} is divided by -1")


@implements("Pow")
def _pow(base: Tensor, exponent: Tensor) -> Tensor:
    if exponent.ndim == 0 and exponent.device.type == "cpu":
        return torch.pow(base, exponent.item()).to(base.dtype)
    base, exponent = together(base, exponent)
    return torch.pow(base, exponent).to(base.dtype)


@implements("Mod")
def _mod(a: Tensor, b: Tensor, *, fmod: bool = False) -> Tensor:
    a, b = together(a, b)
    _check_divisor(a, b)
    return torch.fmod(a, b) if fmod else torch.remainder(a, b)


@implements("Where")
def _where(condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    condition, a, b = together(condition, a, b)
    return torch.where(condition, a, b)


@implements("IsInf")
def _is_inf(x: Tensor, *, detect_negative: bool = True, detect_positive: bool = True) -> Tensor:
    negative = torch.isneginf(x) & detect_negative
    return negative | torch.isposinf(x) & detect_positive


@implements("Clip")
def _clip(x: Tensor, *, min: float = -math.inf, max: float = math.inf) -> Tensor:  # noqa: A002  ONNX's names
    return x.clamp(min, max)


@implements("Clip", since=11)
def _clip_11(x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    low = None if low is None else low.to(x.device)
    high = None if high is None else high.to(x.device)
    return x if low is None and high is None else torch.clamp(x, low, high)


@implements("PRelu")
def _prelu(x: Tensor, slope: Tensor) -> Tensor:
    x, slope = together(x, slope)
    return torch.relu(x) - slope * torch.relu(-x)


@implements("LeakyRelu")
def _leaky_relu(x: Tensor, *, alpha: float = 0.01) -> Tensor:
    return functional.leaky_relu(x, alpha)


@implements("ThresholdedRelu")
def _thresholded_relu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    return torch.where(x > alpha, x, 0)


@implements("Elu")
def _elu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    return functional.elu(x, alpha)


@implements("Celu")
def _celu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    return functional.celu(x, alpha)


@implements("Selu")
def _selu(
    x: Tensor,
    *,
    alpha: float = 1.67326319217681884765625,
    gamma: float = 1.05070102214813232421875,
) -> Tensor:
    return gamma * functional.elu(x, alpha)


@implements("Gelu", MICROSOFT + "Gelu")
def _gelu(x: Tensor, *, approximate: Literal["none", "tanh"] = "none") -> Tensor:
    return functional.gelu(x, approximate=approximate)


@implements("Swish")
def _swish(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    return x * torch.sigmoid(alpha * x)


@implements(MICROSOFT + "QuickGelu")
def _quick_gelu(x: Tensor, *, alpha: float = 1.702) -> Tensor:
    return x * torch.sigmoid(alpha * x)


@implements("HardSigmoid")
def _hard_sigmoid(x: Tensor, *, alpha: float = 0.2, beta: float = 0.5) -> Tensor:
    return (alpha * x + beta).clamp(0, 1)


@implements("Shrink")
def _shrink(x: Tensor, *, lambd: float = 0.5, bias: float = 0.0) -> Tensor:
    return torch.where(x < -lambd, x + bias, torch.where(x > lambd, x - bias, 0))


@implements("Dropout")
def _dropout(x: Tensor, *, ratio: float = 0.5, outputs: tuple[bool, ...]) -> tuple[Tensor, ...]:  # noqa: ARG001
    """The identity: a network that is explained is in use, not in training."""
    return (x, torch.ones_like(x, dtype=torch.bool)) if outputs[1:] == (True,) else (x,)


@implements("Dropout", since=12)
def _dropout_12(
    x: Tensor,
    ratio: Tensor | None = None,  # noqa: ARG001
    training_mode: Tensor | None = None,
    *,
    seed: int = 0,  # noqa: ARG001
    outputs: tuple[bool, ...],
) -> tuple[Tensor, ...]:
    if training_mode is not None and bool(training_mode):
        raise NotImplementedError("in training mode")
    return _dropout(x, outputs=outputs)


@implements("CumSum")
def _cumsum(x: Tensor, axis: Tensor, *, exclusive: bool = False, reverse: bool = False) -> Tensor:
    dim = int(axis)
    ordered = x.flip(dim) if reverse else x
    total = ordered.cumsum(dim)
    if exclusive:
        total = total - ordered
    return total.flip(dim) if reverse else total

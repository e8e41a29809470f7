"""One step of a network while it is explained: forward, backward to its input, and nothing that nobody asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from leam.recognizers.dlib_resnet import Affine
from leam.recognizers.onnx_layers import Clamp

Tap = Callable[[Tensor, Tensor], None]
"""Told a layer's activations and their gradients, as soon as the backward pass has both."""


def is_convolution(module: nn.Module) -> bool:
    """Whether a module is torch's plain convolution of images, padded with zeros."""
    return (
        type(module) is nn.Conv2d
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
    )


def is_affine(module: nn.Module) -> bool:
    """Whether a module is a gain and a shift for each channel: a frozen batch normalisation is one."""
    if type(module) is nn.BatchNorm2d:
        return module.running_mean is not None and not module.training
    return type(module) is Affine


def is_activation(module: nn.Module) -> bool:
    """Whether a module limits values, or has a slope for negative ones."""
    return type(module) in {nn.PReLU, nn.ReLU, nn.ReLU6, nn.Hardtanh, Clamp}


@dataclass(frozen=True)
class Limits:
    """``min(max(x, low), high)``, whose gradient passes where ``above < x < below``."""

    low: float
    high: float
    above: float
    below: float

    @classmethod
    def of(cls, module: nn.Module) -> Limits:
        """The limits of an activation; torch's own let no gradient pass at a limit, a clamp does."""
        if isinstance(module, Clamp):
            above = torch.nextafter(torch.tensor(module.low), torch.tensor(-math.inf)).item()
            below = torch.nextafter(torch.tensor(module.high), torch.tensor(math.inf)).item()
            return cls(module.low, module.high, above, below)
        if isinstance(module, nn.Hardtanh):
            low, high = float(module.min_val), float(module.max_val)
            return cls(low, high, low, high)
        return cls(0.0, math.inf, 0.0, math.inf)

    def then(self, other: Limits) -> Limits:
        """These limits and then others, as one."""
        return Limits(
            min(max(self.low, other.low), other.high),
            min(max(self.high, other.low), other.high),
            max(self.above, other.above),
            min(self.below, other.below),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same."""
        return x.clamp(self.low, self.high)

    def backward(self, gradient: Tensor, x: Tensor) -> Tensor:
        """The gradient at ``x``, from that of the output."""
        if self.below == math.inf:
            passed: Tensor = torch.ops.aten.threshold_backward(gradient, x, self.above)
        else:
            passed = torch.ops.aten.hardtanh_backward(gradient, x, self.above, self.below)
        return passed


@dataclass(frozen=True)
class Slopes:
    """``x`` where it is positive, else a slope times ``x``, one for all channels or one for each (PReLU)."""

    slopes: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, ...)`` to the same shape."""
        return functional.prelu(x, self.slopes)

    def backward(self, gradient: Tensor, x: Tensor) -> Tensor:
        """The gradient at ``x``, from that of the output; none of the slopes."""
        passed: Tensor = torch.ops.aten.threshold_backward(gradient, x, 0.0)
        # From the positive part's gradient to all of it: 0 + slope (g - 0), or g + slope (g - g).
        return passed.lerp_(gradient, _by_channel(self.slopes, x))


class Step:
    """A unit's modules as one function; see :mod:`leam.mapping.units`.

    Args:
        modules: At most one convolution, then normalisations, then activations.
        tap: Told the first module's output and its gradient.
        copy: Whether that output is handed on as a copy, since a later step overwrites it.
    """

    def __init__(self, modules: Sequence[nn.Module], tap: Tap | None, *, copy: bool) -> None:
        self.tap = tap
        self.copy = copy
        self.convolution = modules[0] if isinstance(modules[0], nn.Conv2d) else None
        self.affines = [module for module in modules if is_affine(module)]
        self.activation = _activation([module for module in modules if is_activation(module)])
        self.gain = _gain(self.affines)
        # What is kept for the tap while others can write into it, and its state.
        self._kept: tuple[Tensor, int] | None = None

    def run(self, x: Tensor, anchor: Tensor) -> Tensor:
        """The output, joined to the graph where the input is, or where the step is tapped."""
        result: Tensor = _Run.apply(x, anchor if self.tap else None, self)  # type: ignore[no-untyped-call]
        return result

    def keep(self, output: Tensor) -> None:
        """Remember the state of an output that is handed on as well as kept."""
        self._kept = (output, output._version)  # noqa: SLF001  torch counts in-place writes here alone

    def settle(self) -> bool:
        """Whether a later step wrote into what is kept; asked once, after the forward pass."""
        kept, self._kept = self._kept, None
        return kept is not None and kept[0]._version != kept[1]  # noqa: SLF001

    def convolve(self, x: Tensor) -> Tensor:
        """The convolution's output; the input where the unit has none."""
        if self.convolution is None:
            return x
        c = self.convolution
        return torch.conv2d(x, c.weight, c.bias, c.stride, c.padding, c.dilation, c.groups)

    def normalise(self, x: Tensor) -> Tensor:
        """What the normalisations make of it, one after another, so that nothing is rounded otherwise."""
        for module in self.affines:
            x = _normalised(module, x)
        return x

    def convolve_backward(self, gradient: Tensor, shape: torch.Size, layout: Any) -> Tensor:  # noqa: ANN401
        """The gradient at the convolution's input, of this shape; none of its weights."""
        if self.convolution is None:
            return gradient
        c = self.convolution
        # Of the input only the shape matters; this memory is never touched.
        blank = torch.empty(
            shape, dtype=gradient.dtype, device=gradient.device, memory_format=layout
        )
        found: Tensor = torch.ops.aten.convolution_backward(
            gradient, blank, c.weight, None, c.stride, c.padding, c.dilation,
            False, [0, 0], c.groups, [True, False, False],  # noqa: FBT003
        )[0]  # fmt: skip
        return found


class _Run(torch.autograd.Function):
    """A step in torch's graph."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, _anchor: Tensor | None, step: Step) -> Tensor:  # noqa: ANN401
        convolved = step.convolve(x)
        normalised = step.normalise(convolved)
        result = step.activation.forward(normalised) if step.activation else normalised
        if step.tap and result is convolved:
            result = convolved.clone() if step.copy else convolved
            step.keep(convolved)
        ctx.save_for_backward(
            convolved if step.tap else None, normalised if step.activation else None
        )
        ctx.step, ctx.shape, ctx.layout = step, x.shape, _layout(x)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:  # noqa: ANN401
        (gradient,) = gradients
        step: Step = ctx.step
        convolved, normalised = ctx.saved_tensors
        if step.activation:
            gradient = step.activation.backward(gradient, normalised)
        if step.gain is not None:
            gain = _by_channel(step.gain, gradient)
            # Only what was made here may be overwritten.
            gradient = gradient.mul_(gain) if step.activation else gradient * gain
        if step.tap:
            step.tap(convolved, gradient)
        if not ctx.needs_input_grad[0]:
            return None, None, None
        return step.convolve_backward(gradient, ctx.shape, ctx.layout), None, None


def _activation(modules: Sequence[nn.Module]) -> Limits | Slopes | None:
    """The activations of a unit as one."""
    if modules and isinstance(modules[0], nn.PReLU):
        return Slopes(modules[0].weight.detach())
    limits = None
    for module in modules:
        found = Limits.of(module)
        limits = limits.then(found) if limits else found
    return limits


def _gain(affines: Sequence[nn.Module]) -> Tensor | None:
    """The gain ``(C,)`` of normalisations in a row."""
    gain: Tensor | None = None
    for module in affines:
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_var is not None  # noqa: S101  is_affine makes sure of it
            found = torch.rsqrt(module.running_var + module.eps)
            found = found * module.weight.detach() if module.affine else found
        else:
            found = module.weight.detach()  # type: ignore[operator]
        gain = found if gain is None else gain * found
    return gain


def _normalised(module: nn.Module, x: Tensor) -> Tensor:
    """What a normalisation gives, bit for bit."""
    if isinstance(module, nn.BatchNorm2d):
        return functional.batch_norm(
            x, module.running_mean, module.running_var, module.weight, module.bias, eps=module.eps
        )
    return (x * _by_channel(module.weight, x)).add_(_by_channel(module.bias, x))  # type: ignore[arg-type]


def _layout(x: Tensor) -> torch.memory_format:
    last = x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last)  # noqa: PLR2004
    return torch.channels_last if last and not x.is_contiguous() else torch.contiguous_format


def _by_channel(values: Tensor, like: Tensor) -> Tensor:
    """Values ``(C,)`` or ``(1,)`` so that they multiply ``(B, C, ...)`` by channel."""
    return values.view(1, -1, *[1] * (like.ndim - 2))

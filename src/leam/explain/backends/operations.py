"""One step of a network while it is explained: forward, backward to its input, and nothing that nobody asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from leam.explain.backends import kernels as compiled
from leam.explain.backends.kernels import Affine
from leam.recognizers.architectures import dlib_resnet
from leam.recognizers.onnx.layers import Clamp, Shift

# An attribute of a gradient: the step that may write over it.
_OWNER = "leam_owner"

Tap = Callable[[Tensor, Tensor, Tensor | None], None]
"""Told a layer's activations and their gradients, as soon as the backward pass has both; and what
:func:`leam.mapping.compiled.positive` makes of them, where a loop had both at hand."""


def is_convolution(module: nn.Module) -> bool:
    """Whether a module is torch's plain convolution of images, padded with zeros."""
    return (
        type(module) is nn.Conv2d
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
    )


def is_affine(module: nn.Module) -> bool:
    """Whether a module is a gain and a shift for each channel, or either: a frozen batch normalisation is one."""
    if type(module) is nn.BatchNorm2d:
        return module.running_mean is not None and not module.training
    return type(module) in {dlib_resnet.Affine, Shift}


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

    @property
    def strict(self) -> bool:
        """Whether no gradient passes at a limit, so that the output has the derivative of the input."""
        return (self.low, self.high) == (self.above, self.below)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same."""
        return x.clamp(self.low, self.high)

    def forward_(self, x: Tensor) -> Tensor:
        """The same, written over the input."""
        return x.clamp_(self.low, self.high)

    def backward(self, gradient: Tensor, x: Tensor) -> Tensor:
        """The gradient at ``x``, from that of the output."""
        if self.below == math.inf:
            passed: Tensor = torch.ops.aten.threshold_backward(gradient, x, self.above)
        else:
            passed = torch.ops.aten.hardtanh_backward(gradient, x, self.above, self.below)
        return passed

    def after(self, x: Tensor, affine: Affine) -> Tensor | None:
        """The same after a gain and a shift, in one loop; None where :mod:`leam.explain.backends.kernels` does not fit."""
        return compiled.limits(x, self.low, self.high, affine)

    def after_backward(
        self, gradient: Tensor, x: Tensor, affine: Affine, *, owned: bool = False
    ) -> tuple[Tensor, Tensor]:
        """The gradient at ``x`` of :meth:`after`, and the sum of its positive contributions."""
        return compiled.limits_backward(gradient, x, self.above, self.below, affine, owned=owned)


_NO_LIMITS = Limits(-math.inf, math.inf, -math.inf, math.inf)


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

    def after(self, x: Tensor, affine: Affine) -> Tensor | None:
        """The same after a gain and a shift, in one loop; None where :mod:`leam.explain.backends.kernels` does not fit."""
        return compiled.slopes(x, self.slopes, affine)

    def after_backward(
        self, gradient: Tensor, x: Tensor, affine: Affine, *, owned: bool = False
    ) -> tuple[Tensor, Tensor]:
        """The gradient at ``x`` of :meth:`after`, and the sum of its positive contributions."""
        return compiled.slopes_backward(gradient, x, self.slopes, affine, owned=owned)


class Step:
    """A unit's modules as one function; see :mod:`leam.explain.backends.fusion`.

    Args:
        modules: At most one convolution, then normalisations, then activations.
        tap: Told the first module's output and its gradient.
        copy: Whether that output is handed on as a copy, since a later step overwrites it.
        products: Whether the tap needs no output where the gradient is zero.
    """

    def __init__(
        self, modules: Sequence[nn.Module], tap: Tap | None, *, copy: bool, products: bool = False
    ) -> None:
        self.tap = tap
        self.copy = copy
        self.convolution = modules[0] if isinstance(modules[0], nn.Conv2d) else None
        self.affines = [module for module in modules if is_affine(module)]
        self.activation = _activation([module for module in modules if is_activation(module)])
        found = [_affine(module) for module in self.affines]
        self._last = found[-1] if found else None
        # None where there is a shift alone, which no gradient notices.
        self.gains = [
            None if isinstance(module, Shift) else gain
            for module, (gain, _) in zip(self.affines, found, strict=True)
        ]
        # Limits change only what then has no gradient, so the convolution's output may be limited in its own memory.
        self.in_place = (
            products
            and tap is not None
            and not self.affines
            and isinstance(self.activation, Limits)
            and self.activation.strict
        )
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

    def normalise(self, x: Tensor, affines: Sequence[nn.Module]) -> Tensor:
        """What normalisations make of it, one after another, so that nothing is rounded otherwise."""
        for module in affines:
            x = _normalised(module, x)
        return x

    def activate(self, x: Tensor) -> tuple[Tensor, Tensor, bool]:
        """Normalisations and activation of the convolution's output.

        Args:
            x: The convolution's output.

        Returns:
            The step's output; what the activation was given, or what has the same derivative; and whether one loop may
            do its backward pass and that of the last normalisation, which is then not in it.
        """
        if self.in_place and isinstance(self.activation, Limits):
            x = self.activation.forward_(x)
            return x, x, compiled.fits(x)
        given = self.normalise(x, self.affines[:-1])
        # What others may still write into must not be kept.
        if self.activation and (self.convolution or not self.affines):
            found = self.activation.after(given, self._last_affine(given))
            if found is not None:
                return found, given, True
        normalised = self.normalise(given, self.affines[-1:])
        if self.activation:
            return self.activation.forward(normalised), normalised, False
        # A gain alone is worth a loop backward, which gives the sums, too; a shift alone has nothing to do there.
        gained = self.convolution is not None and bool(self.gains) and self.gains[-1] is not None
        return normalised, given, gained and compiled.fits(given)

    def activate_backward(
        self, gradient: Tensor, given: Tensor, *, joined: bool, owned: bool
    ) -> tuple[Tensor, Tensor | None]:
        """The gradient at the convolution's output, from that of the step's output.

        Args:
            gradient: Of the step's output.
            given: As :meth:`activate` gave it.
            joined: Likewise.
            owned: Whether nobody else holds the gradient, so that it may be written over.

        Returns:
            The gradient, and the sum of its positive contributions, where one loop made both.
        """
        gains = self.gains
        if joined:
            gradient, sums = (self.activation or _NO_LIMITS).after_backward(
                gradient, given, self._last_affine(given), owned=owned
            )
            gains = gains[:-1]
            if not gains:
                return gradient, sums
        elif self.activation:
            gradient = self.activation.backward(gradient, given)
        scales = [gain for gain in gains if gain is not None]
        if not scales:
            return gradient, None
        gain = _by_channel(math.prod(scales[1:], start=scales[0]), gradient)
        # Only what was made here may be overwritten.
        return gradient.mul_(gain) if self.activation else gradient * gain, None

    def _last_affine(self, x: Tensor) -> Affine:
        """The last normalisation, or what changes nothing."""
        return self._last or _no_affine(x.shape[1])

    def convolve_backward(self, gradient: Tensor, shape: torch.Size, layout: Any) -> Tensor:  # noqa: ANN401
        """The gradient at the convolution's input, of this shape; none of its weights."""
        if self.convolution is None:
            return gradient
        c = self.convolution
        if _turns(c) and gradient.device.type == "cpu":
            return torch.conv2d(gradient, c.weight.flip(2, 3), None, 1, _reach(c), 1, c.groups)
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
        result, given, joined = step.activate(convolved)
        if step.tap and result is convolved:
            result = convolved.clone() if step.copy else convolved
            step.keep(convolved)
        kept = given if step.activation or joined else None
        ctx.save_for_backward(convolved if step.tap else None, kept)
        ctx.step, ctx.joined, ctx.shape, ctx.layout = step, joined, x.shape, _layout(x)
        ctx.giver = _giver(x) if step.convolution else None
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:  # noqa: ANN401
        (gradient,) = gradients
        step: Step = ctx.step
        convolved, given = ctx.saved_tensors
        owned = getattr(gradient, _OWNER, None) is step
        gradient, sums = step.activate_backward(gradient, given, joined=ctx.joined, owned=owned)
        if step.tap:
            step.tap(convolved, gradient, sums)
        if not ctx.needs_input_grad[0]:
            return None, None, None
        gradient = step.convolve_backward(gradient, ctx.shape, ctx.layout)
        if ctx.giver:
            # New, and on its way to that step alone; if others' gradients are added to it, the sum is that step's, too,
            # or another tensor.
            setattr(gradient, _OWNER, ctx.giver)
        return gradient, None, None


def _giver(x: Tensor) -> Step | None:
    """The step that gave a tensor, if no one but steps will see its gradient."""
    step = getattr(x.grad_fn, "step", None)
    seen = x._backward_hooks or x.retains_grad  # noqa: SLF001  torch has no other name for a tensor's hooks
    return step if isinstance(step, Step) and not seen else None


def _activation(modules: Sequence[nn.Module]) -> Limits | Slopes | None:
    """The activations of a unit as one."""
    if modules and isinstance(modules[0], nn.PReLU):
        return Slopes(modules[0].weight.detach())
    limits = None
    for module in modules:
        found = Limits.of(module)
        limits = limits.then(found) if limits else found
    return limits


@cache
def _no_affine(channels: int) -> Affine:
    return torch.ones(channels), torch.zeros(channels)


def _affine(module: nn.Module) -> Affine:
    """The gain and the shift of a normalisation."""
    if isinstance(module, Shift):
        return torch.ones_like(module.bias), module.bias
    if not isinstance(module, nn.BatchNorm2d):
        return module.weight.detach(), module.bias.detach()  # type: ignore[operator]
    mean, variance = module.running_mean, module.running_var
    assert mean is not None  # noqa: S101  is_affine makes sure of it
    assert variance is not None  # noqa: S101
    gain, shift = torch.rsqrt(variance + module.eps), torch.zeros_like(mean)
    if module.affine:
        gain, shift = gain * module.weight.detach(), module.bias.detach()
    # Rounded once, as torch does: a last digit decides on which side of an activation's kink a value lies. Only loops
    # on a processor read the shift, and other devices may lack double precision.
    exact = torch.float64 if mean.device.type == "cpu" else mean.dtype
    return gain, (shift.to(exact) - mean.to(exact) * gain.to(exact)).to(shift)


def _normalised(module: nn.Module, x: Tensor) -> Tensor:
    """What a normalisation gives, bit for bit."""
    if isinstance(module, Shift):
        return x + _by_channel(module.bias, x)
    if isinstance(module, nn.BatchNorm2d):
        return functional.batch_norm(
            x, module.running_mean, module.running_var, module.weight, module.bias, eps=module.eps
        )
    return (x * _by_channel(module.weight, x)).add_(_by_channel(module.bias, x))  # type: ignore[arg-type]


def _turns(c: nn.Conv2d) -> bool:
    """Whether the gradient is a convolution, too, by the kernels turned around, for which a processor has faster code.

    So it is for any of stride 1; but only by channel was it measured to gain, a quarter to a third of the time.
    """
    return (
        c.groups == c.in_channels == c.out_channels
        and c.stride == c.dilation == (1, 1)
        and all(reach >= 0 for reach in _reach(c))
    )


def _reach(c: nn.Conv2d) -> tuple[int, int]:
    """By how much turned kernels reach beyond the gradient."""
    return c.kernel_size[0] - 1 - int(c.padding[0]), c.kernel_size[1] - 1 - int(c.padding[1])


def _layout(x: Tensor) -> torch.memory_format:
    last = x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last)  # noqa: PLR2004
    return torch.channels_last if last and not x.is_contiguous() else torch.contiguous_format


def _by_channel(values: Tensor, like: Tensor) -> Tensor:
    """Values ``(C,)`` or ``(1,)`` so that they multiply ``(B, C, ...)`` by channel."""
    return values.view(1, -1, *[1] * (like.ndim - 2))

"""A convolution, its frozen normalisations and its activation as one operation, with the gradient of its input only."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, reduce
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from leam.recognizers.architectures import dlib_resnet
from leam.recognizers.onnx.layers import Clamp, Shift

# Compiling kernels takes two seconds, once in a process; for fewer faces they save milliseconds.
LEAST_FACES = 4
# Measured: for fewer numbers torch's operations are as fast.
LEAST_NUMBERS = 1 << 13

Hook = Callable[[Tensor, Tensor, Tensor | None], None]
"""Called with a layer's activations and gradients as soon as the backward pass has both, and with the weighting
``positive`` of the two where a kernel has computed it along the way."""

Affine = tuple[Tensor | None, Tensor]
"""A gain (None for 1) and a shift for each channel, ``(C,)``."""


def is_convolution(module: nn.Module) -> bool:
    """Whether a module is torch's two-dimensional convolution, padded with zeros."""
    return (
        type(module) is nn.Conv2d
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
    )


def is_affine(module: nn.Module) -> bool:
    """Whether a module applies a gain and a shift to each channel, as a frozen batch normalisation does."""
    if type(module) is nn.BatchNorm2d:
        return module.running_mean is not None and not module.training
    return type(module) in {dlib_resnet.Affine, Shift}


def is_activation(module: nn.Module) -> bool:
    """Whether a module is a piecewise linear activation."""
    return type(module) in {nn.PReLU, nn.ReLU, nn.ReLU6, nn.Hardtanh, Clamp}


def kernel(name: str, *tensors: Tensor) -> Callable[..., None] | None:
    """A compiled kernel, or None where torch's operations are to be used.

    Kernels run on one thread, on ``(B, C, h, w)`` float32 tensors whose channels lie side by side.
    """
    if torch.get_num_threads() > 1 or len(tensors[0]) < LEAST_FACES:
        return None
    if not all(map(_fits, tensors)):
        return None
    found: Callable[..., None] | None = getattr(_compiled(), name, None)
    return found


def _fits(x: Tensor) -> bool:
    return (
        x.ndim == 4  # noqa: PLR2004
        and x.dtype == torch.float32
        and x.device.type == "cpu"
        and x.numel() >= LEAST_NUMBERS
        and x.is_contiguous(memory_format=torch.channels_last)
    )


@cache
def _compiled() -> ModuleType | None:
    # numba may be missing, or made for another version of NumPy.
    try:
        from leam.explain.backends import _kernels  # noqa: PLC0415
    except ImportError:
        return None
    return _kernels if _kernels.ENABLED else None


def rows(x: Tensor) -> Any:  # noqa: ANN401
    """A tensor ``(B, C, h, w)`` as a kernel takes it: a view ``(B h w, C)``."""
    return x.detach().permute(0, 2, 3, 1).reshape(-1, x.shape[1]).numpy()


def positive(activations: Tensor, gradients: Tensor) -> Tensor | None:
    """The weighting ``positive`` by a kernel, ``(B, h, w)``; None where there is none."""
    run = kernel("positive", activations, gradients)
    if run is None or activations.shape != gradients.shape:
        return None
    sums = activations.new_empty(activations.shape[0], *activations.shape[2:])
    run(rows(activations), rows(gradients), sums.view(-1).numpy())
    return sums


@dataclass(frozen=True)
class Activation:
    """A piecewise linear activation: limits, or slopes below zero.

    Attributes:
        low: The lower limit, below which the slope is ``slopes``.
        high: The upper limit.
        above: Gradients pass where ``above < x < below``; a clamp lets them pass at its limits, ReLU does not.
        below: See ``above``.
        slopes: Of a PReLU, ``(C,)`` or ``(1,)``; None stands for zero.
    """

    low: float
    high: float
    above: float
    below: float
    slopes: Tensor | None = None

    @classmethod
    def of(cls, module: nn.Module) -> Activation:
        """The activation of a module."""
        if isinstance(module, Clamp):
            limits = torch.tensor([module.low, module.high])
            below, above = torch.nextafter(limits, torch.tensor([-math.inf, math.inf])).tolist()
            return cls(module.low, module.high, below, above)
        if isinstance(module, nn.Hardtanh):
            low, high = float(module.min_val), float(module.max_val)
            return cls(low, high, low, high)
        slopes = module.weight.detach() if isinstance(module, nn.PReLU) else None
        return cls(0.0, math.inf, 0.0, math.inf, slopes)

    def then(self, other: Activation) -> Activation:
        """Two pairs of limits, one after the other, as one."""
        return Activation(
            min(max(self.low, other.low), other.high),
            min(max(self.high, other.low), other.high),
            max(self.above, other.above),
            min(self.below, other.below),
        )

    @property
    def in_place(self) -> bool:
        """Whether it changes only values that then have no gradient, so that the output has the input's derivative."""
        return self.slopes is None and (self.low, self.high) == (self.above, self.below)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same."""
        if self.slopes is not None:
            return functional.prelu(x, self.slopes)
        return x.clamp(self.low, self.high)

    def backward(self, gradient: Tensor, x: Tensor) -> Tensor:
        """The gradient at ``x`` from that of the output."""
        if self.below < math.inf:
            passed: Tensor = torch.ops.aten.hardtanh_backward(gradient, x, self.above, self.below)
            return passed
        passed = torch.ops.aten.threshold_backward(gradient, x, self.above)
        if self.slopes is None:
            return passed
        # Where x is positive both are the gradient, elsewhere the first is zero.
        return passed.lerp_(gradient, by_channel(self.slopes, x))


_NO_ACTIVATION = Activation(-math.inf, math.inf, -math.inf, math.inf)


class FusedOperation:
    """The modules of a :class:`leam.explain.backends._fusion.Chain` as one operation, during one call.

    Args:
        modules: At most one convolution, then normalisations, then activations.
        hook: Called with the convolution's output and its gradient; None where that is not explained.
        copy: Whether the network goes on with a copy of the convolution's output, since it overwrites that later.
        products: Whether the hook ignores activations whose gradient is zero.
    """

    def __init__(
        self, modules: Sequence[nn.Module], hook: Hook | None, *, copy: bool, products: bool
    ) -> None:
        self.hook, self.copy = hook, copy
        self.convolution = modules[0] if isinstance(modules[0], nn.Conv2d) else None
        self.affines = [module for module in modules if is_affine(module)]
        self.constants = [_affine(module) for module in self.affines]
        self.activation = _joined([module for module in modules if is_activation(module)])
        self.in_place = (
            products
            and hook is not None
            and not self.affines
            and self.activation is not None
            and self.activation.in_place
        )
        self._kept: tuple[Tensor, int] | None = None

    def run(self, x: Tensor, anchor: Tensor) -> Tensor:
        """The output. It is part of the graph where the input is, or where the operation has a hook."""
        result: Tensor = _Function.apply(x, anchor if self.hook else None, self)  # type: ignore[no-untyped-call]
        return result

    def keep(self, output: Tensor) -> None:
        """Remember the version of an output that both the network and the hook read."""
        self._kept = (output, output._version)  # noqa: SLF001  torch counts in-place writes here alone

    def overwritten(self) -> bool:
        """Whether the network has overwritten what the hook will read; asked once, after the forward pass."""
        kept, self._kept = self._kept, None
        return kept is not None and kept[0]._version != kept[1]  # noqa: SLF001

    def convolve(self, x: Tensor) -> Tensor:
        """The convolution's output; the input where there is no convolution."""
        if self.convolution is None:
            return x
        c = self.convolution
        return torch.conv2d(x, c.weight, c.bias, c.stride, c.padding, c.dilation, c.groups)

    def activate(self, x: Tensor) -> tuple[Tensor, Tensor, bool]:
        """Normalise and activate the convolution's output.

        Returns:
            The operation's output; what the backward pass needs; and whether a kernel does the backward pass from
            before the last normalisation.
        """
        if self.in_place and self.activation:
            x = x.clamp_(self.activation.low, self.activation.high)
            return x, x, kernel("activate_backward", x) is not None
        given = x
        for module in self.affines[:-1]:
            given = _normalised(module, given)
        # The network may overwrite the operation's own input, which must not be kept then.
        own = given is not x or self.convolution is not None or not self.affines
        useful = self.activation or (self.constants and self.constants[-1][0] is not None)
        joined = bool(own and useful and kernel("activate_backward", given))
        if joined and self.affines and self.activation and (run := kernel("activate", given)):
            result = torch.empty_like(given)
            limits = np.float32(self.activation.low), np.float32(self.activation.high)
            run(rows(given), *self._constants(given), *limits, rows(result))
            return result, given, True
        normalised = _normalised(self.affines[-1], given) if self.affines else given
        result = self.activation.forward(normalised) if self.activation else normalised
        return result, given if joined else normalised, joined

    def activate_backward(
        self, gradient: Tensor, given: Tensor, *, joined: bool
    ) -> tuple[Tensor, Tensor | None]:
        """The gradient at the convolution's output from that of the operation's output.

        Args:
            gradient: Of the operation's output.
            given: From :meth:`activate`.
            joined: From :meth:`activate`.

        Returns:
            The gradient, and the weighting ``positive`` of it, where a kernel has computed both.
        """
        gains: list[Tensor | None] = [gain for gain, _ in self.constants]
        new, sums = False, None
        if joined:
            gradient, sums = self._kernel_backward(gradient, given)
            gains, new = gains[:-1], True
        elif self.activation:
            gradient, new = self.activation.backward(gradient, given), True
        for gain in gains:
            if gain is not None:
                scale = by_channel(gain, gradient)
                gradient, new, sums = gradient.mul_(scale) if new else gradient * scale, True, None
        return gradient, sums

    def _kernel_backward(self, gradient: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
        run = kernel("activate_backward", given)
        assert run is not None  # noqa: S101  activate() has asked
        activation, result = self.activation or _NO_ACTIVATION, torch.empty_like(given)
        sums = given.new_empty(given.shape[0], *given.shape[2:])
        limits = np.float32(activation.above), np.float32(activation.below)
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        operands = rows(gradient), rows(given), *self._constants(given), *limits
        run(*operands, rows(result), sums.view(-1).numpy())
        return result, sums

    def _constants(self, x: Tensor) -> list[Any]:
        """The last gain and shift and the slopes, as kernels take them."""
        gain, shift = self.constants[-1] if self.constants else (None, None)
        slopes = self.activation.slopes if self.activation else None
        pairs = (gain, 1.0), (shift, 0.0), (slopes, 0.0)
        return [
            torch.full((), default).expand(x.shape[1]).contiguous().numpy()
            if values is None
            else values.to(torch.float32).expand(x.shape[1]).contiguous().numpy()
            for values, default in pairs
        ]

    def convolve_backward(self, gradient: Tensor, shape: torch.Size, layout: Any) -> Tensor:  # noqa: ANN401
        """The gradient at the convolution's input of this shape, without those of the weights."""
        if self.convolution is None:
            return gradient
        c = self.convolution
        if _is_transposable(c) and gradient.device.type == "cpu":
            return torch.conv2d(gradient, c.weight.flip(2, 3), None, 1, _reach(c), 1, c.groups)
        # Only the shape of the input matters; this memory is never read.
        blank = torch.empty(
            shape, dtype=gradient.dtype, device=gradient.device, memory_format=layout
        )
        found: Tensor = torch.ops.aten.convolution_backward(
            gradient, blank, c.weight, None, c.stride, c.padding, c.dilation,
            False, [0, 0], c.groups, [True, False, False],  # noqa: FBT003
        )[0]  # fmt: skip
        return found


class _Function(torch.autograd.Function):
    """A fused operation in torch's graph."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, _anchor: Tensor | None, operation: FusedOperation) -> Tensor:  # noqa: ANN401
        convolved = operation.convolve(x)
        result, needed, joined = operation.activate(convolved)
        if operation.hook and result is convolved:
            result = convolved.clone() if operation.copy else convolved
            operation.keep(convolved)
        ctx.save_for_backward(
            convolved if operation.hook else None,
            needed if operation.activation or joined else None,
        )
        ctx.operation, ctx.joined, ctx.shape, ctx.layout = operation, joined, x.shape, _layout(x)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:  # noqa: ANN401
        operation: FusedOperation = ctx.operation
        convolved, needed = ctx.saved_tensors
        gradient, sums = operation.activate_backward(gradients[0], needed, joined=ctx.joined)
        if operation.hook:
            operation.hook(convolved, gradient, sums)
        if not ctx.needs_input_grad[0]:
            return None, None, None
        return operation.convolve_backward(gradient, ctx.shape, ctx.layout), None, None


def _joined(modules: Sequence[nn.Module]) -> Activation | None:
    """Activations in a row as one."""
    return reduce(Activation.then, map(Activation.of, modules)) if modules else None


def _affine(module: nn.Module) -> Affine:
    """The gain and the shift of a normalisation."""
    if isinstance(module, Shift):
        return None, module.bias
    if not isinstance(module, nn.BatchNorm2d):
        return module.weight.detach(), module.bias.detach()  # type: ignore[operator]
    mean, variance = module.running_mean, module.running_var
    assert mean is not None  # noqa: S101  see is_affine
    assert variance is not None  # noqa: S101
    gain, shift = torch.rsqrt(variance + module.eps), torch.zeros_like(mean)
    if module.affine:
        gain, shift = gain * module.weight.detach(), module.bias.detach()
    # Rounded once, as in torch: the last digit decides on which side of an activation's kink a value lies. Only kernels
    # on a CPU read the shift, and other devices may lack double precision.
    exact = torch.float64 if mean.device.type == "cpu" else mean.dtype
    return gain, (shift.to(exact) - mean.to(exact) * gain.to(exact)).to(shift)


def _normalised(module: nn.Module, x: Tensor) -> Tensor:
    """The output of a normalisation, rounded as the module itself does."""
    if isinstance(module, Shift):
        return x + by_channel(module.bias, x)
    if isinstance(module, nn.BatchNorm2d):
        return functional.batch_norm(
            x, module.running_mean, module.running_var, module.weight, module.bias, eps=module.eps
        )
    return (x * by_channel(module.weight, x)).add_(by_channel(module.bias, x))  # type: ignore[arg-type]


def _is_transposable(c: nn.Conv2d) -> bool:
    """Whether the gradient is to be computed as a convolution with flipped weights.

    That holds for any stride of 1; it was faster, by a quarter to a third, only for depthwise convolutions.
    """
    return (
        c.groups == c.in_channels == c.out_channels
        and c.stride == c.dilation == (1, 1)
        and all(reach >= 0 for reach in _reach(c))
    )


def _reach(c: nn.Conv2d) -> tuple[int, int]:
    """The padding of the convolution with flipped weights."""
    return c.kernel_size[0] - 1 - int(c.padding[0]), c.kernel_size[1] - 1 - int(c.padding[1])


def _layout(x: Tensor) -> torch.memory_format:
    last = x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last)  # noqa: PLR2004
    return torch.channels_last if last and not x.is_contiguous() else torch.contiguous_format


def by_channel(values: Tensor, like: Tensor) -> Tensor:
    """Values ``(C,)`` or ``(1,)`` in a shape that multiplies ``(B, C, ...)`` by channel."""
    return values.view(1, -1, *[1] * (like.ndim - 2))

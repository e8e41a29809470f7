"""A convolution, its frozen normalisations and its activation as one operation, with the gradient of its input only."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, reduce
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from leam.explain.weightings import Weighting, positive, signed, without_cancelled
from leam.recognizers.architectures import dlib_resnet
from leam.recognizers.onnx.layers import Clamp, Shift

# Compiling the kernel takes a second, once in a process; for fewer faces it saves milliseconds.
LEAST_FACES = 4
# Measured: for fewer numbers torch's operations are as fast.
LEAST_NUMBERS = 1 << 13
CONVOLUTION, AFFINE, ACTIVATION = 1, 2, 3
_KINDS: dict[type[nn.Module], int] = {
    nn.Conv2d: CONVOLUTION,
    **dict.fromkeys((nn.BatchNorm2d, dlib_resnet.Affine, Shift), AFFINE),
    **dict.fromkeys((nn.PReLU, nn.ReLU, nn.ReLU6, nn.Hardtanh, Clamp), ACTIVATION),
}
# An attribute of a gradient: the operation that alone reads it, and so may overwrite it.
_OWNER = "leam_owner"

Hook = Callable[[Tensor, Tensor, Tensor | None], None]
"""Called with a layer's activations and gradients as soon as the backward pass has both; it may overwrite them later.
Where the kernel has computed the weighting of the two along the way, it is the third argument, and the gradients are of
no use."""

Finish = Callable[[Tensor, Tensor], Tensor]
KERNEL: dict[Weighting, tuple[float, Finish]] = {
    positive: (0.0, lambda sums, _: sums.relu_()),
    signed: (-math.inf, without_cancelled),
}
"""The weightings that the kernel computes: the value that replaces smaller gradients, and the map made of the sums of
products and of their absolute values, ``(B, h, w)`` each."""


def kind(module: nn.Module) -> int:
    """The place of a module in a fused operation: CONVOLUTION, AFFINE or ACTIVATION; 0 for any other module.

    Convolutions are padded with zeros, affine modules have a gain and a shift for each channel, as a frozen batch
    normalisation does, and activations are piecewise linear.
    """
    if isinstance(module, nn.Conv2d):
        usual = module.padding_mode == "zeros" and not isinstance(module.padding, str)
    else:
        usual = not isinstance(module, nn.BatchNorm2d) or module.running_mean is not None
    return _KINDS.get(type(module), 0) if usual else 0


def kernel(x: Tensor) -> Callable[..., None] | None:
    """The compiled backward pass, or None where torch's operations are to be used.

    It runs on one thread, on ``(B, C, h, w)`` float32 tensors whose channels lie side by side.
    """
    large = len(x) >= LEAST_FACES and x.numel() >= LEAST_NUMBERS
    fits = large and x.dtype == torch.float32 and x.device.type == "cpu" and x.ndim == 4  # noqa: PLR2004
    fits = fits and x.is_contiguous(memory_format=torch.channels_last)
    return _compiled() if fits and torch.get_num_threads() == 1 else None


@cache
def _compiled() -> Callable[..., None] | None:
    # numba may be missing, or made for another version of NumPy.
    try:
        from leam.explain.backends import _kernels  # noqa: PLC0415
    except ImportError:
        return None
    return _kernels.backward if _kernels.ENABLED else None


@dataclass(frozen=True)
class Activation:
    """A piecewise linear activation: limits, or a slope below zero.

    Attributes:
        low: The lower limit.
        high: The upper limit.
        above: Gradients pass where ``above < x < below``; a clamp lets them pass at its limits, ReLU does not.
        below: See ``above``.
        slopes: Of a PReLU, ``(C,)`` or ``(1,)``.
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
            above, below = torch.nextafter(limits, torch.tensor([-math.inf, math.inf])).tolist()
            return cls(module.low, module.high, above, below)
        if isinstance(module, nn.Hardtanh):
            low, high = float(module.min_val), float(module.max_val)
            return cls(low, high, low, high)
        slopes = module.weight.detach() if isinstance(module, nn.PReLU) else None
        return cls(0.0, math.inf, 0.0, math.inf, slopes)

    def then(self, other: Activation) -> Activation:
        """Two pairs of limits, one after the other, as one."""
        low, high = (min(max(limit, other.low), other.high) for limit in (self.low, self.high))
        return Activation(low, high, max(self.above, other.above), min(self.below, other.below))

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same."""
        if self.slopes is not None:
            return functional.prelu(x, self.slopes)
        return x.clamp(self.low, self.high)

    def backward(self, gradient: Tensor, x: Tensor) -> Tensor:
        """The gradient at ``x`` from that of the output; a new tensor."""
        if self.below < math.inf:
            passed: Tensor = torch.ops.aten.hardtanh_backward(gradient, x, self.above, self.below)
            return passed
        passed = torch.ops.aten.threshold_backward(gradient, x, self.above)
        # Where x is positive both are the gradient, elsewhere the first is zero.
        return passed if self.slopes is None else passed.lerp_(gradient, self.slopes.view(-1, 1, 1))


_IDENTITY = Activation(-math.inf, math.inf, -math.inf, math.inf)


class FusedOperation:
    """A convolution (or none), normalisations and activations as one operation, during one call.

    Args:
        modules: The modules, in this order.
        hook: Called with the activation's input, which is explained, and its gradient; None where it is not explained.
        weighting: The weighting, if the hook needs nothing else, so that the kernel may compute it; else None.
        copy: Whether the network continues with a copy of what the hook gets, since it may write into it.
    """

    def __init__(
        self,
        modules: Sequence[nn.Module],
        hook: Hook | None,
        *,
        weighting: Weighting | None,
        copy: bool,
    ) -> None:
        self.hook, self.weighting, self.copy = hook, weighting, copy
        self.convolution = modules[0] if isinstance(modules[0], nn.Conv2d) else None
        self.affines = [module for module in modules if kind(module) == AFFINE]
        activations = [Activation.of(module) for module in modules if kind(module) == ACTIVATION]
        self.activation = reduce(Activation.then, activations) if activations else None
        gains = [gain for module in self.affines if (gain := _gain(module)) is not None]
        self.scale = reduce(torch.mul, gains) if gains else None
        self._kernel: Callable[..., None] | None = None
        self._shared: tuple[Tensor, int] | None = None

    @property
    def overwritten(self) -> bool:
        """Whether the network has overwritten what the hook reads."""
        return self._shared is not None and self._shared[0]._version != self._shared[1]  # noqa: SLF001

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """The output, and the activation's input for the hook and the backward pass."""
        if self.convolution:
            # The instance's own ``forward`` is replaced at the moment.
            x = nn.Conv2d.forward(self.convolution, x)
        for module in self.affines:
            x = type(module).forward(module, x)
        self._kernel = kernel(x) if self.hook and self.weighting in KERNEL else None
        if self.activation:
            return self.activation.forward(x), x
        if not self.hook:
            return x, None
        # Without its graph, which refers to this operation. torch counts in-place writes in _version alone.
        self._shared = x.detach(), x._version  # noqa: SLF001
        return (x.clone() if self.copy else x), x

    def backward(self, gradient: Tensor, x: Tensor | None) -> Tensor:
        """The gradient at the convolution's output from that of the operation's output; calls the hook."""
        if self._kernel and self.weighting and self.hook and x is not None:
            gradient, sums = self._run(self._kernel, self.weighting, gradient, x)
            self.hook(x, gradient, sums)
            return gradient
        if self.activation and x is not None:
            gradient = self.activation.backward(gradient, x)
        if self.hook and x is not None:
            self.hook(x, gradient, None)
        if self.scale is None:
            return gradient
        scale = self.scale.view(-1, 1, 1)
        # Only a new gradient may be overwritten.
        return gradient.mul_(scale) if self.activation else gradient * scale

    def _run(
        self, run: Callable[..., None], weighting: Weighting, gradient: Tensor, x: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The gradient at the convolution's output and the weighting, by the kernel."""
        copy = gradient.contiguous if getattr(gradient, _OWNER, None) is self else gradient.clone
        gradient = copy(memory_format=torch.channels_last)
        activation = self.activation or _IDENTITY
        sums, magnitudes = x.new_empty(2, x.shape[0], *x.shape[2:])
        least, finish = KERNEL[weighting]
        run(
            *(values.permute(0, 2, 3, 1).flatten(0, 2).numpy() for values in (gradient, x)),
            _for_each(activation.slopes, 0.0, x.shape[1]),
            _for_each(self.scale, 1.0, x.shape[1]),
            *map(np.float32, (activation.above, activation.below, least)),
            sums.view(-1).numpy(),
            magnitudes.view(-1).numpy(),
        )
        return gradient, finish(sums, magnitudes)


class Function(torch.autograd.Function):
    """A fused operation in torch's graph. An anchor makes it part of the graph where the input is not."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, _anchor: Tensor | None, operation: FusedOperation) -> Tensor:  # noqa: ANN401
        result, saved = operation.forward(x)
        ctx.save_for_backward(saved)
        last = x.is_contiguous(memory_format=torch.channels_last)
        ctx.shape, ctx.layout = x.shape, torch.channels_last if last else torch.contiguous_format
        seen = x._backward_hooks or x.retains_grad  # noqa: SLF001  torch has no public name for a tensor's hooks
        ctx.operation = operation
        ctx.giver = None if seen else getattr(x.grad_fn, "operation", None)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:  # noqa: ANN401
        gradient = ctx.operation.backward(gradients[0], *ctx.saved_tensors)
        if not ctx.needs_input_grad[0]:
            return None, None, None
        if c := ctx.operation.convolution:
            gradient = _convolution_backward(c, gradient, ctx.shape, ctx.layout)
            setattr(gradient, _OWNER, ctx.giver)
        return gradient, None, None


def _convolution_backward(c: nn.Conv2d, gradient: Tensor, shape: torch.Size, layout: Any) -> Tensor:  # noqa: ANN401
    """The gradient at a convolution's input of this shape, without those of the weights; a new tensor."""
    assert not isinstance(c.padding, str)  # noqa: S101  see kind()
    reach = [size - 1 - pad for size, pad in zip(c.kernel_size, c.padding, strict=True)]
    depthwise = c.groups == c.in_channels == c.out_channels
    # Within autocast the convolution ran in another type than that of its weight.
    weight = c.weight.to(gradient.dtype)
    # With a stride of 1 this is a convolution with flipped weights; for depthwise ones that is faster by a third.
    if depthwise and c.stride == c.dilation == (1, 1) and min(reach) >= 0 and not gradient.is_cuda:
        return torch.conv2d(gradient, weight.flip(2, 3), None, 1, reach, 1, c.groups)
    # Only the shape and layout of the input matter; this memory is never read.
    blank = torch.empty(shape, dtype=gradient.dtype, device=gradient.device, memory_format=layout)
    found: Tensor = torch.ops.aten.convolution_backward(
        gradient, blank, weight, None, c.stride, c.padding, c.dilation,
        False, [0, 0], c.groups, [True, False, False],  # noqa: FBT003
    )[0]  # fmt: skip
    return found


def _gain(module: nn.Module) -> Tensor | None:
    """The factors of a normalisation, ``(C,)``; None for 1."""
    if isinstance(module, Shift):
        return None
    if not isinstance(module, nn.BatchNorm2d):
        return module.weight.detach()  # type: ignore[operator]
    gain = torch.rsqrt(module.get_buffer("running_var") + module.eps)
    return gain * module.weight.detach() if module.affine else gain


def _for_each(values: Tensor | None, default: float, channels: int) -> Any:  # noqa: ANN401
    """A constant as the kernel takes it, one value for each channel."""
    if values is None:
        return np.full(channels, default, dtype=np.float32)
    return values.detach().to(torch.float32).expand(channels).contiguous().numpy()

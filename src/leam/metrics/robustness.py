"""Robustness: whether a map depends on what the network has learnt, and stays the same under irrelevant changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from leam.metrics.statistics import Numbers, spearman
from leam.recognizers.onnx.layers import Shift
from leam.recognizers.recognizer import evaluating

Explain = Callable[[Tensor], Tensor]
"""From chips ``(B, h, w, 3)`` float32, 0-255, to their overall maps ``(B, h, w)``."""

RADIUS = 0.02
"""Largest change of a value under noise, in units of the colour range."""

_LINEAR = (nn.Conv1d, nn.Conv2d, nn.Linear, Shift)
_NORMALISATIONS = (nn.BatchNorm1d, nn.BatchNorm2d)
# Deviations below this part of the scale are rounding.
_CONSTANT = 1e-6

# Side and standard deviation of the window of Wang et al., and their constants for values up to 1.
_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2


@dataclass(frozen=True)
class Randomised:
    """How maps change when the uppermost layers are randomised.

    Attributes:
        layers: The modules randomised so far, from the output to the input.
        rank: Rank correlation of each face's map with that of the trained network, ``(B,)``; NaN if a map is constant
            or the step is invalid.
        ssim: Structural similarity of the same two maps, ``(B,)``; NaN likewise.
        fault: Why the step is invalid, see :func:`fault_of`; empty if it is valid.
    """

    layers: tuple[str, ...]
    rank: Numbers
    ssim: Numbers
    fault: str


def cascade(
    module: nn.Module, explain: Callable[[], Tensor], faces: Tensor, seed: int, steps: int = 5
) -> list[Randomised]:
    """Randomise a network cumulatively from the output to the input, and compare its maps with the original ones.

    Adebayo et al., "Sanity checks for saliency maps", NeurIPS 2018, with the calibration of :func:`randomised`, without
    which activations explode or vanish in deep networks. A step whose embeddings or maps are not finite or constant is
    invalid and has no similarities. The module is restored afterwards, also after an exception.

    Args:
        module: The network.
        explain: Returns the overall maps of some faces, ``(B, h, w)``, under the network's current parameters.
        faces: Inputs of the network on which it is calibrated, ``(F, 3, h, w)``, at least two.
        seed: Random seed.
        steps: Number of equal parts in which the layers are randomised.

    Returns:
        One entry per step, the last one with every layer randomised.
    """
    names = _layers(module)
    parts = np.array_split(np.array(names, dtype=object), min(steps, len(names)))
    generator = torch.Generator().manual_seed(seed)
    found: list[Randomised] = []
    done: tuple[str, ...] = ()
    with evaluating(module), _restored(module):
        before, trained = explain(), _moments(module, faces)
        flat = before.flatten(1).cpu().numpy()
        constant = before.flatten(1).std(dim=1).cpu().numpy() == 0
        for part in parts:
            done += tuple(part.tolist())
            embeddings = _randomise(module, part.tolist(), done, trained, faces, generator)
            after = explain()
            fault = fault_of(embeddings, after)
            rank = spearman(flat, after.flatten(1).cpu().numpy())
            similarity = ssim(before, after).cpu().double().numpy()
            unknown = constant | np.isnan(rank) | bool(fault)
            found.append(
                Randomised(
                    done,
                    np.where(unknown, np.nan, rank),
                    np.where(unknown, np.nan, similarity),
                    fault,
                )
            )
    return found


@contextmanager
def randomised(module: nn.Module, faces: Tensor, seed: int) -> Iterator[None]:
    """Random weights inside the block: the control "same network, nothing learnt".

    Every parameter is redrawn from a normal distribution with its own mean and standard deviation. Then the network
    is calibrated on faces, layer by layer in the order of execution, so that activations keep the scale that they
    have in the trained network. The same rule serves networks with and without batch normalisation: a redrawn
    convolution or linear layer is scaled so that the standard deviation of each output channel, and with a bias its
    mean, are those of the trained network, as is the mean behind a bias that is a separate node; a batch
    normalisation gets the statistics with which its normalised values have the mean and standard deviation that
    they have in the trained network. What gets the same input as before stays as it is. Parameters and buffers are
    replaced, not written to, since other processes may share their memory; they are restored afterwards, also after
    an exception.

    Args:
        module: The network; its own mode is restored too.
        faces: Inputs on which it is calibrated, ``(F, 3, h, w)``, at least two; about 16 are enough.
        seed: Random seed.
    """
    names = _layers(module)
    with evaluating(module), _restored(module):
        trained = _moments(module, faces)
        _randomise(module, names, names, trained, faces, torch.Generator().manual_seed(seed))
        yield


def fault_of(embeddings: Tensor, maps: Tensor) -> str:
    """What makes a randomised network useless as a control; empty if nothing does.

    Args:
        embeddings: Of several faces, ``(F, D)``.
        maps: Overall maps, ``(B, h, w)``.
    """
    if not embeddings.isfinite().all():
        return "embeddings are not finite"
    if not maps.isfinite().all():
        return "maps are not finite"
    if embeddings.std(dim=0, correction=0).max() <= _CONSTANT * embeddings.square().mean().sqrt():
        return "all faces have the same embedding"
    flat = maps.flatten(1)
    if (flat.amax(dim=1) == flat.amin(dim=1)).all():
        return "all maps are constant"
    return ""


def max_sensitivity(
    chips: Tensor, explain: Explain, seed: int, *, radius: float = RADIUS, draws: int = 10
) -> Tensor:
    """The largest relative change of a map under invisible noise.

    Yeh et al., "On the (in)fidelity and sensitivity of explanations", NeurIPS 2019: the largest
    ``|M(x + d) - M(x)| / |M(x)|`` over draws of uniform noise ``d``.

    Args:
        chips: Aligned faces, ``(B, h, w, 3)``, 0-255.
        explain: Returns their maps.
        seed: Random seed.
        radius: Largest change of a value, in units of the colour range.
        draws: Number of draws; more draws can only increase the result.

    Returns:
        ``(B,)``, 0 if nothing changes; NaN if a map is empty.
    """
    chips = chips.float()
    before = explain(chips).flatten(1)
    length = before.norm(dim=1)
    generator = torch.Generator().manual_seed(seed)
    worst = torch.zeros_like(length)
    for _ in range(draws):
        noise = (2 * torch.rand(chips.shape, generator=generator) - 1) * radius * 255
        change = (explain(chips + noise.to(chips.device)).flatten(1) - before).norm(dim=1)
        worst = torch.maximum(worst, change)
    return torch.where(length > 0, worst / length, torch.nan)


def flip_consistency(chips: Tensor, explain: Explain) -> Tensor:
    """Rank correlation of a face's map with that of its mirror image, mirrored back.

    Args:
        chips: Aligned faces, ``(B, h, w, 3)``, 0-255.
        explain: Returns their maps.

    Returns:
        ``(B,)`` float32 in [-1, 1]; NaN if a map is constant.
    """
    plain = explain(chips.float())
    mirrored = explain(chips.float().flip(2)).flip(2)
    first, second = (maps.flatten(1).cpu().numpy() for maps in (plain, mirrored))
    return torch.from_numpy(spearman(first, second).astype(np.float32))


def ssim(first: Tensor, second: Tensor) -> Tensor:
    """Structural similarity of maps, each scaled to a maximum of 1.

    Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004, with their Gaussian
    window of 11 pixels and constants; the mean over all windows inside the map.

    Args:
        first: ``(B, h, w)``, non-negative, at least 11 pixels wide and high.
        second: The same shape.

    Returns:
        ``(B,)`` float32 in [-1, 1], 1 for equal maps.
    """
    x, y = (_scaled(maps)[:, None] for maps in (first, second))
    place = torch.arange(_WINDOW, device=x.device) - _WINDOW // 2
    line = torch.exp(-(place**2) / (2 * _SIGMA**2))
    window = (line[:, None] * line / line.sum() ** 2)[None, None]

    def local(values: Tensor) -> Tensor:
        return functional.conv2d(values, window)

    mean_x, mean_y = local(x), local(y)
    var_x, var_y = local(x * x) - mean_x**2, local(y * y) - mean_y**2
    covariance = local(x * y) - mean_x * mean_y
    upper = (2 * mean_x * mean_y + _C1) * (2 * covariance + _C2)
    lower = (mean_x**2 + mean_y**2 + _C1) * (var_x + var_y + _C2)
    return (upper / lower).mean(dim=(1, 2, 3))


def _scaled(maps: Tensor) -> Tensor:
    highest = maps.amax(dim=(1, 2), keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
    return (maps / highest).float()


def _layers(module: nn.Module) -> list[str]:
    """Names of the modules with parameters of their own, from the output to the input."""
    modules = module.named_modules()
    return [name for name, child in modules if list(child.parameters(recurse=False))][::-1]


def _randomise(
    module: nn.Module,
    names: Sequence[str],
    redrawn: Sequence[str],
    trained: Mapping[nn.Module, _Moments],
    faces: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """Redraw the parameters of some modules, and calibrate all redrawn ones.

    Returns:
        The embeddings of the faces, ``(F, D)``.
    """
    modules = dict(module.named_modules())
    for name in names:
        for parameter in modules[name].parameters(recurse=False):
            learnt = parameter.detach()
            drawn = torch.randn(parameter.shape, generator=generator).to(learnt)
            parameter.data = learnt.mean() + learnt.std(correction=0) * drawn
    return _calibrated(module, {modules[name] for name in redrawn}, trained, faces)


@dataclass(frozen=True)
class _Moments:
    """Mean and standard deviation of each channel, ``(C,)``."""

    mean: Tensor
    std: Tensor


def _moments_of(module: nn.Module, values: Tensor) -> _Moments:
    """The moments of a module's values; channels are the last axis of a linear layer, the second one of others."""
    values = values.movedim(-1 if isinstance(module, nn.Linear) else 1, 0).flatten(1)
    return _Moments(values.mean(dim=1), values.std(dim=1, correction=0))


def _moments(module: nn.Module, faces: Tensor) -> dict[nn.Module, _Moments]:
    """The moments of the outputs of linear maps, and of the normalised values of batch normalisations."""
    found: dict[nn.Module, _Moments] = {}

    def record(child: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if not isinstance(child, _NORMALISATIONS):
            found.setdefault(child, _moments_of(child, output))
            return
        if not inputs:
            return
        moments = _moments_of(child, inputs[0])
        unit = (child.get_buffer("running_var") + child.eps).sqrt()
        mean = (moments.mean - child.get_buffer("running_mean")) / unit
        found.setdefault(child, _Moments(mean, moments.std / unit))

    with _observed(module, record), torch.no_grad():
        module(faces)
    return found


def _calibrated(
    module: nn.Module,
    redrawn: AbstractSet[nn.Module],
    trained: Mapping[nn.Module, _Moments],
    faces: Tensor,
) -> Tensor:
    """Give activations the moments that they have in the trained network; see :func:`randomised`."""
    done: set[nn.Module] = set()

    def calibrate(child: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        normalises = isinstance(child, _NORMALISATIONS)
        # These have no parameters, or others, and change only where their input has changed.
        follows = isinstance(child, (*_NORMALISATIONS, Shift))
        # A module that runs several times is calibrated at its first run. A weight that a parametrisation computes
        # cannot be scaled, and a call with keywords does not show its input.
        scalable = follows or "weight" in dict(child.named_parameters(recurse=False))
        changes = (follows or child in redrawn) and scalable and bool(inputs)
        if child in done or child not in trained or not changes:
            return None
        done.add(child)
        moments = _moments_of(child, inputs[0] if normalises else output)
        if normalises:
            _normalise(child, moments, trained[child])
        elif isinstance(child, Shift):
            child.bias = child.bias + trained[child].mean - moments.mean
        else:
            _scale(child, moments, trained[child])
        result: Tensor = type(child).forward(child, *inputs)
        return result

    with _observed(module, calibrate), torch.no_grad():
        embeddings: Tensor = module(faces)
    return embeddings.flatten(1)


def _units(std: Tensor) -> Tensor:
    """Standard deviations to divide by; 1 for channels that are constant up to rounding."""
    return torch.where(std > _CONSTANT * std.max(), std, 1.0)


def _scale(layer: nn.Module, now: _Moments, then: _Moments) -> None:
    """Scale a linear map, and shift its bias."""
    ratio = then.std / _units(now.std)
    weight = layer.get_parameter("weight")
    weight.data = weight.data * ratio.view(-1, *[1] * (weight.ndim - 1))
    if layer.bias is not None:
        bias = layer.get_parameter("bias")
        bias.data = (bias.data - now.mean) * ratio + then.mean


def _normalise(layer: nn.Module, now: _Moments, then: _Moments) -> None:
    """Change the running statistics of a batch normalisation."""
    constant = now.std <= _CONSTANT * now.std.max()
    unit = torch.where(constant, 1.0, now.std / _units(then.std))
    layer.running_mean = now.mean - then.mean * unit
    layer.running_var = (unit**2 - float(layer.eps)).clamp(min=0)  # type: ignore[arg-type]


@contextmanager
def _observed(module: nn.Module, hook: Callable[..., Tensor | None]) -> Iterator[None]:
    """Call a hook after each linear map and each batch normalisation with statistics."""
    with ExitStack() as hooks:
        for child in module.modules():
            known = isinstance(child, _LINEAR) or (
                isinstance(child, _NORMALISATIONS) and child.running_mean is not None
            )
            if known:
                hooks.enter_context(child.register_forward_hook(hook))
        yield


@contextmanager
def _restored(module: nn.Module) -> Iterator[None]:
    parameters = [(parameter, parameter.data) for parameter in module.parameters()]
    buffers = [
        (child, name, buffer)
        for child in module.modules()
        for name, buffer in child.named_buffers(recurse=False)
    ]
    try:
        yield
    finally:
        for parameter, learnt in parameters:
            parameter.data = learnt
        for child, name, buffer in buffers:
            setattr(child, name, buffer)

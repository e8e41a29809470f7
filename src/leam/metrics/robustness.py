"""Robustness: whether a map depends on what the network has learnt, and stays the same under irrelevant changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from leam.metrics.statistics import Numbers, spearman
from leam.recognizers.recognizer import evaluating

Explain = Callable[[Tensor], Tensor]
"""From chips ``(B, h, w, 3)`` float32, 0-255, to their overall maps ``(B, h, w)``."""

RADIUS = 0.02
"""Largest change of a value under noise, in units of the colour range."""

# Side and standard deviation of the window of Wang et al., and their constants for values up to 1.
_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2


@dataclass(frozen=True)
class Randomised:
    """How maps change when the uppermost layers are randomised.

    Attributes:
        layers: The modules randomised so far, from the output to the input.
        rank: Rank correlation of each face's map with that of the trained network, ``(B,)``; NaN if a map is constant.
        ssim: Structural similarity of the same two maps, ``(B,)``.
    """

    layers: tuple[str, ...]
    rank: Numbers
    ssim: Numbers


def cascade(
    module: nn.Module, explain: Callable[[], Tensor], seed: int, steps: int = 5
) -> list[Randomised]:
    """Randomise a network cumulatively from the output to the input, and compare its maps with the original ones.

    Adebayo et al., "Sanity checks for saliency maps", NeurIPS 2018. Every parameter is redrawn from a normal
    distribution with its own mean and standard deviation, so that activations keep their scale. The module is restored
    afterwards, also after an exception. Its parameters are replaced, not written to, since other processes may share
    their memory.

    Args:
        module: The network.
        explain: Returns the overall maps of some faces, ``(B, h, w)``, under the network's current parameters.
        seed: Random seed.
        steps: Number of equal parts in which the layers are randomised.

    Returns:
        One entry per step, the last one with every layer randomised.
    """
    modules = module.named_modules()
    names = [name for name, child in modules if list(child.parameters(recurse=False))]
    parts = np.array_split(np.array(names[::-1], dtype=object), min(steps, len(names)))
    generator = torch.Generator().manual_seed(seed)
    found: list[Randomised] = []
    done: tuple[str, ...] = ()
    with evaluating(module), _restored(module):
        before = explain()
        flat = before.flatten(1).cpu().numpy()
        for part in parts:
            _randomise(module, part.tolist(), generator)
            done += tuple(part.tolist())
            after = explain()
            rank = spearman(flat, after.flatten(1).cpu().numpy())
            found.append(Randomised(done, rank, ssim(before, after).cpu().double().numpy()))
    return found


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


def _randomise(module: nn.Module, names: Sequence[str], generator: torch.Generator) -> None:
    modules = dict(module.named_modules())
    for name in names:
        for parameter in modules[name].parameters(recurse=False):
            learnt = parameter.detach()
            drawn = torch.randn(parameter.shape, generator=generator).to(learnt)
            parameter.data = learnt.mean() + learnt.std(correction=0) * drawn


@contextmanager
def _restored(module: nn.Module) -> Iterator[None]:
    kept = [(parameter, parameter.data) for parameter in module.parameters()]
    try:
        yield
    finally:
        for parameter, learnt in kept:
            parameter.data = learnt

"""Whether a map stays when what does not matter changes: a little noise, or left and right."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from leam.measures.effects import spearman
from leam.measures.registry import measure

Explain = Callable[[Tensor], Tensor]
"""From chips ``(B, h, w, 3)`` float32, 0-255, to their overall maps ``(B, h, w)``."""

RADIUS = 0.02


@measure("max_sensitivity", "sanity", "lower")
def max_sensitivity(
    chips: Tensor, explain: Explain, seed: int, *, radius: float = RADIUS, draws: int = 10
) -> Tensor:
    """The most that a map changes, in units of its own length, under invisible noise.

    Yeh et al., "On the (in)fidelity and sensitivity of explanations", NeurIPS 2019: the largest
    ``|M(x + d) - M(x)| / |M(x)|`` over draws of uniform noise ``d``.

    Args:
        chips: Aligned faces, ``(B, h, w, 3)``, 0-255.
        explain: Gives their maps.
        seed: Of the noise.
        radius: The most that a value changes, in units of the colour range.
        draws: Number of draws; more can only raise the result.

    Returns:
        ``(B,)``, 0 where nothing changes; NaN where a map is empty.
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


@measure("flip_consistency", "sanity", "higher")
def flip_consistency(chips: Tensor, explain: Explain) -> Tensor:
    """Rank correlation of a face's map with that of its mirror image, mirrored back.

    Args:
        chips: Aligned faces, ``(B, h, w, 3)``, 0-255.
        explain: Gives their maps.

    Returns:
        ``(B,)`` float32 in [-1, 1]; NaN where a map is constant.
    """
    plain = explain(chips.float())
    mirrored = explain(chips.float().flip(2)).flip(2)
    first, second = (maps.flatten(1).cpu().numpy() for maps in (plain, mirrored))
    return torch.from_numpy(spearman(first, second).astype(np.float32))

"""What hiding pixels does to a similarity."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leam.measures.critical import critical_mask
from leam.measures.fills import Mask, occlude
from leam.measures.registry import measure
from leam.recognizers.card import Similarity
from leam.recognizers.similarity import similarity

Chips = NDArray[np.uint8]
"""Aligned faces, RGB ``(B, h, w, 3)``, 0-255."""

Embed = Callable[[Chips], Tensor]
"""From chips ``(B, h, w, 3)`` to embeddings ``(B, D)``, as :meth:`Recognizer.embed`."""

FRACTIONS = (0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
"""The top fractions of an occlusion curve."""


@measure("drop", "faithfulness", "higher")
def drop(clean: Tensor, occluded: Tensor, mates: Tensor, kind: Similarity) -> Tensor:
    """How far hiding pixels lowers a similarity: ``s(clean, mate) - s(occluded, mate)``.

    Args:
        clean: Embeddings of the whole faces, ``(B, D)``.
        occluded: Embeddings of the same faces with pixels hidden, ``(B, D)``.
        mates: What they are compared with: another image's embedding, or the person's template,
            ``(B, D)``.
        kind: The recognizer's similarity.

    Returns:
        ``(B,)``, positive where hiding hurts. In cosine units, or in units of distance for a
        Euclidean recognizer.
    """
    return similarity(clean, mates, kind) - similarity(occluded, mates, kind)


def hide(chips: Chips, masks: Sequence[Mask] | NDArray[np.bool_], fill: str = "black") -> Chips:
    """The chips ``(B, h, w, 3)`` with the pixels of their masks ``(B, h, w)`` replaced.

    Raises:
        InputError: There is no such fill.
    """
    return np.stack([occlude(chip, mask, fill) for chip, mask in zip(chips, masks, strict=True)])


@measure("occlusion_curve", "faithfulness", "higher")
def occlusion_curve(
    chips: Chips,
    maps: Tensor,
    mates: Tensor,
    embed: Embed,
    kind: Similarity,
    *,
    fractions: Sequence[float] = FRACTIONS,
    fill: str = "black",
) -> Tensor:
    """The drop as ever larger top fractions of a map's pixels are hidden.

    The clean faces are embedded once.

    Args:
        chips: Aligned faces, ``(B, h, w, 3)``.
        maps: Their overall maps, ``(B, h, w)``.
        mates: What they are compared with, ``(B, D)``.
        embed: The recognizer.
        kind: Its similarity.
        fractions: The top fractions ``k``.
        fill: What replaces a pixel.

    Returns:
        ``(K, B)``; NaN where a map is empty.
    """
    clean = embed(chips)
    empty = maps.flatten(1).sum(dim=1).cpu() == 0
    drops = []
    for fraction in fractions:
        hidden = hide(chips, critical_mask(maps, fraction).cpu().numpy(), fill)
        drops.append(drop(clean, embed(hidden), mates, kind).cpu())
    return torch.where(empty, torch.nan, torch.stack(drops))

"""What hiding pixels does to a similarity, on one recognizer or with masks found on another."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leam.explain.masks import critical_mask
from leam.metrics.fills import Mask, occlude
from leam.recognizers.card import Similarity
from leam.recognizers.recognizer import similarity

Chips = NDArray[np.uint8]
"""Aligned faces, RGB ``(B, h, w, 3)``, 0-255."""

Embed = Callable[[Chips], Tensor]
"""From chips ``(B, h, w, 3)`` to embeddings ``(B, D)``, as :meth:`Recognizer.embed`."""

FRACTIONS = (0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
"""The top fractions of an occlusion curve."""


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


def transfer_drops(
    chips: Chips,
    masks: Sequence[NDArray[np.bool_]],
    mates: Tensor,
    embed: Embed,
    kind: Similarity,
    *,
    fill: str = "black",
    clean: Tensor | None = None,
) -> Tensor:
    """One model's drops under masks from several sources: a row of the transfer matrix.

    The sources are the models, the target itself among them, and whatever they are compared with,
    such as random masks. All masks of all sources are embedded in shared batches.

    Args:
        chips: Aligned faces in the target model's geometry, ``(B, h, w, 3)``.
        masks: Each source's masks in that geometry, ``(S, B, h, w)``, all of one number of pixels;
            see :func:`leam.measures.geometry.carry_maps`.
        mates: What the faces are compared with, in the target model's embedding, ``(B, D)``.
        embed: The target model.
        kind: Its similarity.
        fill: What replaces a pixel.
        clean: The clean faces' embeddings, ``(B, D)``, where they are known already.

    Returns:
        ``(S, B)``; NaN where a mask is empty.
    """
    clean = embed(chips) if clean is None else clean
    hidden = embed(np.concatenate([hide(chips, source, fill) for source in masks]))
    drops = drop(clean, hidden.reshape(len(masks), len(chips), -1), mates, kind).cpu()
    some = torch.from_numpy(np.stack(masks).any(axis=(2, 3)))
    return torch.where(some, drops, torch.nan)

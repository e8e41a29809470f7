"""Occlusion: how far hiding pixels lowers a similarity, with masks of the same or of other recognizers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
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

FRACTIONS = (0.0025, 0.01, 0.05, 0.2)
"""The critical fractions of an occlusion curve."""


def similarity_drop(clean: Tensor, occluded: Tensor, mates: Tensor, kind: Similarity) -> Tensor:
    """How far hiding pixels lowers a similarity: ``s(clean, mate) - s(occluded, mate)``.

    Args:
        clean: Embeddings of the faces, ``(B, D)``.
        occluded: Embeddings of the same faces with pixels hidden, ``(B, D)``.
        mates: Embeddings to compare with, of another picture or the person's template, ``(B, D)``.
        kind: The recognizer's similarity.

    Returns:
        ``(B,)``, positive if hiding the pixels lowers the similarity; a difference of cosines, or of distances for a
        Euclidean recognizer.
    """
    before = similarity(clean.to(occluded.device), mates, kind)
    return before - similarity(occluded, mates, kind)


def hide(chips: Chips, masks: Sequence[Mask] | NDArray[np.bool_], fill: str = "black") -> Chips:
    """Replace the pixels of masks ``(B, h, w)`` in chips ``(B, h, w, 3)``.

    Raises:
        InputError: There is no such fill.
    """
    return np.stack([occlude(chip, mask, fill) for chip, mask in zip(chips, masks, strict=True)])


def pixel_energy(chips: Chips, hidden: Chips) -> NDArray[np.float64]:
    """How much hiding pixels changes a picture: the mean squared change of the values, in units of the colour range.

    Args:
        chips: Aligned faces, ``(B, h, w, 3)``.
        hidden: The same faces with pixels hidden, ``(..., B, h, w, 3)``.

    Returns:
        ``(..., B)`` in [0, 1].
    """
    change = (hidden.astype(np.float32) - chips) / 255
    energy: NDArray[np.float64] = np.square(change).mean(axis=(-3, -2, -1), dtype=np.float64)
    return energy


def pieces(mask: Mask) -> tuple[int, int]:
    """The number of connected components (8-connected) of a mask ``(h, w)``, and the pixels of the largest one."""
    count, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    return count - 1, int(stats[1:, cv2.CC_STAT_AREA].max(initial=0))


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
    """The similarity drop when increasing fractions of a map's highest pixels are hidden.

    Args:
        chips: Aligned faces, ``(B, h, w, 3)``.
        maps: Their overall maps, ``(B, h, w)``.
        mates: Embeddings to compare with, ``(B, D)``.
        embed: The recognizer's :meth:`~leam.Recognizer.embed`.
        kind: The recognizer's similarity.
        fractions: The ``K`` fractions.
        fill: The name of the fill.

    Returns:
        ``(K, B)``; NaN if a map is empty.
    """
    clean = embed(chips)
    empty = maps.flatten(1).sum(dim=1).cpu() == 0
    drops = []
    for fraction in fractions:
        hidden = hide(chips, critical_mask(maps, fraction).cpu().numpy(), fill)
        drops.append(similarity_drop(clean, embed(hidden), mates, kind).cpu())
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
    """A recognizer's similarity drops under masks from several sources: a row of the transfer matrix.

    Sources are the recognizers, including this one, and controls such as random masks.

    Args:
        chips: Aligned faces in this recognizer's geometry, ``(B, h, w, 3)``.
        masks: Each source's masks in that geometry, ``(S, B, h, w)``, of the same number of pixels; see
            :func:`leam.metrics.geometry.carry_maps`.
        mates: Embeddings to compare with, of this recognizer, ``(B, D)``.
        embed: This recognizer's :meth:`~leam.Recognizer.embed`.
        kind: This recognizer's similarity.
        fill: The name of the fill.
        clean: The embeddings of the chips, ``(B, D)``, if they are known already.

    Returns:
        ``(S, B)``; NaN if a mask is empty.
    """
    clean = embed(chips) if clean is None else clean
    hidden = embed(np.concatenate([hide(chips, source, fill) for source in masks]))
    drops = similarity_drop(clean, hidden.reshape(len(masks), len(chips), -1), mates, kind).cpu()
    some = torch.from_numpy(np.stack(masks).any(axis=(2, 3)))
    return torch.where(some, drops, torch.nan)

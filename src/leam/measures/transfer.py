"""Whether pixels found on one model matter to another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leam.measures.occlusion import Chips, Embed, drop, hide
from leam.measures.registry import measure
from leam.recognizers.card import Similarity


@measure("transfer", "faithfulness", "higher")
def transfer_drops(
    chips: Chips,
    masks: Sequence[NDArray[np.bool_]],
    mates: Tensor,
    embed: Embed,
    kind: Similarity,
    *,
    fill: str = "black",
) -> Tensor:
    """One model's drops under masks from several sources: a row of the transfer matrix.

    The sources are the models, the target itself among them, and whatever they are compared with,
    such as random masks. The clean faces are embedded once.

    Args:
        chips: Aligned faces in the target model's geometry, ``(B, h, w, 3)``.
        masks: Each source's masks in that geometry, ``(S, B, h, w)``, all of one number of pixels;
            see :func:`leam.measures.geometry.carry_maps`.
        mates: What the faces are compared with, in the target model's embedding, ``(B, D)``.
        embed: The target model.
        kind: Its similarity.
        fill: What replaces a pixel.

    Returns:
        ``(S, B)``; NaN where a mask is empty.
    """
    clean = embed(chips)
    rows = []
    for source in masks:
        drops = drop(clean, embed(hide(chips, source, fill)), mates, kind).cpu()
        some = torch.from_numpy(source.any(axis=(1, 2)))
        rows.append(torch.where(some, drops, torch.nan))
    return torch.stack(rows)

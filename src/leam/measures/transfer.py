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

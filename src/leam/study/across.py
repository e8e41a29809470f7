"""What takes several models at once: agreement of their maps, and transfer of their masks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leam.measures.agreement import map_agreement
from leam.measures.baselines import BASELINES
from leam.measures.critical import critical_mask
from leam.measures.geometry import carry_maps
from leam.measures.transfer import transfer_drops
from leam.recognizers.recognizer import Recognizer
from leam.study.occluding import random_given
from leam.study.plan import Plan
from leam.study.store import Arrays, RunFolder
from leam.study.subject import Subject
from leam.study.targeting import mates

TRANSFER = "transfer"
RANDOM = "scattered"


def agreement_slices(plan: Plan, folder: RunFolder) -> Iterator[tuple[NDArray[np.intp], Tensor]]:
    """How alike the models' critical masks are on each face, slice by slice.

    All maps are carried into the first model's geometry and cut to their top fraction there.

    Yields:
        Positions of the slice's faces ``(n,)``, and overlaps ``(n, M, M)``; NaN where a model has no map.
    """
    names = [model.card.name for model in plan.models]
    for index, _ in enumerate(plan.slices):
        shards = [folder.read_shard(name, index) or {} for name in names]
        if not all(shards):
            continue
        size = (shards[0]["density"].shape[1], shards[0]["density"].shape[2])
        carried = torch.stack([_carried(arrays, shards[0]["matrix"], size) for arrays in shards])
        overlaps = map_agreement(critical_mask(carried, plan.settings.top))
        silent = carried.sum(dim=(2, 3)).T == 0
        overlaps[silent[:, :, None].expand_as(overlaps)] = torch.nan
        overlaps[silent[:, None, :].expand_as(overlaps)] = torch.nan
        yield shards[0]["position"], overlaps


def transfer_slice(
    subjects: Sequence[Subject],
    recognizer: Recognizer,
    sources: Sequence[Arrays],
    plan: Plan,
) -> Arrays:
    """A target model's drops under every model's critical masks, and under random ones.

    Args:
        subjects: The ``n`` faces.
        recognizer: The target.
        sources: Every model's shard of these faces, in the plan's order.
        plan: The study.

    Returns:
        ``position (n,)`` and ``drop (n, M + 1)``, the last column under scattered random pixels; all masks have as
        many pixels.
    """
    chips = [recognizer.crop.align(subject.face) for subject in subjects]
    images = np.stack([chip.image for chip in chips])
    matrices = np.stack([chip.matrix for chip in chips])
    size = (images.shape[1], images.shape[2])
    top, seed = plan.settings.top, plan.settings.seed
    masks = [critical_mask(_carried(arrays, matrices, size), top).numpy() for arrays in sources]
    blank = np.zeros(size, dtype=np.float32)
    masks.append(
        np.stack(
            [
                BASELINES[RANDOM](random_given(mask, blank, f"{TRANSFER}/{subject.image}", seed))
                for mask, subject in zip(masks[0], subjects, strict=True)
            ]
        )
    )
    kind = recognizer.card.similarity
    people = np.array([subject.person for subject in subjects])
    mate = mates(recognizer.embed(images), people, kind)
    drops = transfer_drops(images, masks, mate, recognizer.embed, kind, fill=plan.settings.fill)
    positions = np.array([subject.position for subject in subjects])
    return {"position": positions, "drop": drops.numpy().T}


def _carried(arrays: Arrays, targets: NDArray[np.float64], size: tuple[int, int]) -> Tensor:
    density = torch.from_numpy(arrays["density"].astype(np.float32))
    return carry_maps(density, list(arrays["matrix"]), list(targets), size)

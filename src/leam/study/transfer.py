"""What the critical pixels of every model do to one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leam.explain.masks import critical_mask
from leam.metrics.controls import CONTROLS
from leam.metrics.geometry import carry_maps
from leam.metrics.occlusion import transfer_drops
from leam.recognizers.recognizer import Recognizer
from leam.study.album import Chips
from leam.study.occluding import probe_rows, random_given
from leam.study.plan import Settings
from leam.study.store import Arrays
from leam.study.subject import Subject
from leam.study.targeting import mates

TRANSFER = "transfer"
RANDOM = "scattered"


def transfer_slice(
    subjects: Sequence[Subject],
    chips: Chips,
    recognizer: Recognizer,
    sources: Mapping[str, Arrays],
    settings: Settings,
) -> Arrays:
    """A target model's drops under every model's critical masks, and under random ones.

    Args:
        subjects: The faces of a slice.
        chips: As the target sees them.
        recognizer: The target.
        sources: Each model's maps of these faces; the target's own among them, with what was measured on them.
        settings: The study's choices.

    Returns:
        For the ``n`` probes: ``sources (M,)``, names; ``position (n,)`` and ``drop (n, M + 1)``, the last column under
        scattered random pixels; all masks have as many pixels.
    """
    people = np.array([subject.person for subject in subjects])
    rows = probe_rows(people, settings.probes)
    images = chips.images[rows]
    size = (images.shape[1], images.shape[2])
    own = sources[recognizer.name]
    masks = [
        critical_mask(carried(arrays, rows, chips.matrices[rows], size), settings.top).numpy()
        for name, arrays in sources.items()
        if name != recognizer.name
    ]
    blank = np.zeros(size, dtype=np.float32)
    masks.append(
        np.stack(
            [
                CONTROLS[RANDOM](
                    random_given(mask, blank, f"{TRANSFER}/{subjects[row].image}", settings.seed)
                )
                for mask, row in zip(_own_masks(own, rows, size), rows, strict=True)
            ]
        )
    )
    kind = recognizer.card.similarity
    # The clean faces, and those without the target's own critical pixels, were embedded when they were explained.
    clean = torch.from_numpy(own["embedding"])
    mate = mates(clean, people, kind)[torch.from_numpy(rows)]
    drops = transfer_drops(
        images, masks, mate, recognizer.embed, kind, fill=settings.fill, clean=clean[rows]
    ).numpy()
    return {
        "sources": np.array(list(sources)),
        "position": np.array([subjects[row].position for row in rows]),
        "drop": np.insert(drops, list(sources).index(recognizer.name), own["drop"][:, 0], axis=0).T,
    }


def _own_masks(own: Arrays, rows: NDArray[np.intp], size: tuple[int, int]) -> NDArray[np.bool_]:
    """The target's own critical masks of some faces, ``(n, *size)``."""
    bits = np.unpackbits(own["critical"][rows], axis=1, count=size[0] * size[1])
    return bits.reshape(-1, *size).astype(bool)


def carried(
    arrays: Arrays,
    rows: NDArray[np.intp],
    targets: NDArray[np.float64],
    size: tuple[int, int],
) -> Tensor:
    """A model's maps of some faces, ``(n, *size)``, in the geometry of other chips of the same pictures.

    Args:
        arrays: With the model's ``density`` and ``matrix``.
        rows: Which faces, ``(n,)``.
        targets: From picture to the pixels of the other chips, ``(n, 2, 3)``.
        size: Of the other chips.
    """
    density = torch.from_numpy(arrays["density"][rows].astype(np.float32))
    return carry_maps(density, list(arrays["matrix"][rows]), list(targets), size)

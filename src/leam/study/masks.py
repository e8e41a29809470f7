"""Critical and control masks of a slice's faces, and the similarity drop when their pixels are hidden."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leam.metrics.controls import CONTROLS, ControlInput
from leam.metrics.fills import Mask
from leam.metrics.geometry import carry_maps
from leam.metrics.occlusion import Chips, hide, similarity_drop
from leam.parsers.regions import LABELS, REGIONS
from leam.recognizers.recognizer import Recognizer
from leam.study.explained import Explained
from leam.study.scene import Scene, next_person

CRITICAL = "critical"
"""Name of the critical mask, which the controls are compared with."""

# Regions in which a mask confined to the face may lie: no hair, ears, neck, clothes or background.
_FACE = [
    REGIONS.index(label.region)
    for label in LABELS
    if label.group in {"skin", "nose", "eyes", "brows", "mouth"} or label.name == "glasses"
]


def mask_names(scene: Scene) -> tuple[str, ...]:
    """Names of the critical mask and the study's controls."""
    return (CRITICAL, *scene.settings.controls)


def masks_of(
    scene: Scene,
    rows: NDArray[np.intp],
    critical: NDArray[np.bool_],
    density: NDArray[np.floating],
) -> list[NDArray[np.bool_]]:
    """The masks of some faces, ``(n, h, w)`` each, in the order of :func:`mask_names`.

    Random masks depend only on the seed and the picture.

    Args:
        scene: The slice.
        rows: Rows of the faces, among the ``N`` of the slice.
        critical: The critical masks of all faces, ``(N, h, w)``.
        density: The overall maps of all faces, ``(N, h, w)``.
    """
    return [
        np.stack([_mask(scene, name, row, critical, density) for row in rows])
        for name in mask_names(scene)
    ]


def mask_drops(
    images: Chips,
    masks: Sequence[NDArray[np.bool_]],
    clean: Tensor,
    mate: Tensor,
    recognizer: Recognizer,
    fill: str,
) -> NDArray[np.float32]:
    """Similarity drop for each of several masks of the same faces. All masked faces are embedded together.

    Args:
        images: ``n`` aligned faces, ``(n, h, w, 3)``.
        masks: ``K`` masks per face, ``(K, n, h, w)``.
        clean: Embeddings of the unmasked faces, ``(n, D)``.
        mate: Embeddings that they are compared with, ``(n, D)``.
        recognizer: The recognizer.
        fill: Fill that replaces hidden pixels.

    Returns:
        Similarity drops ``(K, n)``; NaN for an empty mask.
    """
    hidden = recognizer.embed(np.concatenate([hide(images, one, fill) for one in masks])).cpu()
    shaped = hidden.reshape(len(masks), len(images), -1)
    drops = similarity_drop(clean, shaped, mate, recognizer.card.similarity).numpy()
    some = np.stack([one.any(axis=(1, 2)) for one in masks])
    return np.where(some, drops, np.float32(np.nan))


def carried_maps(
    explained: Explained,
    rows: NDArray[np.intp],
    targets: NDArray[np.float64],
    size: tuple[int, int],
) -> Tensor:
    """Resample a recognizer's maps to other chips of the same pictures, ``(n, *size)``.

    Args:
        explained: The recognizer's maps, with ``density`` and ``matrix``.
        rows: Rows of the faces, ``(n,)``.
        targets: Transforms from picture to pixels of the other chips, ``(n, 2, 3)``.
        size: Height and width of the other chips.
    """
    density = torch.from_numpy(explained.density[rows].astype(np.float32))
    return carry_maps(density, list(explained.matrix[rows]), list(targets), size)


def size_only(mask: Mask, generator: np.random.Generator) -> ControlInput:
    """Input for a control that uses only the size of a mask ``(h, w)``."""
    nothing = np.zeros_like(mask)
    return ControlInput(mask, np.zeros(mask.shape, dtype=np.float32), nothing, nothing, generator)


def _mask(
    scene: Scene,
    name: str,
    row: int,
    critical: NDArray[np.bool_],
    density: NDArray[np.floating],
) -> Mask:
    own: Mask = critical[row]
    if name == CRITICAL:
        return own
    other = next_person(scene.people, row)
    return CONTROLS[name](
        ControlInput(
            critical=own,
            overall=density[row],
            face=np.isin(scene.parsings[row].regions, _FACE),
            other=np.zeros_like(own) if other is None else critical[other],
            generator=scene.generator(f"{name}/{scene.subjects[row].image}"),
        )
    )

"""Masks of a slice's faces, the critical one and its controls, and what hiding their pixels does to the similarity."""

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
"""The mask that the controls are compared with."""

# The regions that a mask kept on the face may lie in: no hair, ears, neck, clothes or background.
_FACE = [
    REGIONS.index(label.region)
    for label in LABELS
    if label.group in {"skin", "nose", "eyes", "brows", "mouth"} or label.name == "glasses"
]


def mask_names(scene: Scene) -> tuple[str, ...]:
    """The critical mask and the study's controls."""
    return (CRITICAL, *scene.settings.controls)


def masks_of(
    scene: Scene,
    rows: NDArray[np.intp],
    critical: NDArray[np.bool_],
    density: NDArray[np.floating],
) -> list[NDArray[np.bool_]]:
    """The masks of some faces, ``(n, h, w)`` each, in the order of :func:`mask_names`.

    Random masks depend on the seed and the picture alone.

    Args:
        scene: The slice.
        rows: Which of its ``N`` faces.
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
    """The similarity drop under each of several masks of the same faces, embedded in shared batches.

    Args:
        images: ``n`` aligned faces, ``(n, h, w, 3)``.
        masks: ``K`` masks of each, ``(K, n, h, w)``.
        clean: The faces' embeddings, ``(n, D)``.
        mate: What they are compared with, ``(n, D)``.
        recognizer: The recognizer.
        fill: What replaces a hidden pixel.

    Returns:
        ``(K, n)``; NaN where a mask is empty.
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
    """A recognizer's maps of some faces, ``(n, *size)``, in the geometry of other chips of the same pictures.

    Args:
        explained: The recognizer's maps: ``density`` and ``matrix``.
        rows: Which faces, ``(n,)``.
        targets: From picture to the pixels of the other chips, ``(n, 2, 3)``.
        size: Height and width of the other chips.
    """
    density = torch.from_numpy(explained.density[rows].astype(np.float32))
    return carry_maps(density, list(explained.matrix[rows]), list(targets), size)


def size_only(mask: Mask, generator: np.random.Generator) -> ControlInput:
    """The input of a control that uses nothing but the size of a mask ``(h, w)``."""
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

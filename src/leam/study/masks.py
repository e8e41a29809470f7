"""Critical and control masks of a slice's faces, and the similarity drop when their pixels are hidden."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leam.metrics.controls import CONTROLS, ControlInput
from leam.metrics.fills import Mask
from leam.metrics.geometry import carry_maps
from leam.metrics.occlusion import Chips, hide, pixel_energy, similarity_drop
from leam.parsers.regions import LABELS, REGIONS
from leam.recognizers.recognizer import Recognizer
from leam.study.explained import Explained
from leam.study.plan import Settings
from leam.study.scene import Scene, next_person, next_picture

CRITICAL = "critical"
"""Name of the critical mask, which the controls are compared with."""

# Regions in which a mask confined to the face may lie: no hair, ears, neck, clothes or background.
_FACE = [
    REGIONS.index(label.region)
    for label in LABELS
    if label.group in {"skin", "nose", "eyes", "brows", "mouth"} or label.name == "glasses"
]


def mask_names(settings: Settings) -> tuple[str, ...]:
    """Names of the critical mask and the study's controls."""
    return (CRITICAL, *settings.controls)


def masks_of(
    scene: Scene,
    names: Sequence[str],
    rows: NDArray[np.intp],
    critical: NDArray[np.bool_],
    density: NDArray[np.floating],
) -> list[NDArray[np.bool_]]:
    """The masks of some faces, ``(n, h, w)`` each, in the order of their names.

    Random masks depend only on the seed and the picture.

    Args:
        scene: The slice, in the phase ``compare``.
        names: :data:`CRITICAL`, and names of controls.
        rows: Rows of the faces, among the ``N`` of the slice.
        critical: The critical masks of all faces, ``(N, h, w)``.
        density: The overall maps of all faces, ``(N, h, w)``.
    """
    found = [_face_masks(scene, names, row, critical, density) for row in rows]
    return [np.stack(masks) for masks in zip(*found, strict=True)]


def mask_drops(
    images: Chips,
    masks: Sequence[NDArray[np.bool_]],
    clean: Tensor,
    mate: Tensor,
    recognizer: Recognizer,
    fill: str,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Similarity drop and pixel energy for each of several masks of the same faces. All are embedded together.

    Args:
        images: ``n`` aligned faces, ``(n, h, w, 3)``.
        masks: ``K`` masks per face, ``(K, n, h, w)``.
        clean: Embeddings of the unmasked faces, ``(n, D)``.
        mate: Embeddings that they are compared with, ``(n, D)``.
        recognizer: The recognizer.
        fill: Fill that replaces hidden pixels.

    Returns:
        The similarity drops and :func:`leam.metrics.occlusion.pixel_energy`, ``(K, n)`` each; NaN for an empty mask.
    """
    hidden = np.stack([hide(images, one, fill) for one in masks])
    embedded = recognizer.embed(hidden.reshape(-1, *images.shape[1:])).cpu()
    shaped = embedded.reshape(len(masks), len(images), -1)
    drops = similarity_drop(clean, shaped, mate, recognizer.card.similarity).numpy()
    empty = ~np.stack([one.any(axis=(1, 2)) for one in masks])
    found = drops.astype(np.float32), pixel_energy(images, hidden).astype(np.float32)
    for values in found:
        values[empty] = np.nan
    return found


def drops_by_fill(
    images: Chips,
    masks: Sequence[NDArray[np.bool_]],
    clean: Tensor,
    mate: Tensor,
    recognizer: Recognizer,
    fills: Sequence[str],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """:func:`mask_drops` under several fills: similarity drops and pixel energies, ``(n, F, K)`` each."""
    found = [mask_drops(images, masks, clean, mate, recognizer, fill) for fill in fills]
    drops, energies = (np.stack(values).transpose(2, 0, 1) for values in zip(*found, strict=True))
    return drops, energies


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


def _face_masks(
    scene: Scene,
    names: Sequence[str],
    row: int,
    critical: NDArray[np.bool_],
    density: NDArray[np.floating],
) -> list[Mask]:
    """The masks of one face."""
    own, chips = critical[row], scene.chips.images
    person, picture = next_person(scene.people, row), next_picture(scene.people, row)
    image = scene.subjects[row].image
    given = ControlInput(
        critical=own,
        overall=density[row],
        face=np.isin(scene.parsings[row].regions, _FACE),
        other=np.zeros_like(own) if person is None else critical[person],
        generator=scene.generator(image),
        chip=chips[row],
        other_chip=None if person is None else chips[person],
        other_picture=None if picture is None else critical[picture],
        other_picture_chip=None if picture is None else chips[picture],
        population=scene.population(row),
    )
    return [
        own
        if name == CRITICAL
        else CONTROLS[name](replace(given, generator=scene.generator(f"{name}/{image}")))
        for name in names
    ]

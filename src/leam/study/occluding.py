"""Hide pixels of a study's faces, and measure what that does."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from leam.mapping.explainer import Explainer
from leam.measures.baselines import BASELINES, Given
from leam.measures.critical import critical_mask
from leam.measures.fills import Mask
from leam.measures.occlusion import drop, hide
from leam.parsers.parsing import Parsing
from leam.parsers.regions import LABELS, REGIONS
from leam.study.plan import Settings
from leam.study.store import Arrays
from leam.study.subject import Subject
from leam.study.targeting import mates

CURVE_MASKS = ("critical", "scattered")
"""The masks that a curve over the top fraction follows."""

# The regions that a mask kept on the face may lie in: no hair, ears, neck, clothes or background.
_FACE = [
    REGIONS.index(label.region)
    for label in LABELS
    if label.group in {"skin", "nose", "eyes", "brows", "mouth"} or label.name == "glasses"
]


def occlude_slice(
    subjects: Sequence[Subject],
    explainer: Explainer,
    chips: NDArray[np.uint8],
    arrays: Arrays,
    parsings: Sequence[Parsing],
    settings: Settings,
) -> Arrays:
    """Hide pixels of a slice's faces, and see what it does to the similarity with each one's mate.

    Args:
        subjects: The ``n`` faces.
        explainer: Explains the recognizer.
        chips: The aligned faces, ``(n, h, w, 3)``.
        arrays: Of :func:`measure_slice`: ``embedding``, ``density``, ``critical`` and ``empty``.
        parsings: The faces' regions.
        settings: The study's choices.

    Returns:
        ``clean (n,)``, the similarity before; ``drop (n, K)`` of the critical mask and each baseline at the top
        fraction; ``curve (n, 2, F)`` of the critical and the scattered mask at each fraction of the curve.
    """
    recognizer = explainer.recognizer
    kind = recognizer.card.similarity
    clean = torch.from_numpy(arrays["embedding"])
    mate = mates(clean, np.array([subject.person for subject in subjects]), kind)
    empty = arrays["empty"][:, 0]

    def drops(masks: Sequence[Mask]) -> NDArray[np.float32]:
        hidden = recognizer.embed(hide(chips, masks, settings.fill)).cpu()
        # A map that is empty has no mask, and a person alone no other's.
        usable = np.array([mask.any() for mask in masks]) & ~empty
        values: NDArray[np.float32] = drop(clean, hidden, mate, kind).numpy()
        return np.where(usable, values, np.float32(np.nan))

    def masks_of(name: str, critical: NDArray[np.bool_]) -> list[Mask]:
        faces = range(len(subjects))
        return [_mask(name, i, subjects, critical, arrays, parsings, settings.seed) for i in faces]

    critical = arrays["critical"]
    kinds = ("critical", *settings.baselines)
    density = torch.from_numpy(arrays["density"].astype(np.float32))
    curve = np.full(
        (len(subjects), len(CURVE_MASKS), len(settings.curve)), np.nan, dtype=np.float32
    )
    for column, fraction in enumerate(settings.curve):
        larger = critical_mask(density, fraction).numpy()
        for row, name in enumerate(CURVE_MASKS):
            curve[:, row, column] = drops(masks_of(name, larger))
    return {
        "clean": recognizer.similarity(clean, mate).numpy(),
        "drop": np.stack([drops(masks_of(name, critical)) for name in kinds], axis=1),
        "curve": curve,
    }


def _mask(
    name: str,
    index: int,
    subjects: Sequence[Subject],
    masks: NDArray[np.bool_],
    arrays: Arrays,
    parsings: Sequence[Parsing],
    seed: int,
) -> Mask:
    """A face's mask of the asked kind; random ones depend on the seed and the picture alone."""
    critical: Mask = masks[index]
    if name == "critical":
        return critical
    # The next face of another person, round the slice.
    others = [
        i
        for i in np.roll(range(len(subjects)), -index)
        if subjects[i].person != subjects[index].person
    ]
    given = Given(
        critical=critical,
        overall=arrays["density"][index],
        face=np.isin(parsings[index].regions, _FACE),
        other=masks[others[0]] if others else np.zeros_like(critical),
        generator=seeded(f"{name}/{subjects[index].image}", seed),
    )
    return BASELINES[name](given)


def random_given(critical: Mask, overall: NDArray[np.float32], key: str, seed: int) -> Given:
    """What a baseline needs that looks at nothing but the size of a mask."""
    nothing = np.zeros_like(critical)
    return Given(critical, overall, nothing, nothing, seeded(key, seed))


def seeded(key: str, seed: int) -> np.random.Generator:
    """A generator that depends on a name and the study's seed alone, not on what ran before."""
    return np.random.default_rng([seed, zlib.crc32(key.encode())])

"""Hide pixels of a study's faces, and measure what that does."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leam.metrics.controls import CONTROLS, ControlInput
from leam.metrics.fills import Mask
from leam.metrics.occlusion import Chips, drop, hide
from leam.parsers.parsing import Parsing
from leam.parsers.regions import LABELS, REGIONS
from leam.recognizers.recognizer import Recognizer
from leam.study.plan import Settings
from leam.study.store import Arrays
from leam.study.subject import Subject
from leam.study.targeting import mates

CRITICAL = "critical"
"""The mask that the baselines are compared with."""

# The regions that a mask kept on the face may lie in: no hair, ears, neck, clothes or background.
_FACE = [
    REGIONS.index(label.region)
    for label in LABELS
    if label.group in {"skin", "nose", "eyes", "brows", "mouth"} or label.name == "glasses"
]


def probe_rows(people: NDArray[np.str_], probes: int | None) -> NDArray[np.intp]:
    """Positions of each person's first pictures, as many as there are probes; of all where that is None."""
    seen: dict[str, int] = {}
    rows = []
    for row, person in enumerate(people.tolist()):
        seen[person] = seen.get(person, 0) + 1
        if probes is None or seen[person] <= probes:
            rows.append(row)
    return np.array(rows, dtype=np.intp)


def occlude_slice(
    subjects: Sequence[Subject],
    recognizer: Recognizer,
    images: Chips,
    arrays: Arrays,
    parsings: Sequence[Parsing],
    settings: Settings,
) -> Arrays:
    """Hide pixels of a slice's probes, and see what it does to the similarity with each one's mate.

    Args:
        subjects: The faces of the slice.
        recognizer: What sees them.
        images: The aligned faces, ``(n, h, w, 3)``.
        arrays: Of :func:`measure_slice`: ``embedding``, ``density``, ``critical`` and ``empty``.
        parsings: The faces' regions.
        settings: The study's choices.

    Returns:
        For the ``p`` probes: ``probe (p,)`` their rows; ``clean (p,)``, the similarity before; ``drop (p, K)`` of the
        critical mask and each baseline at the top fraction.
    """
    people = np.array([subject.person for subject in subjects])
    rows = probe_rows(people, settings.probes)
    clean = torch.from_numpy(arrays["embedding"])
    mate = mates(clean, people, recognizer.card.similarity)
    kinds = (CRITICAL, *settings.baselines)
    masks = [
        np.stack(
            [
                mask_of(
                    kind, row, subjects, arrays["critical"], arrays["density"], parsings, settings
                )
                for row in rows
            ]
        )
        for kind in kinds
    ]
    picked = torch.from_numpy(rows)
    drops = mask_drops(images[rows], masks, clean[picked], mate[picked], recognizer, settings.fill)
    # A map that is empty has no mask.
    drops[:, arrays["empty"][rows, 0]] = np.nan
    return {
        "probe": rows,
        "clean": recognizer.similarity(clean, mate)[picked].numpy(),
        "drop": drops.T,
    }


def mask_drops(
    images: Chips,
    masks: Sequence[NDArray[np.bool_]],
    clean: Tensor,
    mate: Tensor,
    recognizer: Recognizer,
    fill: str,
) -> NDArray[np.float32]:
    """The drop under each of several masks of the same faces, embedded in shared batches.

    Args:
        images: ``n`` aligned faces, ``(n, h, w, 3)``.
        masks: ``K`` masks of each, ``(K, n, h, w)``.
        clean: The faces' embeddings, ``(n, D)``.
        mate: What they are compared with, ``(n, D)``.
        recognizer: What sees them.
        fill: What replaces a pixel.

    Returns:
        ``(K, n)``; NaN where a mask is empty.
    """
    hidden = recognizer.embed(np.concatenate([hide(images, one, fill) for one in masks])).cpu()
    shaped = hidden.reshape(len(masks), len(images), -1)
    drops = drop(clean, shaped, mate, recognizer.card.similarity).numpy()
    some = np.stack([one.any(axis=(1, 2)) for one in masks])
    return np.where(some, drops, np.float32(np.nan))


def mask_of(
    kind: str,
    row: int,
    subjects: Sequence[Subject],
    critical: NDArray[np.bool_],
    density: NDArray[np.floating],
    parsings: Sequence[Parsing],
    settings: Settings,
) -> Mask:
    """A face's mask of the asked kind; random ones depend on the seed and the picture alone.

    Args:
        kind: ``critical`` or a baseline.
        row: Which face.
        subjects: The ``n`` faces.
        critical: Their critical masks, ``(n, h, w)``.
        density: Their overall maps, ``(n, h, w)``.
        parsings: Their regions.
        settings: The study's choices.
    """
    own: Mask = critical[row]
    if kind == CRITICAL:
        return own
    # The next face of another person, round the slice.
    others = [
        i for i in np.roll(range(len(subjects)), -row) if subjects[i].person != subjects[row].person
    ]
    given = ControlInput(
        critical=own,
        overall=density[row],
        face=np.isin(parsings[row].regions, _FACE),
        other=critical[others[0]] if others else np.zeros_like(own),
        generator=seeded(f"{kind}/{subjects[row].image}", settings.seed),
    )
    return CONTROLS[kind](given)


def random_given(critical: Mask, overall: NDArray[np.float32], key: str, seed: int) -> ControlInput:
    """What a baseline needs that looks at nothing but the size of a mask."""
    nothing = np.zeros_like(critical)
    return ControlInput(critical, overall, nothing, nothing, seeded(key, seed))


def seeded(key: str, seed: int) -> np.random.Generator:
    """A generator that depends on a name and the study's seed alone, not on what ran before."""
    return np.random.default_rng([seed, zlib.crc32(key.encode())])

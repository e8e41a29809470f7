"""A close look at a few people: what is too costly to measure on everybody."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leam.explain.explainer import Explainer
from leam.explain.masks import critical_mask
from leam.explain.targets import Target, reference_target, self_target
from leam.faces.alignment import transform_points
from leam.metrics.robustness import cascade, flip_consistency, max_sensitivity
from leam.metrics.swap import difference_target, like_posed, swap_ranking, swap_region
from leam.metrics.verification import Pairs, best_threshold, deletion, insertion
from leam.parsers.parsing import Parsing
from leam.parsers.regions import REGIONS
from leam.recognizers.card import Similarity
from leam.recognizers.recognizer import Recognizer, similarity
from leam.study.album import Page
from leam.study.occluding import CRITICAL, mask_drops, mask_of, seeded
from leam.study.plan import Plan, Settings
from leam.study.store import Arrays, RunFolder
from leam.study.subject import Subject
from leam.study.targeting import mates

PANEL = "panel"
SWAPPED = ("nose", "eyes", "brows", "lips")
"""The regions that are exchanged between two people's faces."""
WAYS = ("deletion", "insertion")
ORDERS = ("map", "random")
"""By what pixels are ranked when they are deleted or inserted."""

_DRAWS = 5
_STEPS = 5
# Slices whose embeddings set the threshold of verification.
_THRESHOLD_SLICES = 64


def choose_panel(plan: Plan, positions: Sequence[int]) -> frozenset[int]:
    """The first usable picture of as many people, drawn with the study's seed, as the panel has.

    Args:
        plan: The study.
        positions: Of the pictures that can be used.
    """
    first: dict[str, int] = {}
    for position in positions:
        first.setdefault(plan.images[position].person, position)
    people = list(first)
    drawn = seeded(PANEL, plan.settings.seed).permutation(len(people))[: plan.settings.panel]
    return frozenset(first[people[index]] for index in drawn)


def threshold_of(plan: Plan, folder: RunFolder, model: str, kind: Similarity) -> float:
    """The similarity that best parts pairs of one person from pairs of two, within slices of the study.

    At most 64 slices are looked at, so that it does not grow with the study.
    """
    scores, same = [], []
    for index, _ in enumerate(plan.slices[:_THRESHOLD_SLICES]):
        arrays = folder.read_shard(f"maps/{model}", index, ["position", "embedding"])
        if not arrays:
            continue
        embeddings = torch.from_numpy(arrays["embedding"])
        people = np.array([plan.images[position].person for position in arrays["position"]])
        first, second = np.triu_indices(len(people), 1)
        scores.append(similarity(embeddings[first], embeddings[second], kind).double().numpy())
        same.append(people[first] == people[second])
    values, truth = np.concatenate(scores), np.concatenate(same)
    known = np.isfinite(values)
    return best_threshold(values[known], truth[known]) if known.any() else float("nan")


def examine_slice(
    page: Page,
    panel: frozenset[int],
    explainer: Explainer,
    arrays: Arrays,
    parsings: Sequence[Parsing],
    settings: Settings,
    threshold: float,
) -> Arrays:
    """All that is measured on the panel's faces of a slice.

    Args:
        page: The slice's faces.
        panel: Positions of the panel's pictures.
        explainer: Explains the recognizer.
        arrays: The slice's maps, of :func:`measure_slice`.
        parsings: The faces' regions.
        settings: The study's choices.
        threshold: The similarity from which two faces count as one person's.

    Returns:
        For ``p`` faces: ``position (p,)``; ``grid (p, F, K, T)``, drops by fill, mask (critical, then baselines) and
        top fraction; ``right (p, 2, W, O, 11)`` bool, whether the pair with the person's template and the one with
        another person's are decided rightly as pixels are deleted or inserted by the map or at random; ``rank`` and
        ``ssim (p, S)``, likeness of the map to itself as layers are randomised; ``sensitivity`` and ``flip (p,)``;
        ``swap (p, G)``, how well the map ranks exchanged regions.
    """
    scene = _scene(page, panel, explainer.recognizer, arrays)
    rows, kind = scene.rows, explainer.recognizer.card.similarity
    target = _target(settings, scene.mate, kind)
    chips = torch.from_numpy(scene.images)

    def explain(chips: Tensor) -> Tensor:
        return explainer.explain(chips, target).overall.cpu()

    return {
        "position": np.array([page.subjects[row].position for row in rows]),
        "grid": _grid(scene, page.subjects, parsings, settings),
        "right": _verification(scene, threshold, settings),
        **_sanity(explainer, lambda: explain(chips), settings.seed),
        "sensitivity": max_sensitivity(chips, explain, settings.seed, draws=_DRAWS).numpy(),
        "flip": flip_consistency(chips, explain).numpy(),
        "swap": _swaps(scene, page, explainer, parsings),
    }


@dataclass(frozen=True)
class _Scene:
    """The panel's ``p`` faces of a slice, under one recognizer.

    Attributes:
        recognizer: Sees them.
        rows: Where they stand among the slice's ``n`` faces, ``(p,)``.
        keys: Their pictures' names.
        images: Aligned, ``(p, h, w, 3)``.
        clean: Their embeddings, ``(p, D)``.
        mate: Templates of their people's other pictures, ``(p, D)``.
        stranger: Another person's embedding for each, ``(p, D)``.
        density: Overall maps of all faces of the slice, ``(n, h, w)``.
    """

    recognizer: Recognizer
    rows: NDArray[np.intp]
    keys: list[str]
    images: NDArray[np.uint8]
    clean: Tensor
    mate: Tensor
    stranger: Tensor
    density: Tensor


def _scene(
    page: Page,
    panel: frozenset[int],
    recognizer: Recognizer,
    arrays: Arrays,
) -> _Scene:
    rows = np.array([i for i, one in enumerate(page.subjects) if one.position in panel])
    people = np.array([subject.person for subject in page.subjects])
    embeddings = torch.from_numpy(arrays["embedding"])
    picked = torch.from_numpy(rows)
    return _Scene(
        recognizer,
        rows,
        [page.subjects[row].image for row in rows],
        page.chips[recognizer.crop].images[rows],
        embeddings[picked],
        mates(embeddings, people, recognizer.card.similarity)[picked],
        embeddings[[_stranger(people, row) for row in rows]],
        torch.from_numpy(arrays["density"].astype(np.float32)),
    )


def _target(settings: Settings, mate: Tensor, kind: Similarity) -> Target:
    """What is explained on the panel; a contrast is looked at through the person's own template."""
    return self_target if settings.target == "self" else reference_target(mate, kind)


def _stranger(people: NDArray[np.str_], row: int) -> int:
    """The next face of another person, round the slice; the face itself where there is nobody else."""
    others = [i for i in np.roll(range(len(people)), -row) if people[i] != people[row]]
    return int(others[0]) if others else row


def _grid(
    scene: _Scene, subjects: Sequence[Subject], parsings: Sequence[Parsing], settings: Settings
) -> NDArray[np.float32]:
    """Drops by fill, mask and top fraction, ``(p, F, K, T)``."""
    kinds = (CRITICAL, *settings.baselines)
    columns = []
    for fraction in settings.curve:
        critical = critical_mask(scene.density, fraction).numpy()
        density = scene.density.numpy()
        masks = [
            np.stack(
                [
                    mask_of(k, row, subjects, critical, density, parsings, settings)
                    for row in scene.rows
                ]
            )
            for k in kinds
        ]
        drops = [
            mask_drops(scene.images, masks, scene.clean, scene.mate, scene.recognizer, fill)
            for fill in settings.fills
        ]
        columns.append(np.stack(drops))
    return np.stack(columns, axis=-1).transpose(2, 0, 1, 3)


def _verification(scene: _Scene, threshold: float, settings: Settings) -> NDArray[np.bool_]:
    """Whether pairs are decided rightly as pixels go or come, ``(p, 2, W, O, 11)``."""
    recognizer, faces = scene.recognizer, len(scene.rows)
    pairs = Pairs(
        torch.cat([scene.mate, scene.stranger]),
        np.repeat([True, False], faces),
        threshold,
        recognizer.card.similarity,
    )
    size = scene.images.shape[1:3]
    random = np.stack([seeded(f"order/{key}", settings.seed).random(size) for key in scene.keys])
    maps = (scene.density[torch.from_numpy(scene.rows)], torch.from_numpy(random))
    probes = np.concatenate([scene.images] * 2)
    found = [
        [
            walk(probes, torch.cat([order] * 2), pairs, recognizer.embed, settings.fill).right
            for order in maps
        ]
        for walk in (deletion, insertion)
    ]
    # From (W, O, steps, 2 p).
    values = np.array(found).reshape(len(WAYS), len(ORDERS), -1, 2, faces)
    return np.ascontiguousarray(values.transpose(4, 3, 0, 1, 2))


def _sanity(explainer: Explainer, explain: Callable[[], Tensor], seed: int) -> Arrays:
    found = cascade(explainer.recognizer.module, explain, seed, _STEPS)
    return {
        "rank": np.stack([one.rank for one in found], axis=1),
        "ssim": np.stack([one.ssim for one in found], axis=1),
    }


def _swaps(
    scene: _Scene, page: Page, explainer: Explainer, parsings: Sequence[Parsing]
) -> NDArray[np.float32]:
    """How well the map of what parts a face from its changed copy ranks the exchanged region, ``(p, G)``."""
    rows, recognizer = scene.rows, scene.recognizer
    chips = page.chips[recognizer.crop]
    people = np.unique([subject.person for subject in page.subjects], return_inverse=True)[1]
    if people.max() == 0:
        return np.full((len(rows), len(SWAPPED)), np.nan, dtype=np.float32)
    points = np.stack(
        [transform_points(m, p) for m, p in zip(chips.matrices, page.landmarks, strict=True)]
    )
    donors = like_posed(points, people)[rows]
    regions = np.stack([parsing.regions for parsing in parsings])
    target = difference_target(scene.clean, recognizer.card.similarity)
    rankings = []
    for name in SWAPPED:
        region = regions == REGIONS.index(name)
        # Both faces' region, so that nothing of the old one is left beside the new one.
        masks = region[rows] | region[donors]
        changed = [
            swap_region(*one) for one in zip(scene.images, chips.images[donors], masks, strict=True)
        ]
        maps = explainer.explain(np.stack(changed), target).overall
        rankings.append(swap_ranking(maps, torch.from_numpy(masks)).numpy())
    return np.stack(rankings, axis=1).astype(np.float32)

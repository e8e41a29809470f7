"""Explain and measure the faces of one slice with one recognizer."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from leam.faces.face import Face
from leam.mapping.explainer import Explainer, Maps
from leam.mapping.targets import (
    Target,
    contrast_target,
    nearest,
    reference_target,
    self_target,
    template,
)
from leam.measures.baselines import BASELINES, Given
from leam.measures.critical import critical_mask
from leam.measures.fills import occlude
from leam.measures.occlusion import drop
from leam.measures.shares import region_areas, region_shares
from leam.parsers.parsing import Parser, Parsing
from leam.parsers.regions import LABELS, REGIONS
from leam.study.plan import Settings
from leam.study.store import Arrays

BATCH = 32
# Layer maps are kept as means over faces, for pictures only, at most this large.
PICTURE_SIDE = 56
# How many nearest impostors the contrast target pushes away from.
IMPOSTORS = 5
# The regions that a mask kept on the face may lie in: no hair, ears, neck, clothes or background.
_FACE = [
    REGIONS.index(label.region)
    for label in LABELS
    if label.group in {"skin", "nose", "eyes", "brows", "mouth"} or label.name == "glasses"
]


@dataclass(frozen=True)
class Subject:
    """A face of the study.

    Attributes:
        position: Of its picture in the plan.
        person: Whose it is.
        image: The picture's name.
        face: The face itself.
    """

    position: int
    person: str
    image: str
    face: Face


def measure_slice(
    subjects: Sequence[Subject],
    explainer: Explainer,
    parser: Parser,
    settings: Settings,
    others: Tensor | None = None,
) -> Arrays:
    """All that a study keeps of the faces of a slice under one recognizer.

    Args:
        subjects: The faces, whole people, each with at least two.
        explainer: Explains the recognizer.
        parser: Names the regions.
        settings: The study's choices.
        others: For the ``contrast`` target, templates of people outside this slice, ``(n, D)``.

    Returns:
        For ``n`` faces, ``L`` layers, ``R`` regions, ``K`` kinds of mask (``critical`` first, then
        the baselines): ``layers (L,)`` their names; ``position (n,)``; ``embedding (n, D)``;
        ``density (n, h, w)`` float16, the overall map times its number of pixels; ``critical (n,
        ceil(h w / 8))`` packed bits; ``share`` and ``mass`` ``(n, 1 + L, R)`` of the overall map
        and each layer; ``area`` and ``confidence (n, R)``; ``empty (n, 1 + L)``; ``clean (n,)``;
        ``drop (n, K)``; and sums over faces for pictures: ``face_sum (h, w, 3)``, ``layer_sum (L,
        s, s)``.
    """
    recognizer = explainer.recognizer
    chips = np.stack([recognizer.crop.align(subject.face).image for subject in subjects])
    parsings = [parser.parse(subject.face, recognizer.crop) for subject in subjects]
    people = np.array([subject.person for subject in subjects])
    targets = _target_maker(explainer, chips, people, settings, others)
    parts = [
        _measure_maps(explainer.explain(chips[batch], targets(batch)), parsings[batch], settings)
        for batch in (slice(start, start + BATCH) for start in range(0, len(subjects), BATCH))
    ]
    arrays = {
        name: np.sum([part[name] for part in parts], axis=0)
        if name.endswith("_sum")
        else np.concatenate([part[name] for part in parts])
        for name in parts[0]
    }
    arrays["layers"] = np.array([layer.name for layer in explainer.layers])
    arrays["position"] = np.array([subject.position for subject in subjects])
    arrays["face_sum"] = chips.sum(axis=0, dtype=np.int64)
    arrays.update(_occlude(subjects, explainer, chips, arrays, parsings, settings))
    arrays["critical"] = np.packbits(arrays["critical"].reshape(len(subjects), -1), axis=1)
    return arrays


def _target_maker(
    explainer: Explainer,
    chips: NDArray[np.uint8],
    people: NDArray[np.str_],
    settings: Settings,
    others: Tensor | None,
) -> Callable[[slice], Target]:
    """A function from a slice of the faces to the target that explains them."""
    recognizer = explainer.recognizer
    kind = recognizer.card.similarity

    def of_self(_batch: slice) -> Target:
        return self_target

    if settings.target == "self":
        return of_self
    embeddings = recognizer.embed(chips)
    templates = mates(embeddings, people, kind)
    if settings.target == "template":
        return lambda batch: reference_target(templates[batch], kind)
    names = list(dict.fromkeys(people.tolist()))
    own = torch.stack(
        [template(embeddings[torch.from_numpy(people == name)], kind) for name in names]
    )

    def of_contrast(batch: slice) -> Target:
        impostors = []
        for index in range(*batch.indices(len(people))):
            neighbours = own[[name != people[index] for name in names]]
            candidates = neighbours if others is None else torch.cat([neighbours, others])
            impostors.append(nearest(templates[index : index + 1], candidates, IMPOSTORS, kind)[0])
        return contrast_target(templates[batch], torch.stack(impostors), kind)

    return of_contrast


def mates(embeddings: Tensor, people: NDArray[np.str_], kind: str) -> Tensor:
    """For each face the template of the same person's other faces, ``(n, D)``."""
    rows = []
    for index, person in enumerate(people):
        same = torch.from_numpy(people == person)
        same[index] = False
        rows.append(template(embeddings[same], kind))  # type: ignore[arg-type]
    return torch.stack(rows)


def _measure_maps(maps: Maps, parsings: Sequence[Parsing], settings: Settings) -> Arrays:
    """Masks and region shares of a batch's maps."""
    regions = torch.from_numpy(np.stack([parsing.regions for parsing in parsings]))
    confidence = np.stack([parsing.confidence for parsing in parsings])
    layers = maps.at_input_size()
    everything = torch.cat([maps.overall[None], layers]).cpu()
    masks = critical_mask(everything, settings.top)
    pixels = maps.overall[0].numel()
    side = (min(PICTURE_SIDE, maps.overall.shape[1]), min(PICTURE_SIDE, maps.overall.shape[2]))
    small = functional.interpolate(layers.sum(dim=1)[None], size=side, mode="area")[0] * pixels
    return {
        "embedding": maps.embeddings.cpu().numpy(),
        "density": (maps.overall * pixels).cpu().numpy().astype(np.float16),
        "critical": masks[0].numpy(),
        "share": _by_face(region_shares(masks, regions, len(REGIONS))),
        "mass": _by_face(region_shares(everything, regions, len(REGIONS))),
        "area": region_areas(regions, len(REGIONS)).numpy(),
        "confidence": _mean_by_region(confidence, regions.numpy()),
        "empty": np.concatenate(
            [maps.overall_empty.cpu().numpy()[:, None], maps.empty.cpu().numpy().T], axis=1
        ),
        "layer_sum": small.cpu().numpy(),
    }


def _by_face(values: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = values.transpose(0, 1).numpy()
    return array


def _mean_by_region(values: NDArray[np.float32], regions: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Mean of values ``(n, h, w)`` over each region, ``(n, R)``; NaN where a region is absent."""
    means = np.full((len(values), len(REGIONS)), np.nan, dtype=np.float32)
    for row, (value, region) in enumerate(zip(values, regions, strict=True)):
        counts = np.bincount(region.ravel(), minlength=len(REGIONS))
        sums = np.bincount(region.ravel(), weights=value.ravel(), minlength=len(REGIONS))
        means[row, counts > 0] = sums[counts > 0] / counts[counts > 0]
    return means


def _occlude(
    subjects: Sequence[Subject],
    explainer: Explainer,
    chips: NDArray[np.uint8],
    arrays: Arrays,
    parsings: Sequence[Parsing],
    settings: Settings,
) -> Arrays:
    """The clean similarity with each face's mate, and how far each kind of mask lowers it."""
    recognizer = explainer.recognizer
    kind = recognizer.card.similarity
    clean = torch.from_numpy(arrays["embedding"])
    mate = mates(clean, np.array([subject.person for subject in subjects]), kind)
    values = np.full((len(subjects), 1 + len(settings.baselines)), np.nan, dtype=np.float32)
    for column, name in enumerate(("critical", *settings.baselines)):
        masks = [
            _mask(name, index, subjects, arrays, parsings, settings.seed)
            for index in range(len(subjects))
        ]
        hidden = [
            occlude(chip, mask, settings.fill) for chip, mask in zip(chips, masks, strict=True)
        ]
        drops = drop(clean, recognizer.embed(np.stack(hidden)).cpu(), mate, kind).numpy()
        # A map that is empty has no mask, and a person alone no other's.
        values[:, column] = np.where([mask.any() for mask in masks], drops, np.nan)
    values[arrays["empty"][:, 0]] = np.nan
    return {"clean": recognizer.similarity(clean, mate).numpy(), "drop": values}


def _mask(
    name: str,
    index: int,
    subjects: Sequence[Subject],
    arrays: Arrays,
    parsings: Sequence[Parsing],
    seed: int,
) -> NDArray[np.bool_]:
    """A face's mask of the asked kind; random ones depend on the seed and the picture alone."""
    critical: NDArray[np.bool_] = arrays["critical"][index]
    if name == "critical":
        return critical
    key = zlib.crc32(f"{name}/{subjects[index].image}".encode())
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
        other=arrays["critical"][others[0]] if others else np.zeros_like(critical),
        generator=np.random.default_rng([seed, key]),
    )
    return BASELINES[name](given)

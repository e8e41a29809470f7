"""Explain and measure the faces of one slice with one recognizer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from leam.mapping.explainer import Explainer, Maps
from leam.measures.critical import critical_mask
from leam.measures.focus import centre_of_mass, spread
from leam.measures.shares import region_areas, region_shares
from leam.parsers.areas import region_table
from leam.parsers.parsing import Parsing
from leam.parsers.regions import REGIONS
from leam.study.occluding import occlude_slice
from leam.study.plan import Settings
from leam.study.store import Arrays
from leam.study.subject import Subject
from leam.study.targeting import target_maker

BATCH = 32
# Layer maps are kept as means over faces, for pictures only, at most this large.
PICTURE_SIDE = 56


def measure_slice(
    subjects: Sequence[Subject],
    explainer: Explainer,
    parsings: Sequence[Parsing],
    settings: Settings,
    second_parsings: Sequence[Parsing] | None = None,
    others: Tensor | None = None,
) -> Arrays:
    """All that a study keeps of the faces of a slice under one recognizer.

    Args:
        subjects: The faces, whole people, each with at least two.
        explainer: Explains the recognizer.
        parsings: Each face's regions in the recognizer's crop.
        settings: The study's choices.
        second_parsings: The same by another parser, to see how far shares depend on it.
        others: For the ``contrast`` target, templates of people outside this slice, ``(n, D)``.

    Returns:
        For ``n`` faces, ``L`` layers, ``R`` regions, ``K`` kinds of mask (``critical`` first, then
        the baselines): ``layers (L,)`` their names; ``position (n,)``; ``matrix (n, 2, 3)`` from
        picture to chip; ``embedding (n, D)``;
        ``density (n, h, w)`` float16, the overall map times its number of pixels; ``critical (n,
        ceil(h w / 8))`` packed bits; ``share`` and ``mass`` ``(n, 1 + L, R)`` of the overall map
        and each layer; ``spread (n, 1 + L)`` and ``centre (n, 1 + L, 2)`` likewise; ``area`` and
        ``confidence (n, R)``, and with a second parser ``second_share`` and ``second_area (n, R)``;
        ``empty (n, 1 + L)``; what :func:`occlude_slice` gives; and sums over
        faces for pictures: ``face_sum (h, w, 3)``, ``layer_sum (L, s, s)``.
    """
    recognizer = explainer.recognizer
    aligned = [recognizer.crop.align(subject.face) for subject in subjects]
    chips = np.stack([chip.image for chip in aligned])
    people = np.array([subject.person for subject in subjects])
    targets = target_maker(explainer, chips, people, settings, others)
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
    arrays["matrix"] = np.stack([chip.matrix for chip in aligned])
    arrays["face_sum"] = chips.sum(axis=0, dtype=np.int64)
    arrays.update(occlude_slice(subjects, explainer, chips, arrays, parsings, settings))
    if second_parsings:
        arrays.update(_shares_again(arrays["critical"], second_parsings))
    arrays["critical"] = np.packbits(arrays["critical"].reshape(len(subjects), -1), axis=1)
    return arrays


def _measure_maps(maps: Maps, parsings: Sequence[Parsing], settings: Settings) -> Arrays:
    """Masks and region shares of a batch's maps."""
    regions = torch.from_numpy(np.stack([parsing.regions for parsing in parsings]))
    confidence = [[row.confidence for row in region_table(parsing)] for parsing in parsings]
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
        "spread": _by_face(spread(everything)),
        "centre": _by_face(centre_of_mass(everything)),
        "area": region_areas(regions, len(REGIONS)).numpy(),
        "confidence": np.array(confidence, dtype=np.float32),
        "empty": np.concatenate(
            [maps.overall_empty.cpu().numpy()[:, None], maps.empty.cpu().numpy().T], axis=1
        ),
        "layer_sum": small.cpu().numpy(),
    }


def _shares_again(critical: NDArray[np.bool_], parsings: Sequence[Parsing]) -> Arrays:
    """Shares of the critical masks ``(n, h, w)`` in the regions of another parser, and their areas."""
    regions = torch.from_numpy(np.stack([parsing.regions for parsing in parsings]))
    return {
        "second_share": region_shares(torch.from_numpy(critical), regions, len(REGIONS)).numpy(),
        "second_area": region_areas(regions, len(REGIONS)).numpy(),
    }


def _by_face(values: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = values.transpose(0, 1).numpy()
    return array

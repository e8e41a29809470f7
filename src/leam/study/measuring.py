"""Explain and measure the faces of one slice with one recognizer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leam.explain.aggregates import upsample
from leam.explain.explainer import Explainer, Maps
from leam.explain.masks import critical_mask
from leam.metrics.overlap import centre_of_mass, spread
from leam.parsers.parsing import Parsing, region_table
from leam.parsers.regions import REGIONS
from leam.parsers.shares import cell_regions, cell_shares, region_areas, region_shares
from leam.study.album import Chips
from leam.study.occluding import occlude_slice
from leam.study.plan import Settings
from leam.study.store import Arrays
from leam.study.subject import Subject
from leam.study.targeting import target_maker

# Layer maps are kept as means over faces, for pictures only, at most this large.
PICTURE_SIDE = 56
BATCH = 32


def measure_slice(
    subjects: Sequence[Subject],
    chips: Chips,
    explainer: Explainer,
    parsings: Sequence[Parsing],
    settings: Settings,
    second_parsings: Sequence[Parsing] | None = None,
    others: Tensor | None = None,
) -> Arrays:
    """All that a study keeps of the faces of a slice under one recognizer.

    Args:
        subjects: The faces, whole people, each with at least two.
        chips: As the recognizer sees them.
        explainer: Explains the recognizer.
        parsings: Each face's regions in the recognizer's crop.
        settings: The study's choices.
        second_parsings: The same by another parser, to see how far shares depend on it.
        others: For the ``contrast`` target, templates of people outside this slice, ``(n, D)``.

    Returns:
        For ``n`` faces, ``L`` layers, ``R`` regions: ``layers (L,)`` their names; ``position (n,)``; ``matrix (n, 2,
        3)`` from picture to chip; ``embedding (n, D)``; ``density (n, h, w)`` float16, the overall map times its
        number of pixels; ``critical (n, ceil(h w / 8))`` packed bits; ``share`` and ``mass`` ``(n, 1 + L, R)`` of the
        overall map and each layer; ``spread (n, 1 + L)`` and ``centre (n, 1 + L, 2)`` likewise; ``area`` and
        ``confidence (n, R)``, and with a second parser ``second_share`` and ``second_area (n, R)``; ``empty (n, 1 +
        L)``; what :func:`occlude_slice` gives; and sums over faces for pictures: ``face_sum (h, w, 3)``, ``layer_sum
        (L, s, s)``.
    """
    recognizer, images = explainer.recognizer, chips.images
    people = np.array([subject.person for subject in subjects])
    targets = target_maker(explainer, images, people, settings, others)
    parts = [
        _measure_maps(explainer.explain(images[batch], targets(batch)), parsings[batch], settings)
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
    arrays["matrix"] = chips.matrices
    arrays["face_sum"] = images.sum(axis=0, dtype=np.int64)
    arrays.update(occlude_slice(subjects, recognizer, images, arrays, parsings, settings))
    if second_parsings:
        arrays.update(_shares_again(arrays["critical"], second_parsings))
    arrays["critical"] = np.packbits(arrays["critical"].reshape(len(subjects), -1), axis=1)
    return arrays


def _measure_maps(maps: Maps, parsings: Sequence[Parsing], settings: Settings) -> Arrays:
    """Masks and region shares of a batch's maps; layers are measured on their own grids."""
    regions = torch.from_numpy(np.stack([parsing.regions for parsing in parsings]))
    confidence = [[row.confidence for row in region_table(parsing)] for parsing in parsings]
    overall = maps.overall.cpu()
    critical = critical_mask(overall, settings.top)
    count, pixels = len(REGIONS), overall[0].numel()
    figures = {
        "share": [region_shares(critical, regions, count)],
        "mass": [region_shares(overall, regions, count)],
        "spread": [spread(overall)],
        "centre": [centre_of_mass(overall)],
    }
    found: dict[int, dict[str, Tensor]] = {}
    pictures: dict[int, Tensor] = {}
    for places, layers in _by_size(maps):
        cells = cell_regions(regions, count, (layers.shape[2], layers.shape[3]))
        values = {
            "share": cell_shares(critical_mask(layers, settings.top), cells),
            "mass": cell_shares(layers, cells),
            "spread": spread(layers),
            "centre": centre_of_mass(layers),
        }
        found |= {p: {k: v[i] for k, v in values.items()} for i, p in enumerate(places)}
        enlarged = upsample(layers.sum(dim=1), _picture_size(overall))
        pictures |= {p: enlarged[i] * enlarged[i].numel() for i, p in enumerate(places)}
    for place in range(len(maps.layers)):
        for name, values_of in figures.items():
            values_of.append(found[place][name])
    return {
        "embedding": maps.embeddings.cpu().numpy(),
        "density": (overall * pixels).numpy().astype(np.float16),
        "critical": critical.numpy(),
        **{name: torch.stack(values_of, dim=1).numpy() for name, values_of in figures.items()},
        "area": region_areas(regions, count).numpy(),
        "confidence": np.array(confidence, dtype=np.float32),
        "empty": torch.cat([maps.overall_empty[None], maps.empty]).T.cpu().numpy(),
        "layer_sum": torch.stack([pictures[p] for p in range(len(maps.layers))]).numpy(),
    }


def _by_size(maps: Maps) -> Iterator[tuple[list[int], Tensor]]:
    """The layer maps that share a grid: their places among the layers, and ``(L_s, B, h, w)``."""
    sizes: dict[tuple[int, int], list[int]] = {}
    for place, layer in enumerate(maps.layer_maps):
        sizes.setdefault((layer.shape[1], layer.shape[2]), []).append(place)
    for places in sizes.values():
        yield places, torch.stack([maps.layer_maps[place] for place in places]).cpu()


def _picture_size(overall: Tensor) -> tuple[int, int]:
    return min(PICTURE_SIDE, overall.shape[1]), min(PICTURE_SIDE, overall.shape[2])


def _shares_again(critical: NDArray[np.bool_], parsings: Sequence[Parsing]) -> Arrays:
    """Shares of the critical masks ``(n, h, w)`` in the regions of another parser, and their areas."""
    regions = torch.from_numpy(np.stack([parsing.regions for parsing in parsings]))
    return {
        "second_share": region_shares(torch.from_numpy(critical), regions, len(REGIONS)).numpy(),
        "second_area": region_areas(regions, len(REGIONS)).numpy(),
    }

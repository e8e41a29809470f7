"""Which regions of a person's face link the person's pictures, and whether they do so for everybody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from leam.faces.face import Face
from leam.metrics.occlusion import hide
from leam.metrics.statistics import FEWEST, LEVEL, Estimate, Numbers, bootstrap_mean
from leam.parsers.parsing import Parser
from leam.parsers.regions import REGIONS, regions_of
from leam.protect.record import RegionRecord, Whose
from leam.recognizers.recognizer import Recognizer, similarity


@dataclass(frozen=True)
class Drops:
    """Drops of the similarity with a person's other pictures when a region is hidden.

    Attributes:
        values: The mean drop of each face, ``(n,)``; NaN where the face does not show the region.
        area: The part of the aligned faces that the region covers, in [0, 1].
    """

    values: Numbers
    area: float


def region_drops(
    faces: Sequence[Face], people: Sequence[str], recognizer: Recognizer, parser: Parser
) -> dict[str, Drops]:
    """Hide each region in each picture, and measure the similarity with the person's other pictures.

    Args:
        faces: Faces, at least two of each person.
        people: The person of each face.
        recognizer: The recognizer.
        parser: Finds the regions.

    Returns:
        By region; without the background.
    """
    crop, kind = recognizer.crop, recognizer.card.similarity
    chips = np.stack([crop.align(face).image for face in faces])
    regions = np.stack([parser.parse(face, crop).regions for face in faces])
    clean = recognizer.embed(chips)
    owner = np.asarray(people)
    mates = torch.from_numpy((owner[:, None] == owner) & ~np.eye(len(owner), dtype=bool))

    def with_mates(rows: torch.Tensor, embeddings: torch.Tensor) -> torch.Tensor:
        scores = similarity(embeddings[:, None], clean[None], kind).cpu()
        return (scores * mates[rows]).sum(dim=1) / mates[rows].sum(dim=1)

    before = with_mates(torch.arange(len(faces)), clean)
    found: dict[str, Drops] = {}
    for region in regions_of(parser.labels):
        masks = regions == REGIONS.index(region)
        rows = np.flatnonzero(masks.any(axis=(1, 2)))
        if region == "background" or not len(rows):
            continue
        hidden = recognizer.embed(hide(chips[rows], masks[rows]))
        values = np.full(len(faces), np.nan)
        places = torch.from_numpy(rows)
        values[rows] = (before[places] - with_mates(places, hidden)).double().numpy()
        found[region] = Drops(values, float(masks.mean()))
    return found


def region_links(
    own: dict[str, Drops],
    others: tuple[dict[str, Drops], Sequence[str]] | None,
    seed: int,
) -> dict[str, RegionRecord]:
    """How much each region links a person's pictures; the region that links most first.

    The range of single people is a prediction interval for one more person, ``mean ± t s sqrt(1 + 1 / n)`` (Geisser,
    "Predictive Inference", 1993, ch. 2), at a level of 95 % for all regions together (Bonferroni).

    Args:
        own: From :func:`region_drops`, of the person.
        others: The same of a population, and the person of each of its faces; None without one.
        seed: Random seed.
    """
    shown = {
        name: one
        for name, one in own.items()
        if np.isfinite(one.values).sum() > len(one.values) / 2
    }
    found = {name: _compared(name, one, others, len(shown), seed) for name, one in shown.items()}
    return dict(sorted(found.items(), key=lambda item: -(item[1].drop.mean or 0.0)))


def _compared(
    region: str,
    own: Drops,
    others: tuple[dict[str, Drops], Sequence[str]] | None,
    regions: int,
    seed: int,
) -> RegionRecord:
    from scipy.stats import t  # noqa: PLC0415  slow to import

    present = np.isfinite(own.values)
    drop = bootstrap_mean(own.values[present], np.flatnonzero(present), seed)
    if drop.n < FEWEST:
        drop = Estimate(drop.mean, None, None, drop.n)
    found = RegionRecord(area=own.area, drop=drop, others=None, low=None, high=None, whose=None)
    if others is None or region not in others[0]:
        return found
    of_pictures, people = others[0][region].values, others[1]
    names, owner = np.unique(people, return_inverse=True)
    known = np.isfinite(of_pictures)
    counts = np.bincount(owner[known], minlength=len(names))
    sums = np.bincount(owner[known], of_pictures[known], minlength=len(names))
    means = sums[counts > 0] / counts[counts > 0]
    average = bootstrap_mean(means, np.arange(len(means)), seed)
    found = found.model_copy(update={"others": average, "whose": "inconclusive"})
    if average.n < FEWEST or drop.mean is None or average.mean is None:
        return found
    width = float(
        t.ppf(1 - (1 - LEVEL) / (2 * regions), average.n - 1)
        * means.std(ddof=1)
        * np.sqrt(1 + 1 / average.n)
    )
    low, high = average.mean - width, average.mean + width
    whose: Whose = "inconclusive"
    if drop.mean > high:
        whose = "own"
    elif drop.mean < low:
        whose = "less than others"
    elif average.low is not None and average.low > 0:
        whose = "everybody's"
    return found.model_copy(update={"low": low, "high": high, "whose": whose})

"""Which regions carry the errors of a recognizer, and the gaps between groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from leam.metrics.error_rates import Comparisons, Indices, mean_estimate
from leam.metrics.group_rates import (
    difference,
    exceeded,
    group_gap,
    largest_gaps,
    permuted_gaps,
)
from leam.metrics.occlusion import hide
from leam.metrics.statistics import Estimate, Numbers, finite
from leam.parsers import load_parser
from leam.parsers.regions import REGIONS, regions_of
from leam.recognizers.card import Similarity
from leam.results.figures import Figures, Model
from leam.results.shards import Shard, axes
from leam.study.comparisons import Compared, compared, scores_of
from leam.study.explained import EXPLAIN
from leam.study.plan import Plan
from leam.study.run_data import RunData
from leam.study.scene import Scene
from leam.study.stage import STAGES, Stage
from leam.study.stages.error_rates import groups_of, operating_threshold

AUDITED = ("nose", "eyes", "brows", "lips", "skin", "forehead", "hair")
"""Regions that are hidden, if the parser distinguishes them."""
LEVEL = 0.001
"""Level of a conclusion about a gap, of the corrected p-value."""
# Comparisons of a kind that are analysed, and of two groups; more are drawn at random.
_MOST = 5000
_MOST_OF_GROUPS = 20_000

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class HiddenRegions(Shard):
    """Embeddings of a slice's faces with one region hidden."""

    position: Annotated[NDArray[np.int64], axes("face", doc="Position of the picture in the plan.")]
    regions: Annotated[NDArray[np.str_], axes("region", doc="The regions.")]
    embedding: Annotated[
        NDArray[np.float32],
        axes(
            "face",
            "region",
            "dimension",
            doc="The embedding with the region hidden.",
            reveals="embedding",
        ),
    ]
    area: Annotated[
        NDArray[np.float32], axes("face", "region", doc="Part of the chip that the region covers.")
    ]


class ErrorReasonFigures(Figures):
    """What each region contributes to the similarity of comparisons.

    A contribution is how much the similarity falls if the region is hidden in both pictures. Positive contributions
    make a pair alike, negative ones make it different.
    """

    class Kind(Model):
        """One kind of error, beside correct comparisons of equal similarity."""

        errors: int
        """Number of errors that were analysed."""
        similarity: float | None
        """Their mean similarity."""
        matched_similarity: float | None
        """Mean similarity of the correct comparisons."""
        contribution: dict[str, Estimate]
        """Contribution of each region in the errors."""
        matched: dict[str, Estimate]
        """Contribution of each region in the correct comparisons."""
        difference: dict[str, Estimate]
        """Errors minus correct comparisons."""

    class Gap(Model):
        """How the contribution of a region differs between two groups."""

        comparisons: str
        """``genuine`` or ``impostor``."""
        first: str
        """A group."""
        second: str
        """The other group."""
        region: str
        """The region."""
        difference: Estimate
        """First group minus second group."""
        standardised: float | None
        """The difference divided by its standard deviation under permuted group labels; null without a p-value."""
        p: float | None
        """Two-sided p-value of permuted group labels; null for groups of fewer than ten people."""
        p_adjusted: float | None
        """The p-value corrected for all gaps of the column, by the largest gap of each permutation (Westfall and
        Young)."""

    threshold: float | None
    """The operating threshold."""
    regions: list[str]
    """The regions."""
    false_matches: Kind
    """Accepted impostor comparisons, beside accepted genuine comparisons."""
    false_non_matches: Kind
    """Rejected genuine comparisons, beside rejected impostor comparisons."""
    columns: dict[str, list[Gap]]
    """Gaps between groups by column."""


@STAGES("error_reasons")
class ErrorReasons(Stage[HiddenRegions]):
    """Hides each region of every face, and compares what it contributes to errors and to correct comparisons."""

    name = "error_reasons"
    title = "reasons of errors"
    in_audit = True
    phase = "compare"
    needs = (EXPLAIN,)
    shard = HiddenRegions
    figures = ErrorReasonFigures

    def applies(self, plan: Plan) -> bool:
        """Whether the study is an audit."""
        return plan.settings.audit

    def of_slice(self, scene: Scene) -> HiddenRegions:
        """The embeddings of a slice's faces with each region hidden."""
        parsed = np.stack([parsing.regions for parsing in scene.parsings])
        distinguished = regions_of(load_parser(scene.settings.parser).labels)
        names = [name for name in AUDITED if name in distinguished]
        masks = [parsed == REGIONS.index(name) for name in names]
        embeddings = [
            scene.recognizer.embed(hide(scene.chips.images, mask, scene.settings.fill))
            for mask in masks
        ]
        return HiddenRegions(
            position=scene.positions,
            regions=np.array(names),
            embedding=np.stack([one.cpu().numpy() for one in embeddings], axis=1),
            area=np.stack([mask.mean(axis=(1, 2), dtype=np.float32) for mask in masks], axis=1),
        )

    def summarise(self, run: RunData, recognizer: str) -> ErrorReasonFigures | None:
        """The contributions of regions to errors and to gaps; None without genuine and impostor comparisons."""
        found = compared(run, recognizer)
        parts = list(run.shards(HiddenRegions, self.name, recognizer))
        if found is None or not parts:
            return None
        threshold, _ = operating_threshold(run.plan, recognizer, found.comparisons)
        regions = Regions.read(run, recognizer, parts)
        accepted = found.comparisons.scores >= threshold
        genuine = found.comparisons.first == found.comparisons.second
        seed = run.settings.seed
        return ErrorReasonFigures(
            threshold=finite(threshold),
            regions=regions.names,
            false_matches=_kind(found, regions, accepted & ~genuine, accepted & genuine, seed),
            false_non_matches=_kind(
                found, regions, ~accepted & genuine, ~accepted & ~genuine, seed
            ),
            columns={
                column: region_gaps(found, regions, groups_of(run, found, column), seed)
                for column in run.settings.groups
            },
        )


@dataclass(frozen=True)
class Regions:
    """The embeddings of a study's faces with each region hidden.

    Attributes:
        names: The regions.
        embeddings: Embeddings with each region hidden, ``(n, R, D)``.
        area: Mean part of the chip that each region covers, ``(R,)``.
        row: The row of each picture of the plan, ``(images,)``; -1 if it has none.
        kind: The recognizer's similarity.
    """

    names: list[str]
    embeddings: NDArray[np.float32]
    area: Numbers
    row: Indices
    kind: Similarity

    @classmethod
    def read(cls, run: RunData, recognizer: str, parts: Sequence[HiddenRegions]) -> Regions:
        """Join the shards of a study."""
        position = np.concatenate([part.position for part in parts])
        row = np.full(len(run.plan.images), -1)
        row[position] = np.arange(len(position))
        return cls(
            parts[0].regions.tolist(),
            np.concatenate([part.embedding for part in parts]),
            np.concatenate([part.area for part in parts]).mean(axis=0, dtype=np.float64),
            row,
            run.plan.model(recognizer).card.similarity,
        )

    def contributions(self, found: Compared) -> Numbers:
        """How much the similarity falls if each region is hidden in both pictures, ``(N, R)``."""
        rows = self.row[found.pairs]
        return np.stack(
            [
                found.comparisons.scores - scores_of(self.embeddings[:, place], rows, self.kind)
                for place in range(len(self.names))
            ],
            axis=1,
        )


def _kind(
    found: Compared, regions: Regions, wrong: Flags, right: Flags, seed: int
) -> ErrorReasonFigures.Kind:
    """Errors beside correct comparisons of equal similarity."""
    errors = _drawn(found, wrong, seed)
    matched = _like(_drawn(found, right, seed, most=len(right)), errors)
    values = {"errors": errors, "matched": matched}
    means = {
        name: _means(one.comparisons, regions.contributions(one), regions.names, seed)
        for name, one in values.items()
    }
    return ErrorReasonFigures.Kind(
        errors=len(errors.pairs),
        similarity=_mean(errors),
        matched_similarity=_mean(matched),
        contribution=means["errors"],
        matched=means["matched"],
        difference={
            name: difference(means["errors"][name], means["matched"][name])
            for name in regions.names
        },
    )


def _mean(found: Compared) -> float | None:
    return float(found.comparisons.scores.mean()) if len(found.pairs) else None


def _means(
    comparisons: Comparisons, values: Numbers, names: Sequence[str], seed: int
) -> dict[str, Estimate]:
    return {
        name: mean_estimate(comparisons, column, seed)
        for name, column in zip(names, values.T, strict=True)
    }


def _drawn(found: Compared, kept: Flags, seed: int, most: int = _MOST) -> Compared:
    """The comparisons at which ``kept`` is true, or a random sample of them."""
    places = np.flatnonzero(kept)
    if len(places) > most:
        places = np.sort(np.random.default_rng(seed).choice(places, most, replace=False))
    return found.at(places)


def _like(found: Compared, errors: Compared) -> Compared:
    """For each error, the comparison whose similarity is nearest; one may be nearest to several."""
    if not len(found.pairs):
        return found
    order = np.argsort(found.comparisons.scores)
    scores, wanted = found.comparisons.scores[order], errors.comparisons.scores
    after = np.searchsorted(scores, wanted).clip(1, len(scores) - 1) if len(scores) > 1 else 0
    before = after - (len(scores) > 1)
    closer = np.abs(scores[before] - wanted) <= np.abs(scores[after] - wanted)
    return found.at(order[np.where(closer, before, after)])


def region_gaps(
    found: Compared, regions: Regions, group: Sequence[str], seed: int
) -> list[ErrorReasonFigures.Gap]:
    """The gaps between every two groups in what regions contribute to genuine and to impostor comparisons.

    Args:
        found: The comparisons.
        regions: The embeddings with each region hidden.
        group: The group of each compared person; "" for people who are left out.
        seed: Random seed.
    """
    rows: list[tuple[str, str, str, str, Estimate]] = []
    permuted: list[Numbers] = []
    pairs = combinations(sorted({value for value in group if value}), 2)
    for number, (first, second) in enumerate(pairs):
        members = np.isin(group, [first, second])
        label = np.asarray(group)[members] == first
        for kind, some in _kinds_of(found, members, seed).items():
            values, within = regions.contributions(some), some.comparisons.among(members)
            for region, column in zip(regions.names, values.T, strict=True):
                rows.append((kind, first, second, region, group_gap(within, column, label, seed)))
                permuted.append(permuted_gaps(within, column, label, seed + number))
    if not rows:
        return []
    standardised, adjusted = largest_gaps(np.stack(permuted, axis=1))
    return [
        ErrorReasonFigures.Gap(
            comparisons=kind,
            first=first,
            second=second,
            region=region,
            difference=gap,
            standardised=finite(size),
            p=finite(exceeded(np.abs(gaps))),
            p_adjusted=finite(corrected),
        )
        for (kind, first, second, region, gap), gaps, size, corrected in zip(
            rows, permuted, standardised.tolist(), adjusted.tolist(), strict=True
        )
    ]


def _kinds_of(found: Compared, members: Flags, seed: int) -> dict[str, Compared]:
    """The genuine and the impostor comparisons of some people, or a random sample of them."""
    within = members[found.comparisons.first] & members[found.comparisons.second]
    genuine = found.comparisons.first == found.comparisons.second
    return {
        "genuine": _drawn(found, within & genuine, seed, _MOST_OF_GROUPS),
        "impostor": _drawn(found, within & ~genuine, seed, _MOST_OF_GROUPS),
    }


def leading(gaps: Sequence[ErrorReasonFigures.Gap]) -> ErrorReasonFigures.Gap | None:
    """The gap whose standardised difference is largest among those with a corrected p-value below :data:`LEVEL`.

    Hiding one region also changes what its neighbours contribute, so only the largest gap says where groups differ
    (measured by ``benchmarks/planted_faults.py``). None if there is no such gap.
    """
    known = [gap for gap in gaps if gap.p_adjusted is not None and gap.p_adjusted < LEVEL]
    return max(known, key=lambda gap: abs(gap.standardised or 0), default=None)

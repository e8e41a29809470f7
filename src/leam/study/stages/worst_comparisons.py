"""The worst false matches and false non-matches of each recognizer, with maps of both pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray

from leam.explain.explainer import Maps
from leam.explain.targets import negated, reference_target
from leam.metrics.error_rates import Comparisons, Indices
from leam.metrics.statistics import Numbers, finite
from leam.results.figures import Figures, Model
from leam.results.shards import Shard, axes
from leam.study.comparisons import Compared, compared
from leam.study.explained import EXPLAIN
from leam.study.plan import Plan
from leam.study.run_data import RunData
from leam.study.scene import Scene
from leam.study.stage import STAGES, Stage
from leam.study.stages.error_rates import operating_threshold
from leam.study.stages.error_reasons import HiddenRegions, Regions

MOST = 4
"""Comparisons of each kind."""


@dataclass(frozen=True)
class PairMaps(Shard):
    """Maps of a slice's faces in the worst comparisons."""

    position: Annotated[NDArray[np.int64], axes("face", doc="Position of the picture in the plan.")]
    mate: Annotated[
        NDArray[np.int64], axes("face", doc="Position of the picture that it is compared with.")
    ]
    alike: Annotated[
        NDArray[np.float16],
        axes(
            "face",
            "row",
            "column",
            doc="The map of what makes both pictures alike, times its number of pixels.",
            reveals="map",
        ),
    ]
    different: Annotated[
        NDArray[np.float16],
        axes(
            "face",
            "row",
            "column",
            doc="The map of what makes both pictures different, likewise.",
            reveals="map",
        ),
    ]


class WorstFigures(Figures):
    """The worst errors, one comparison of each person."""

    class Comparison(Model):
        """One error."""

        first: str
        """Name of a picture."""
        second: str
        """Name of the other picture."""
        similarity: float
        """Their similarity."""
        turning: list[str]
        """Regions each of which, hidden in both pictures, turns the decision; smallest first."""
        contribution: dict[str, float]
        """How much the similarity falls if a region is hidden in both pictures."""

    threshold: float | None
    """The operating threshold; null if only rejecting all comparisons reaches the stated rate."""
    false_matches: list[Comparison]
    """Accepted comparisons of two people, most similar first."""
    false_non_matches: list[Comparison]
    """Rejected comparisons of one person, least similar first."""


@STAGES("worst_comparisons")
class WorstComparisons(Stage[PairMaps]):
    """Explains the worst errors."""

    name = "worst_comparisons"
    title = "worst comparisons"
    in_audit = True
    phase = "compare"
    needs = (EXPLAIN,)
    shard = PairMaps
    figures = WorstFigures

    def applies(self, plan: Plan) -> bool:
        """Whether the study is an audit."""
        return plan.settings.audit

    def of_slice(self, scene: Scene) -> PairMaps | None:
        """The maps of a slice's faces for the faces that they are compared with; None if there are none."""
        name = scene.recognizer.name
        sides, embeddings = scene.over_run(self.name, lambda run: _sides(run, name))
        chosen = np.isin(sides[:, 0], scene.positions)
        if not chosen.any():
            return None
        here = sides[chosen]
        rows = np.searchsorted(scene.positions, here[:, 0])
        mates = torch.from_numpy(embeddings[chosen])
        images, alike = scene.chips.images[rows], reference_target(mates, scene.kind)
        return PairMaps(
            position=here[:, 0],
            mate=here[:, 1],
            alike=_density(scene.explainer.explain(images, alike)),
            different=_density(scene.explainer.explain(images, negated(alike))),
        )

    def summarise(self, run: RunData, recognizer: str) -> WorstFigures | None:
        """The worst errors, with the regions that turn the decision; None without genuine and impostor comparisons."""
        found = compared(run, recognizer)
        parts = list(run.shards(HiddenRegions, "error_reasons", recognizer))
        if found is None or not parts:
            return None
        threshold, _ = operating_threshold(run.plan, recognizer, found.comparisons)
        regions = Regions.read(run, recognizer, parts)
        matches, non_matches = (
            _figures(run, found.at(places), regions, threshold)
            for places in worst(found, threshold)
        )
        return WorstFigures(
            threshold=finite(threshold), false_matches=matches, false_non_matches=non_matches
        )


def _sides(run: RunData, recognizer: str) -> tuple[Indices, NDArray[np.float32]]:
    """Both pictures of each of the worst errors with the other one, ``(2 N, 2)``, and the embeddings of the latter."""
    found = compared(run, recognizer)
    if found is None:
        return np.zeros((0, 2), dtype=np.int64), np.zeros((0, 0), dtype=np.float32)
    threshold, _ = operating_threshold(run.plan, recognizer, found.comparisons)
    rows = np.concatenate([found.rows[places] for places in worst(found, threshold)])
    sides = np.concatenate([rows, rows[:, ::-1]])
    return found.position[sides], found.embeddings[sides[:, 1]]


def worst(found: Compared, threshold: float) -> tuple[Indices, Indices]:
    """Places of the worst false matches and of the worst false non-matches; each person is in one of a kind at most."""
    some = found.comparisons
    genuine, accepted = some.first == some.second, some.scores >= threshold
    return (
        _first_of_each(some, np.flatnonzero(~genuine & accepted), -some.scores),
        _first_of_each(some, np.flatnonzero(genuine & ~accepted), some.scores),
    )


def _first_of_each(some: Comparisons, places: Indices, order: Numbers) -> Indices:
    chosen: list[int] = []
    seen: set[int] = set()
    for place in places[np.argsort(order[places], kind="stable")].tolist():
        people = {int(some.first[place]), int(some.second[place])}
        if len(chosen) < MOST and seen.isdisjoint(people):
            chosen.append(place)
            seen |= people
    return np.array(chosen, dtype=np.int64)


def _figures(
    run: RunData, found: Compared, regions: Regions, threshold: float
) -> list[WorstFigures.Comparison]:
    contributions = regions.contributions(found)
    images = run.plan.images
    return [
        WorstFigures.Comparison(
            first=images[first].image,
            second=images[second].image,
            similarity=score,
            turning=_turning(score, values, regions, threshold),
            contribution=dict(zip(regions.names, values.tolist(), strict=True)),
        )
        for (first, second), score, values in zip(
            found.pairs.tolist(), found.comparisons.scores.tolist(), contributions, strict=True
        )
    ]


def _turning(score: float, values: Numbers, regions: Regions, threshold: float) -> list[str]:
    """The regions that turn the decision when hidden, by their mean area."""
    turned = (score - values >= threshold) != (score >= threshold)
    order = np.argsort(regions.area, kind="stable")
    return [regions.names[place] for place in order if turned[place]]


def _density(maps: Maps) -> NDArray[np.float16]:
    overall = maps.overall.cpu().numpy()
    return np.asarray(overall * overall[0].size, dtype=np.float16)

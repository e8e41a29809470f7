"""Verification accuracy as pixels are deleted or inserted, on the subset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray

from leam.metrics.statistics import Estimate
from leam.metrics.verification import STEPS, Pairs, deletion, insertion
from leam.results.figures import Figures, Model, Point
from leam.results.shards import Shard, axes, joined
from leam.study.explained import EXPLAIN
from leam.study.run_data import RunData
from leam.study.scene import Scene, next_person
from leam.study.stage import STAGES, SubsetStage

_WAYS = (deletion, insertion)


@dataclass(frozen=True)
class Decisions(Shard):
    """Whether pairs are decided correctly as pixels are deleted or inserted, in steps of a tenth."""

    position: Annotated[NDArray[np.int64], axes("face", doc="Position of the picture in the plan.")]
    right: Annotated[
        NDArray[np.bool_],
        axes(
            "face", 2, 2, 2, STEPS + 1,
            doc="Whether the genuine and impostor pair (axis 1) is decided correctly in deletion and insertion "
            "(axis 2), with pixels ranked by the map and at random (axis 3), after each tenth.",
        ),
    ]  # fmt: skip


class VerificationFigures(Figures):
    """Verification accuracy as pixels are deleted or inserted, at the threshold for whole faces."""

    class Curve(Model):
        """Accuracy by fraction of the pixels."""

        area: Estimate
        """Normalised area under the curve, 0-1."""
        points: list[Point]
        """Accuracy after each tenth of the pixels, 0-1."""

    class Orders(Model):
        """Curves for two rankings of the pixels."""

        map: VerificationFigures.Curve
        """Pixels in the order of the map, highest first."""
        random: VerificationFigures.Curve
        """Pixels in random order."""

    deletion: Orders
    """Pixels are deleted from the probe; with a good map, accuracy falls early."""
    insertion: Orders
    """Pixels are inserted into an empty probe; with a good map, accuracy rises early."""


@STAGES("verification")
class Verification(SubsetStage[Decisions]):
    """Deletes and inserts pixels of the subset's faces, and verifies a genuine and an impostor pair for each."""

    name = "verification"
    title = "deletion and insertion"
    needs = (EXPLAIN,)
    shard = Decisions
    figures = VerificationFigures

    def of_subset(self, scene: Scene, rows: NDArray[np.intp]) -> Decisions:
        """The decisions for the subset's faces."""
        explained, faces = scene.explained, len(rows)
        embeddings = torch.from_numpy(explained.embedding)
        impostors = []
        for row in rows.tolist():
            other = next_person(scene.people, row)
            impostors.append(row if other is None else other)
        pairs = Pairs(
            torch.cat([scene.mates[torch.from_numpy(rows)], embeddings[impostors]]),
            np.repeat([True, False], faces),
            scene.threshold(),
            scene.kind,
        )
        images = scene.chips.images[rows]
        density = torch.from_numpy(explained.density[rows].astype(np.float32))
        random = [
            scene.generator(f"order/{scene.subjects[row].image}").random(images.shape[1:3])
            for row in rows
        ]
        found = [
            [
                way(
                    np.concatenate([images] * 2),
                    torch.cat([order] * 2),
                    pairs,
                    scene.recognizer.embed,
                    scene.settings.fill,
                ).right
                for order in (density, torch.from_numpy(np.stack(random)))
            ]
            for way in _WAYS
        ]
        # The axes are (way, order, step, kind of pair and face).
        values = np.array(found).reshape(len(_WAYS), 2, STEPS + 1, 2, faces)
        return Decisions(
            position=scene.positions[rows],
            right=np.ascontiguousarray(values.transpose(4, 3, 0, 1, 2)),
        )

    def summarise(self, run: RunData, recognizer: str) -> VerificationFigures | None:
        """Accuracy over the people of the subset, with the mean over both pairs as each person's value."""
        parts = list(run.shards(Decisions, self.name, recognizer))
        if not parts:
            return None
        found = joined(parts)
        accuracy, owners = found.right.mean(axis=1), run.owners(found.position)

        def curve(way: int, order: int) -> VerificationFigures.Curve:
            values = accuracy[:, way, order]
            # Trapezoidal rule per person: the mean of the areas equals the area of the mean curve.
            areas = (values[:, 1:] + values[:, :-1]).mean(axis=-1) / 2
            return VerificationFigures.Curve(
                area=run.estimate(areas, owners),
                points=[
                    Point(fraction=step / STEPS, value=run.estimate(values[:, step], owners))
                    for step in range(STEPS + 1)
                ],
            )

        return VerificationFigures(
            deletion=VerificationFigures.Orders(map=curve(0, 0), random=curve(0, 1)),
            insertion=VerificationFigures.Orders(map=curve(1, 0), random=curve(1, 1)),
        )

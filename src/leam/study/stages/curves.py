"""Occlusion curves: similarity drop by fraction of hidden pixels, for each fill and mask, on the subset."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Annotated

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from leam.explain.masks import critical_mask
from leam.metrics.statistics import Estimate
from leam.results.figures import Figures, Point
from leam.results.shards import Shard, axes, joined
from leam.study.explained import EXPLAIN
from leam.study.masks import CRITICAL, mask_drops, masks_of
from leam.study.plan import Settings
from leam.study.run_data import RunData
from leam.study.scene import Scene
from leam.study.stage import STAGES, SubsetStage


@dataclass(frozen=True)
class Grid(Shard):
    """Similarity drops of the subset's faces in a slice."""

    position: Annotated[NDArray[np.int64], axes("face", doc="Position of the picture in the plan.")]
    drop: Annotated[
        NDArray[np.float32],
        axes("face", "fill", "mask", "fraction", doc="Similarity drop; NaN if the mask is empty."),
    ]


class CurveFigures(Figures):
    """Similarity drop by fraction of hidden pixels, for each fill and mask."""

    curves: dict[str, dict[str, list[Point]]]
    """Curves by fill, then by mask: ``critical``, or a control."""
    fraction: float
    """Fraction at which the margins are measured: the one nearest to that of the critical masks."""
    margins: dict[str, dict[str, Estimate]]
    """Drop under the critical mask minus drop under each control, by fill, then by control."""


@STAGES("curves")
class Curves(SubsetStage[Grid]):
    """Hides increasing fractions of the pixels of the subset's faces, with each fill and mask."""

    name = "curves"
    title = "occlusion curves"
    needs = (EXPLAIN,)
    shard = Grid
    figures = CurveFigures
    columns = {
        "person": "Name of the person.",
        "image": "Name of the picture.",
        "fill": "Fill that replaces hidden pixels.",
        "mask": "``critical``, or the control.",
        "fraction": "Fraction of the pixels that is hidden.",
        "drop": "Similarity drop.",
        "model": "The recognizer.",
    }

    def of_subset(self, scene: Scene, rows: NDArray[np.intp]) -> Grid:
        """The similarity drops of the subset's faces."""
        explained, picked = scene.explained, torch.from_numpy(rows)
        density = torch.from_numpy(explained.density.astype(np.float32))
        clean, mate = torch.from_numpy(explained.embedding)[picked], scene.mates[picked]
        columns = []
        for fraction in scene.settings.curve:
            critical = critical_mask(density, fraction).numpy()
            masks = masks_of(scene, _masks(scene.settings), rows, critical, density.numpy())
            drops = [
                mask_drops(scene.chips.images[rows], masks, clean, mate, scene.recognizer, fill)[0]
                for fill in scene.settings.fills
            ]
            columns.append(np.stack(drops))
        return Grid(
            position=scene.positions[rows],
            drop=np.stack(columns, axis=-1).transpose(2, 0, 1, 3),
        )

    def tabulate(self, run: RunData, recognizer: str) -> Iterator[pl.DataFrame]:
        """One row per face, fill, mask and fraction."""
        settings = run.settings
        cells = list(product(settings.fills, _masks(settings), settings.curve))
        fills, masks, fractions = zip(*cells, strict=True)
        for found in run.shards(Grid, self.name, recognizer):
            faces = len(found.position)
            yield pl.DataFrame(
                {
                    **run.who(np.repeat(found.position, len(cells))),
                    "fill": list(fills) * faces,
                    "mask": list(masks) * faces,
                    "fraction": list(fractions) * faces,
                    "drop": found.drop.ravel(),
                }
            ).with_columns(pl.lit(recognizer).alias("model"))

    def summarise(self, run: RunData, recognizer: str) -> CurveFigures | None:
        """The curves over the people of the subset."""
        parts = list(run.shards(Grid, self.name, recognizer))
        if not parts:
            return None
        grid, settings = joined(parts), run.settings
        owners = run.owners(grid.position)
        nearest = int(np.argmin(np.abs(np.array(settings.curve) - settings.top)))
        drop = grid.drop[:, :, :, nearest].astype(np.float64)
        margins = drop[:, :, :1] - drop[:, :, 1:]
        return CurveFigures(
            fraction=settings.curve[nearest],
            margins={
                fill: dict(
                    zip(settings.curve_controls, run.estimates(margins[:, f], owners), strict=True)
                )
                for f, fill in enumerate(settings.fills)
            },
            curves={
                fill: {
                    mask: [
                        Point(fraction=fraction, value=run.estimate(grid.drop[:, f, m, t], owners))
                        for t, fraction in enumerate(settings.curve)
                    ]
                    for m, mask in enumerate(_masks(settings))
                }
                for f, fill in enumerate(settings.fills)
            },
        )


def _masks(settings: Settings) -> tuple[str, ...]:
    return (CRITICAL, *settings.curve_controls)

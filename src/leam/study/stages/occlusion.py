"""Similarity drop when the critical pixels or those of a control are hidden."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from leam.explain.masks import pixel_count
from leam.metrics.controls import MAPS_OF_OTHERS
from leam.metrics.occlusion import pieces
from leam.metrics.statistics import Estimate, verdict
from leam.results.figures import Figures, Model, PairedDifference
from leam.results.shards import Shard, axes
from leam.study.explained import EXPLAIN
from leam.study.masks import CRITICAL, mask_drops, mask_names, masks_of
from leam.study.run_data import RunData
from leam.study.scene import Scene
from leam.study.stage import STAGES, Stage


@dataclass(frozen=True)
class Occluded(Shard):
    """Similarity of a slice's probes to the template of the person's other pictures."""

    position: Annotated[
        NDArray[np.int64], axes("probe", doc="Position of the probe's picture in the plan.")
    ]
    clean: Annotated[NDArray[np.float32], axes("probe", doc="Similarity of the unmasked face.")]
    drop: Annotated[
        NDArray[np.float32],
        axes("probe", "mask", doc="Similarity drop under the critical mask, then each control."),
    ]
    pieces: Annotated[
        NDArray[np.int32],
        axes("probe", "mask", doc="Number of connected pieces (8-connected) of each mask."),
    ]
    largest: Annotated[
        NDArray[np.int32], axes("probe", "mask", doc="Pixels of the largest piece of each mask.")
    ]


class OcclusionFigures(Figures):
    """Drop of the similarity to the person's other pictures when the critical pixels are hidden."""

    class Pieces(Model):
        """Connected pieces (8-connected) of a mask: medians over faces."""

        count: float | None
        """Number of pieces."""
        largest: float | None
        """Pixels of the largest piece."""

    fraction: float
    """Fraction of the pixels that is hidden."""
    fill: str
    """Fill that replaces them."""
    drop: Estimate
    """Similarity drop under the critical mask, in the recognizer's units."""
    controls: dict[str, Estimate]
    """Similarity drop under each control, with the same number of pixels."""
    margins: dict[str, PairedDifference]
    """Drop under the critical mask minus drop under each control."""
    strongest: str | None
    """The control with the smallest margin, which is the one with the largest drop, without maps of other pictures;
    null if nothing was measured."""
    pieces: dict[str, Pieces]
    """Connected pieces of the critical mask and of each control."""


@STAGES("occlusion")
class Occlusion(Stage[Occluded]):
    """Hides the critical pixels, or a control's, and measures the similarity drop."""

    name = "occlusion"
    title = "occlusion of the critical pixels"
    phase = "compare"
    needs = (EXPLAIN,)
    shard = Occluded
    figures = OcclusionFigures
    columns = {
        "person": "Name of the person.",
        "image": "Name of the probe picture. Probes are all pictures, or the first ones of each person.",
        "mask": "``critical``, or the control.",
        "fraction": "Fraction of the pixels that is hidden.",
        "pixels": "Number of hidden pixels.",
        "clean": "Similarity of the unmasked face to the template of the person's other pictures.",
        "pieces": "Number of connected pieces (8-connected) of the mask.",
        "largest": "Pixels of the largest piece.",
        "drop": "Similarity drop; in units of distance for a recognizer with Euclidean similarity.",
        "model": "The recognizer.",
    }

    def of_slice(self, scene: Scene) -> Occluded:
        """The similarity drops of a slice's probes; NaN if the map is empty."""
        explained, rows, mate = scene.explained, scene.probes, scene.mates
        clean = torch.from_numpy(explained.embedding)
        picked = torch.from_numpy(rows)
        names = mask_names(scene.settings)
        masks = masks_of(scene, names, rows, explained.masks, explained.density)
        drops, _ = mask_drops(
            scene.chips.images[rows],
            masks,
            clean[picked],
            mate[picked],
            scene.recognizer,
            scene.settings.fill,
        )
        drops[:, explained.empty[rows, 0]] = np.nan
        found = np.array([[pieces(mask) for mask in one] for one in masks], dtype=np.int32)
        return Occluded(
            position=scene.positions[rows],
            clean=scene.recognizer.similarity(clean, mate)[picked].numpy(),
            drop=drops.T,
            pieces=found[..., 0].T,
            largest=found[..., 1].T,
        )

    def tabulate(self, run: RunData, recognizer: str) -> Iterator[pl.DataFrame]:
        """One row per probe and mask."""
        settings = run.settings
        kinds = list(mask_names(settings))
        size = run.plan.model(recognizer).card.crop.size
        pixels = pixel_count(math.prod(size), settings.top)
        for found in run.shards(Occluded, self.name, recognizer):
            probes = len(found.position)
            yield pl.DataFrame(
                {
                    **run.who(np.repeat(found.position, len(kinds))),
                    "mask": kinds * probes,
                    "fraction": [settings.top] * probes * len(kinds),
                    "pixels": [pixels] * probes * len(kinds),
                    "clean": np.repeat(found.clean, len(kinds)),
                    "pieces": found.pieces.ravel(),
                    "largest": found.largest.ravel(),
                    "drop": found.drop.ravel(),
                }
            ).with_columns(pl.lit(recognizer).alias("model"))

    def summarise(self, run: RunData, recognizer: str) -> OcclusionFigures:
        """The drops over people, and the margins of the critical mask over each control."""
        settings = run.settings
        table = run.table(self.name, recognizer, ["person", "mask", "pieces", "largest", "drop"])
        rows = {mask: table.filter(pl.col("mask") == mask) for mask in mask_names(settings)}
        drops = {m: run.column_estimates(one, ["drop"])["drop"] for m, one in rows.items()}
        own = rows[CRITICAL]["drop"].to_numpy()
        people = rows[CRITICAL]["person"].rank("dense").to_numpy().astype(np.int64) - 1
        margins = run.margins(
            {mask: own - rows[mask]["drop"].to_numpy() for mask in settings.controls}, people
        )
        return OcclusionFigures(
            fraction=settings.top,
            fill=settings.fill,
            drop=drops.pop(CRITICAL),
            controls=drops,
            margins=margins,
            strongest=verdict(
                {k: one.difference for k, one in margins.items() if k not in MAPS_OF_OTHERS}
            ).control,
            pieces={mask: _pieces(one) for mask, one in rows.items()},
        )


def _pieces(rows: pl.DataFrame) -> OcclusionFigures.Pieces:
    """Medians over the faces whose mask is not empty."""
    known = rows.filter(pl.col("pieces") > 0)
    count, largest = (known[column].median() for column in ("pieces", "largest"))
    return OcclusionFigures.Pieces(count=count, largest=largest)

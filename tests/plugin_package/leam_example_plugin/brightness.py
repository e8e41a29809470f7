"""A metric: how bright the critical pixels are, beside the whole face."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import polars as pl
from numpy.typing import NDArray

from leam.explain.masks import critical_mask
from leam.metrics.statistics import Estimate
from leam.results.figures import Figures
from leam.results.shards import Shard, axes
from leam.study.run_data import RunData
from leam.study.scene import MapBatch
from leam.study.stage import Stage


@dataclass(frozen=True)
class BrightnessArrays(Shard):
    """The brightness of each face."""

    position: Annotated[NDArray[np.int64], axes("face", doc="Position of the picture in the plan.")]
    critical: Annotated[
        NDArray[np.float32], axes("face", doc="Mean brightness of the critical pixels, 0-1.")
    ]
    face: Annotated[
        NDArray[np.float32], axes("face", doc="Mean brightness of the aligned face, 0-1.")
    ]


class BrightnessFigures(Figures):
    """Brightness of the critical pixels, beside that of the whole face."""

    critical: Estimate
    """Mean brightness of the critical pixels, 0-1."""
    face: Estimate
    """Mean brightness of the aligned face, 0-1."""


class Brightness(Stage[BrightnessArrays]):
    """Measures how bright the critical pixels are."""

    name = "brightness"
    title = "brightness of the critical pixels"
    shard = BrightnessArrays
    figures = BrightnessFigures
    columns = {
        "person": "Name of the person.",
        "image": "Name of the picture.",
        "critical": "Mean brightness of the critical pixels, 0-1.",
        "face": "Mean brightness of the aligned face, 0-1.",
    }

    def of_maps(self, batch: MapBatch) -> BrightnessArrays:
        """The brightness of a batch of faces."""
        grey = batch.images.mean(axis=3) / 255
        masks = critical_mask(batch.maps.overall.cpu(), batch.settings.top).numpy()
        critical = [
            one[mask].mean() if mask.any() else np.nan
            for one, mask in zip(grey, masks, strict=True)
        ]
        return BrightnessArrays(
            position=np.array([one.position for one in batch.subjects], dtype=np.int64),
            critical=np.array(critical, dtype=np.float32),
            face=grey.mean(axis=(1, 2)).astype(np.float32),
        )

    def tabulate(self, run: RunData, recognizer: str) -> Iterator[pl.DataFrame]:
        """One row per picture."""
        for found in run.shards(BrightnessArrays, self.name, recognizer):
            yield pl.DataFrame(
                {**run.who(found.position), "critical": found.critical, "face": found.face}
            )

    def summarise(self, run: RunData, recognizer: str) -> BrightnessFigures:
        """The means over people."""
        table = run.table(self.name, recognizer)
        return BrightnessFigures(**run.column_estimates(table, ["critical", "face"]))

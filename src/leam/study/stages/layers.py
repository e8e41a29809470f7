"""Layer figures: where the map of each layer lies, and how much the layers differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from leam.explain.methods import LEAM
from leam.metrics.overlap import centre_of_mass, profile_divergences, spread
from leam.metrics.statistics import Estimate
from leam.results.figures import Figures, Model
from leam.results.shards import Shard, axes
from leam.study.explained import EXPLAIN, Explained
from leam.study.plan import Plan
from leam.study.run_data import OVERALL, RunData, mean_of_known
from leam.study.scene import MapBatch
from leam.study.stage import STAGES, Stage
from leam.study.stages.regions import RegionShares

_FOCUS = ("spread", "x", "y")


@dataclass(frozen=True)
class Focus(Shard):
    """Spread and centre of the overall map and of each layer's map, on their own grids."""

    spread: Annotated[
        NDArray[np.float32],
        axes("face", "map", doc="Entropy of the map divided by that of a uniform map, 0-1."),
    ]
    centre: Annotated[
        NDArray[np.float32],
        axes("face", "map", 2, doc="Centre of mass: x from left, y from top, 0-1."),
    ]


class LayerFigures(Figures):
    """Where the map of each layer lies, and how much the layers differ."""

    class Layer(Model):
        """One layer."""

        depth: int
        """1, 2, ... from early to late."""
        spread: Estimate
        """Entropy of the map divided by that of a uniform map."""
        x: Estimate
        """Centre of mass, 0 at the left edge to 1 at the right."""
        y: Estimate
        """Centre of mass, 0 at the top to 1 at the bottom."""
        regions: dict[str, Estimate]
        """Fraction of the layer's map in each region."""

    layers: dict[str, Layer]
    """Figures by layer name; layers without any map are left out."""
    divergence: Estimate
    """Mean Jensen-Shannon divergence between the region profiles of two layers for the same face, in bits."""
    divergences: list[list[float | None]]
    """Mean divergence of each pair of layers, by depth; null if no face has maps of both."""


@STAGES("layers")
class Layers(Stage[Focus]):
    """Measures spread and centre of each layer's map, and the divergence between layers."""

    name = "layers"
    title = "layer by layer"
    needs = (EXPLAIN, "regions")
    shard = Focus
    figures = LayerFigures
    columns = {
        "person": "Name of the person.",
        "image": "Name of the picture.",
        "layer": "``overall``, or the name of a layer.",
        "depth": "0 for the overall map, then 1, 2, ... from early to late layers.",
        "spread": "Entropy of the map on its own grid, divided by that of a uniform map, 0-1.",
        "x": "Centre of mass, 0 at the left edge to 1 at the right.",
        "y": "Centre of mass, 0 at the top to 1 at the bottom.",
        "empty": "Whether the map is empty.",
        "model": "The recognizer.",
    }

    def applies(self, plan: Plan) -> bool:
        """Whether the method has layer maps."""
        return plan.settings.method == LEAM

    def of_maps(self, batch: MapBatch) -> Focus:
        """Spread and centre of a batch's maps."""
        overall = batch.maps.overall.cpu()
        spreads, centres = [spread(overall)], [centre_of_mass(overall)]
        found: dict[int, tuple[Tensor, Tensor]] = {}
        for places, layers in batch.layers_by_size():
            one, other = spread(layers), centre_of_mass(layers)
            found |= {place: (one[i], other[i]) for i, place in enumerate(places)}
        for place in range(len(found)):
            spreads.append(found[place][0])
            centres.append(found[place][1])
        return Focus(
            spread=torch.stack(spreads, dim=1).numpy(), centre=torch.stack(centres, dim=1).numpy()
        )

    def tabulate(self, run: RunData, recognizer: str) -> Iterator[pl.DataFrame]:
        """One row per picture and layer."""
        explained = run.shards(Explained, EXPLAIN, recognizer, ["position", "layers", "empty"])
        for maps, focus in zip(explained, run.shards(Focus, self.name, recognizer), strict=True):
            names = [OVERALL, *maps.layers.tolist()]
            face, layer = (axis.ravel() for axis in np.indices((len(maps.position), len(names))))
            yield pl.DataFrame(
                {
                    **run.who(maps.position[face]),
                    "layer": pl.Series(names).gather(layer),
                    "depth": layer,
                    "spread": focus.spread.ravel(),
                    "x": focus.centre[:, :, 0].ravel(),
                    "y": focus.centre[:, :, 1].ravel(),
                    "empty": maps.empty.ravel(),
                }
            ).with_columns(pl.lit(recognizer).alias("model"))

    def summarise(self, run: RunData, recognizer: str) -> LayerFigures:
        """Each layer's figures over people, and the divergence between layers."""
        divergence, matrix = _divergences(run, recognizer)
        return LayerFigures(
            layers=_layers(run, recognizer), divergence=divergence, divergences=matrix
        )


def _layers(run: RunData, recognizer: str) -> dict[str, LayerFigures.Layer]:
    first = next(run.shards(Explained, EXPLAIN, recognizer, ["layers"]), None)
    layers = {}
    for depth, layer in enumerate(first.layers.tolist() if first else [], start=1):
        # One layer at a time, so that memory does not grow with the number of layers.
        known = (pl.col("depth") == depth) & ~pl.col("empty")
        focus = run.table("layers", recognizer, ["person", *_FOCUS], known)
        if focus.is_empty():
            continue
        mass = run.table("regions", recognizer, ["region", "mass"], known)
        # Both tables list the faces in the same order.
        parts = mass.partition_by("region", maintain_order=True, include_key=False, as_dict=True)
        regions = {str(region): part["mass"] for (region,), part in parts.items()}
        found = run.column_estimates(focus.with_columns(**regions), [*_FOCUS, *regions])
        layers[layer] = LayerFigures.Layer(
            depth=depth,
            **{key: found[key] for key in _FOCUS},
            regions={region: found[region] for region in regions},
        )
    return layers


def _divergences(run: RunData, recognizer: str) -> tuple[Estimate, list[list[float | None]]]:
    """Divergence between layers: the mean over all pairs with its interval, and the mean of each pair."""
    total = count = None
    means: list[NDArray[np.float64]] = []
    positions: list[int] = []
    explained = run.shards(Explained, EXPLAIN, recognizer, ["position"])
    for maps, part in zip(
        explained, run.shards(RegionShares, "regions", recognizer, ["mass"]), strict=True
    ):
        found = profile_divergences(torch.from_numpy(part.mass[:, 1:])).double().numpy()
        known = np.isfinite(found)
        sums, counts = np.where(known, found, 0.0).sum(axis=0), known.sum(axis=0)
        total, count = (sums, counts) if total is None else (total + sums, count + counts)
        upper = np.triu_indices(found.shape[1], 1)
        means.append(mean_of_known(found[:, upper[0], upper[1]], axis=1))
        positions.extend(maps.position.tolist())
    if total is None or count is None:
        return Estimate(None, None, None, 0), []
    mean = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
    matrix = [[round(v, 6) if np.isfinite(v) else None for v in row] for row in mean.tolist()]
    return run.estimate(np.concatenate(means), run.owners(positions)), matrix

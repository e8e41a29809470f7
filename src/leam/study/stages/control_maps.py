"""Control maps: the critical masks of edges, and of the same network with random weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from leam.explain.masks import critical_mask
from leam.explain.targets import Target, reference_target, self_target, templates_of_others
from leam.metrics.controls.edges import edge_map
from leam.metrics.robustness import fault_of, randomised
from leam.parsers.regions import REGIONS
from leam.parsers.shares import region_shares
from leam.results.shards import Shard, axes
from leam.study.plan import Plan
from leam.study.run_data import RunData
from leam.study.scene import BATCH, Scene, seeded
from leam.study.stage import STAGES, Stage

CONTROL_MAPS = "control_maps"

# Faces on which a network with random weights is calibrated.
_CALIBRATION = 16


@dataclass(frozen=True)
class ControlMaps(Shard):
    """Critical masks that use nothing of what the recognizer has learnt, for the faces of a slice."""

    position: Annotated[NDArray[np.int64], axes("face", doc="Position of the picture in the plan.")]
    edges: Annotated[
        NDArray[np.uint8],
        axes(
            "face",
            "byte",
            doc="Critical mask of the edge map as packed bits, row by row.",
            reveals="appearance",
        ),
    ]
    edge_share: Annotated[
        NDArray[np.float32],
        axes("face", "region", doc="Fraction of the edge map's critical mask in each region."),
    ]
    random: Annotated[
        NDArray[np.uint8],
        axes(
            "face",
            "byte",
            doc="Critical mask of the network with random weights, likewise; zero where not computed.",
            reveals="map",
        ),
    ]
    random_share: Annotated[
        NDArray[np.float32],
        axes("face", "region", doc="Fraction of that mask in each region; NaN where not computed."),
    ]


@STAGES(CONTROL_MAPS)
class ControlMapStage(Stage[ControlMaps]):
    """Computes the critical masks of edge maps, and of the same network with random weights for some slices."""

    name = CONTROL_MAPS
    title = "maps of edges and of random weights"
    shard = ControlMaps
    columns = {
        "person": "Name of the person.",
        "image": "Name of the picture.",
        "region": "The region.",
        "edges": "Fraction of the critical mask of the edge map in the region.",
        "random_weights": "Fraction of the critical mask of the network with random weights; null where not computed.",
        "model": "The recognizer.",
    }

    def of_slice(self, scene: Scene) -> ControlMaps:
        """The masks of a slice's faces."""
        top = scene.settings.top
        edges = torch.from_numpy(np.stack([edge_map(chip) for chip in scene.chips.images]))
        random = torch.zeros_like(edges)
        if scene.index in random_slices(scene.plan):
            random = _random_maps(scene)
        found = {"edge": critical_mask(edges, top), "random": critical_mask(random, top)}
        regions = torch.from_numpy(np.stack([one.regions for one in scene.parsings]))
        shares = {
            name: region_shares(mask, regions, len(REGIONS)).numpy() for name, mask in found.items()
        }
        shares["random"][~found["random"].flatten(1).any(dim=1).numpy()] = np.nan
        return ControlMaps(
            position=scene.positions,
            edges=np.packbits(found["edge"].flatten(1).numpy(), axis=1),
            edge_share=shares["edge"],
            random=np.packbits(found["random"].flatten(1).numpy(), axis=1),
            random_share=shares["random"],
        )

    def tabulate(self, run: RunData, recognizer: str) -> Iterator[pl.DataFrame]:
        """One row per picture and region."""
        regions = run.regions()
        columns = [REGIONS.index(region) for region in regions]
        for found in run.shards(ControlMaps, self.name, recognizer):
            yield pl.DataFrame(
                {
                    **run.who(np.repeat(found.position, len(columns))),
                    "region": regions * len(found.position),
                    "edges": found.edge_share[:, columns].ravel(),
                    "random_weights": pl.Series(found.random_share[:, columns].ravel()).fill_nan(
                        None
                    ),
                }
            ).with_columns(pl.lit(recognizer).alias("model"))


def random_slices(plan: Plan) -> frozenset[int]:
    """The slices whose faces are explained with random weights: as many people as the subset has, drawn with the seed.

    Whole slices, since pairs of pictures are compared within a slice.
    """
    count = math.ceil(plan.settings.subset / plan.people_per_slice)
    drawn = seeded("random weights", plan.settings.seed).permutation(len(plan.slices))[:count]
    return frozenset(drawn.tolist())


def _random_maps(scene: Scene) -> Tensor:
    """The overall maps of a slice's faces under random weights, ``(n, h, w)``; zero if the random network is useless.

    References, where the target needs them, are templates of the random network.
    """
    images, recognizer = scene.chips.images, scene.recognizer
    calibration = recognizer.preprocess(images[:_CALIBRATION])
    with randomised(recognizer.module, calibration, scene.settings.seed):
        embeddings = recognizer.embed(images)
        templates = templates_of_others(embeddings, scene.people, scene.kind)

        def target(rows: slice) -> Target:
            if scene.settings.target == "self":
                return self_target
            return reference_target(templates[rows], scene.kind)

        batches = [slice(start, start + BATCH) for start in range(0, len(images), BATCH)]
        maps = torch.cat(
            [scene.explainer.explain(images[one], target(one)).overall.cpu() for one in batches]
        )
    return torch.zeros_like(maps) if fault_of(embeddings, maps) else maps

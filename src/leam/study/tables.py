"""Finished shards as tidy Parquet tables."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from leam.explain.masks import pixel_count
from leam.metrics.fairness import head_pose
from leam.parsers import load_parser
from leam.parsers.regions import LABELS, REGIONS
from leam.study.occluding import CRITICAL
from leam.study.panel import PANEL
from leam.study.plan import Plan
from leam.study.skipped import usable
from leam.study.store import Arrays, RunFolder
from leam.study.transfer import RANDOM, TRANSFER

OVERALL = "overall"


def write_faces_table(plan: Plan, folder: RunFolder) -> None:
    """Write ``tables/faces.parquet``; columns and units are described in ``docs/outputs.md``."""
    folder.write_table("faces", _faces(plan, folder))


def write_model_tables(plan: Plan, folder: RunFolder, name: str) -> None:
    """Write a model's tables of regions, layers, occlusion, transfer and panel; columns as there."""
    regions = parsed_regions(plan.settings.parser)
    folder.write_table(f"regions/{name}", _regions(plan, folder, name, regions))
    folder.write_table(f"layers/{name}", _layers(plan, folder, name))
    folder.write_table(f"occlusion/{name}", _occlusion(plan, folder, name))
    if plan.settings.transfer:
        folder.write_table(f"transfer/{name}", _transfer(plan, folder, name))
    if plan.settings.panel:
        folder.write_table(f"panel/{name}", _panel(plan, folder, name))


def shards(
    plan: Plan, folder: RunFolder, stage: str, names: Sequence[str] | None = None
) -> Iterator[Arrays]:
    """The finished, non-empty shards of a stage, in order; the arrays of these names, or all."""
    for index, _ in enumerate(plan.slices):
        if arrays := folder.read_shard(stage, index, names):
            yield arrays


def parsed_regions(parser: str) -> list[str]:
    """The regions that a parser can give, in the order of ``REGIONS``."""
    given = set(load_parser(parser).labels)
    return [
        region
        for region in REGIONS
        if any(label.region == region and label.name in given for label in LABELS)
    ]


def layer_names(arrays: Arrays) -> list[str]:
    """The rows of a shard's region shares: the overall map, then the layers."""
    return [OVERALL, *(str(name) for name in arrays["layers"])]


def _faces(plan: Plan, folder: RunFolder) -> Iterator[pl.DataFrame]:
    _, skipped = usable(plan, folder)
    reasons = {one.image: one.reason for one in skipped}
    groups = sorted({name for image in plan.images for name in image.groups})
    found = shards(plan, folder, "faces", ["found", "box", "landmarks"])
    for part, arrays in zip(plan.slices, found, strict=True):
        images, pose = plan.images[part.start : part.stop], head_pose(arrays["landmarks"])
        yield pl.DataFrame(
            {
                "person": [image.person for image in images],
                "image": [image.image for image in images],
                # Of a slice nothing may be known here.
                "sha256": pl.Series([image.sha256 for image in images], dtype=pl.String),
                "reason": [reasons.get(image.image, "") for image in images],
                "found": arrays["found"],
                **_columns(("left", "top", "right", "bottom"), arrays["box"].astype(np.float64)),
                **_columns(("yaw", "pitch", "roll"), pose),
                **{
                    f"group_{name}": pl.Series(
                        [i.groups.get(name) for i in images], dtype=pl.String
                    )
                    for name in groups
                },
            }
        )


def _columns(names: Sequence[str], values: NDArray[Any]) -> dict[str, NDArray[Any]]:
    return dict(zip(names, values.T, strict=True))


def _regions(
    plan: Plan, folder: RunFolder, model: str, regions: list[str]
) -> Iterator[pl.DataFrame]:
    columns = [REGIONS.index(region) for region in regions]
    wanted = ["position", "layers", "area", "share", "mass", "confidence", "empty"]
    for arrays in shards(plan, folder, f"maps/{model}", wanted):
        names = layer_names(arrays)
        each = (len(arrays["position"]), len(names), len(columns))
        face, layer, region = (axis.ravel() for axis in np.indices(each))
        yield pl.DataFrame(
            {
                **_who(plan, arrays["position"][face]),
                "layer": pl.Series(names).gather(layer),
                "depth": layer,
                "region": pl.Series(regions).gather(region),
                "area": arrays["area"][:, columns][face, region],
                "share": arrays["share"][:, :, columns].ravel(),
                "mass": arrays["mass"][:, :, columns].ravel(),
                "confidence": arrays["confidence"][:, columns][face, region],
                "empty": arrays["empty"][face, layer],
            }
        ).with_columns(pl.lit(model).alias("model"))


def _layers(plan: Plan, folder: RunFolder, model: str) -> Iterator[pl.DataFrame]:
    wanted = ["position", "layers", "spread", "centre", "empty"]
    for arrays in shards(plan, folder, f"maps/{model}", wanted):
        names = layer_names(arrays)
        each = (len(arrays["position"]), len(names))
        face, layer = (axis.ravel() for axis in np.indices(each))
        yield pl.DataFrame(
            {
                **_who(plan, arrays["position"][face]),
                "layer": pl.Series(names).gather(layer),
                "depth": layer,
                "spread": arrays["spread"].ravel(),
                "x": arrays["centre"][:, :, 0].ravel(),
                "y": arrays["centre"][:, :, 1].ravel(),
                "empty": arrays["empty"].ravel(),
            }
        ).with_columns(pl.lit(model).alias("model"))


def _occlusion(plan: Plan, folder: RunFolder, model: str) -> Iterator[pl.DataFrame]:
    settings = plan.settings
    kinds = [CRITICAL, *settings.baselines]
    pixels = pixel_count(math.prod(plan.model(model).card.crop.size), settings.top)
    wanted = ["position", "probe", "clean", "drop"]
    for arrays in shards(plan, folder, f"maps/{model}", wanted):
        probes = arrays["position"][arrays["probe"]]
        rows = len(probes) * len(kinds)
        yield pl.DataFrame(
            {
                **_who(plan, np.repeat(probes, len(kinds))),
                "mask": kinds * len(probes),
                "fraction": [settings.top] * rows,
                "pixels": [pixels] * rows,
                "clean": np.repeat(arrays["clean"], len(kinds)),
                "drop": arrays["drop"].ravel(),
            }
        ).with_columns(pl.lit(model).alias("model"))


def _transfer(plan: Plan, folder: RunFolder, model: str) -> Iterator[pl.DataFrame]:
    for arrays in shards(plan, folder, f"{TRANSFER}/{model}"):
        masks = [*arrays["sources"].tolist(), RANDOM]
        yield pl.DataFrame(
            {
                **_who(plan, np.repeat(arrays["position"], len(masks))),
                "mask": masks * len(arrays["position"]),
                "drop": arrays["drop"].ravel(),
            }
        ).with_columns(pl.lit(model).alias("model"))


def _panel(plan: Plan, folder: RunFolder, model: str) -> Iterator[pl.DataFrame]:
    """The grid of drops; the panel's other measures are one number a face and stand in the summary."""
    settings = plan.settings
    cells = list(product(settings.fills, (CRITICAL, *settings.baselines), settings.curve))
    fills, masks, fractions = zip(*cells, strict=True)
    for arrays in shards(plan, folder, f"{PANEL}/{model}", ["position", "grid"]):
        faces = len(arrays["position"])
        yield pl.DataFrame(
            {
                **_who(plan, np.repeat(arrays["position"], len(cells))),
                "fill": list(fills) * faces,
                "mask": list(masks) * faces,
                "fraction": list(fractions) * faces,
                "drop": arrays["grid"].ravel(),
            }
        ).with_columns(pl.lit(model).alias("model"))


def _who(plan: Plan, positions: NDArray[np.integer]) -> dict[str, pl.Series]:
    """Whose picture each row is of, and which."""
    found, rows = np.unique(positions, return_inverse=True)
    images = [plan.images[position] for position in found]
    return {
        "person": pl.Series([image.person for image in images], dtype=pl.String).gather(rows),
        "image": pl.Series([image.image for image in images], dtype=pl.String).gather(rows),
    }

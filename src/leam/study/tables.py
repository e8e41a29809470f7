"""Finished shards as tidy Parquet tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from leam.measures.critical import pixel_count
from leam.measures.pose import head_pose
from leam.parsers.regions import LABELS, REGIONS
from leam.parsers.registry import load_parser
from leam.study.occluding import CRITICAL
from leam.study.panel import PANEL
from leam.study.plan import Plan
from leam.study.skipped import usable
from leam.study.store import Arrays, RunFolder
from leam.study.transfer import RANDOM, TRANSFER

OVERALL = "overall"
Progress = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and how much there is."""


def write_tables(plan: Plan, folder: RunFolder, tell: Progress) -> None:
    """Write ``tables/faces.parquet``, and for each model its tables of regions, layers, occlusion, transfer and panel.

    Columns and units are described in ``docs/outputs.md``.
    """
    folder.write_table("faces", _faces(plan, folder))
    regions = parsed_regions(plan.settings.parser)
    for number, model in enumerate(plan.models):
        tell("writing tables", number, len(plan.models))
        name = model.card.name
        folder.write_table(f"regions/{name}", pl.concat(_regions(plan, folder, name, regions)))
        folder.write_table(f"layers/{name}", pl.concat(_layers(plan, folder, name)))
        folder.write_table(f"occlusion/{name}", pl.concat(_occlusion(plan, folder, name)))
        if plan.settings.transfer:
            folder.write_table(f"transfer/{name}", pl.concat(_transfer(plan, folder, name)))
        if plan.settings.panel:
            folder.write_table(f"panel/{name}", pl.concat(_panel(plan, folder, name)))
    tell("writing tables", len(plan.models), len(plan.models))


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


def _faces(plan: Plan, folder: RunFolder) -> pl.DataFrame:
    found = list(shards(plan, folder, "faces"))
    _, skipped = usable(plan, folder)
    reasons = {one.image: one.reason for one in skipped}
    groups = sorted({name for image in plan.images for name in image.groups})
    box = np.concatenate([arrays["box"] for arrays in found])
    pose = head_pose(np.concatenate([arrays["landmarks"] for arrays in found]))
    return pl.DataFrame(
        {
            "person": [image.person for image in plan.images],
            "image": [image.image for image in plan.images],
            "sha256": [image.sha256 for image in plan.images],
            "reason": [reasons.get(image.image, "") for image in plan.images],
            "found": np.concatenate([arrays["found"] for arrays in found]),
            **{
                side: box[:, column]
                for column, side in enumerate(("left", "top", "right", "bottom"))
            },
            **{name: pose[:, column] for column, name in enumerate(("yaw", "pitch", "roll"))},
            **{
                f"group_{name}": [image.groups.get(name) for image in plan.images]
                for name in groups
            },
        }
    )


def _regions(
    plan: Plan, folder: RunFolder, model: str, regions: list[str]
) -> Iterator[pl.DataFrame]:
    columns = [REGIONS.index(region) for region in regions]
    for arrays in shards(plan, folder, f"maps/{model}"):
        names = layer_names(arrays)
        faces, layers, kinds = len(arrays["position"]), len(names), len(columns)
        each = (faces, layers, kinds)

        def spread(values: np.ndarray, axis: int, each: tuple[int, int, int] = each) -> np.ndarray:
            shape = [1, 1, 1]
            shape[axis] = -1
            return np.broadcast_to(values.reshape(shape), each).ravel()

        yield pl.DataFrame(
            {
                **_who(plan, arrays, layers * kinds),
                "layer": spread(np.array(names), 1),
                "depth": spread(np.arange(layers), 1),
                "region": spread(np.array(regions), 2),
                "area": np.broadcast_to(arrays["area"][:, None, columns], each).ravel(),
                "share": arrays["share"][:, :, columns].ravel(),
                "mass": arrays["mass"][:, :, columns].ravel(),
                "confidence": np.broadcast_to(arrays["confidence"][:, None, columns], each).ravel(),
                "empty": np.broadcast_to(arrays["empty"][:, :, None], each).ravel(),
            }
        ).with_columns(pl.lit(model).alias("model"))


def _layers(plan: Plan, folder: RunFolder, model: str) -> Iterator[pl.DataFrame]:
    for arrays in shards(plan, folder, f"maps/{model}"):
        names, faces = layer_names(arrays), len(arrays["position"])
        yield pl.DataFrame(
            {
                **_who(plan, arrays, len(names)),
                "layer": names * faces,
                "depth": np.tile(np.arange(len(names)), faces),
                "spread": arrays["spread"].ravel(),
                "x": arrays["centre"][:, :, 0].ravel(),
                "y": arrays["centre"][:, :, 1].ravel(),
                "empty": arrays["empty"].ravel(),
            }
        ).with_columns(pl.lit(model).alias("model"))


def _occlusion(plan: Plan, folder: RunFolder, model: str) -> Iterator[pl.DataFrame]:
    settings = plan.settings
    kinds = [CRITICAL, *settings.baselines]
    wanted = ["position", "probe", "density", "clean", "drop"]
    for arrays in shards(plan, folder, f"maps/{model}", wanted):
        probes, pixels = len(arrays["probe"]), arrays["density"][0].size
        rows = {"position": arrays["position"][arrays["probe"]]}
        yield pl.DataFrame(
            {
                **_who(plan, rows, len(kinds)),
                "mask": kinds * probes,
                "fraction": [settings.top] * len(kinds) * probes,
                "pixels": [pixel_count(pixels, settings.top)] * len(kinds) * probes,
                "clean": np.repeat(arrays["clean"], len(kinds)),
                "drop": arrays["drop"].ravel(),
            }
        ).with_columns(pl.lit(model).alias("model"))


def _transfer(plan: Plan, folder: RunFolder, model: str) -> Iterator[pl.DataFrame]:
    for arrays in shards(plan, folder, f"{TRANSFER}/{model}"):
        masks = [*arrays["sources"].tolist(), RANDOM]
        yield pl.DataFrame(
            {
                **_who(plan, arrays, len(masks)),
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
                **_who(plan, arrays, len(cells)),
                "fill": list(fills) * faces,
                "mask": list(masks) * faces,
                "fraction": list(fractions) * faces,
                "drop": arrays["grid"].ravel(),
            }
        ).with_columns(pl.lit(model).alias("model"))


def _who(plan: Plan, arrays: Mapping[str, NDArray[Any]], rows_each: int) -> dict[str, list[str]]:
    images = [plan.images[position] for position in np.repeat(arrays["position"], rows_each)]
    return {
        "person": [image.person for image in images],
        "image": [image.image for image in images],
    }

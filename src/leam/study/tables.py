"""Finished shards as tidy Parquet tables."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from leam.measures.critical import pixel_count
from leam.parsers.regions import LABELS, REGIONS
from leam.parsers.registry import load_parser
from leam.study.occluding import CURVE_MASKS
from leam.study.plan import Plan
from leam.study.store import Arrays, RunFolder

OVERALL = "overall"


def write_tables(plan: Plan, folder: RunFolder) -> None:
    """Write ``tables/faces.parquet``, and for each model its table of regions, layers and occlusion.

    Columns and units are described in ``docs/outputs.md``.
    """
    folder.write_table("faces", _faces(plan, folder))
    regions = parsed_regions(plan.settings.parser)
    for model in plan.models:
        name = model.card.name
        folder.write_table(f"regions/{name}", pl.concat(_regions(plan, folder, name, regions)))
        folder.write_table(f"layers/{name}", pl.concat(_layers(plan, folder, name)))
        folder.write_table(f"occlusion/{name}", pl.concat(_occlusion(plan, folder, name)))


def shards(plan: Plan, folder: RunFolder, stage: str) -> Iterator[Arrays]:
    """The finished, non-empty shards of a stage, in order."""
    for index, _ in enumerate(plan.slices):
        if arrays := folder.read_shard(stage, index):
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
    groups = sorted({name for image in plan.images for name in image.groups})
    box = np.concatenate([arrays["box"] for arrays in found])
    return pl.DataFrame(
        {
            "person": [image.person for image in plan.images],
            "image": [image.image for image in plan.images],
            "sha256": [image.sha256 for image in plan.images],
            "reason": np.concatenate([arrays["reason"] for arrays in found]).tolist(),
            "found": np.concatenate([arrays["found"] for arrays in found]),
            **{
                side: box[:, column]
                for column, side in enumerate(("left", "top", "right", "bottom"))
            },
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
    for arrays in shards(plan, folder, model):
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
    for arrays in shards(plan, folder, model):
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
    top = [(mask, settings.top) for mask in ("critical", *settings.baselines)]
    kinds = [*top, *((mask, fraction) for mask in CURVE_MASKS for fraction in settings.curve)]
    for arrays in shards(plan, folder, model):
        faces, pixels = len(arrays["position"]), arrays["density"][0].size
        drops = np.concatenate([arrays["drop"], arrays["curve"].reshape(faces, -1)], axis=1)
        yield (
            pl.DataFrame(
                {
                    **_who(plan, arrays, len(kinds)),
                    "mask": [mask for mask, _ in kinds] * faces,
                    "fraction": [fraction for _, fraction in kinds] * faces,
                    "pixels": [pixel_count(pixels, fraction) for _, fraction in kinds] * faces,
                    "clean": np.repeat(arrays["clean"], len(kinds)),
                    "drop": drops.ravel(),
                }
            )
            .with_columns(pl.lit(model).alias("model"))
            .unique(["image", "mask", "fraction"], keep="first", maintain_order=True)
        )


def _who(plan: Plan, arrays: Arrays, rows_each: int) -> dict[str, list[str]]:
    images = [plan.images[position] for position in np.repeat(arrays["position"], rows_each)]
    return {
        "person": [image.person for image in images],
        "image": [image.image for image in images],
    }

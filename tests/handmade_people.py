"""What the page of people reads, beside :mod:`handmade`: a picture's own numbers in each array."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import polars as pl

from handmade import LAYERS, NAMES, detections, explained, make_summary
from leam.parsers.regions import REGIONS
from leam.recognizers.card import Card
from leam.report.section import Context
from leam.study.plan import Plan, PlannedImage, PlannedModel, Settings
from leam.study.run_data import RunData
from leam.study.stages.layer_maps import SIDE, LayerMaps
from leam.study.stages.regions import RegionShares
from leam.study.store import RunFolder


def region_shares(positions: Sequence[int]) -> RegionShares:
    """Shares of the critical mask: nose 0.01 for each position, the rest skin."""
    share = np.zeros((len(positions), 1 + LAYERS, len(REGIONS)), dtype=np.float32)
    share[:, :, REGIONS.index("nose")] = 0.01 * np.array(positions)[:, None]
    share[:, :, REGIONS.index("skin")] = 1 - share[:, :, REGIONS.index("nose")]
    area = np.full((len(positions), len(REGIONS)), 1 / len(REGIONS), dtype=np.float32)
    return RegionShares(share, share.copy(), area, area.copy())


def layer_maps(positions: Sequence[int]) -> LayerMaps:
    """A row of bright cells, at the place of the layer; of odd pictures a column."""
    maps = np.zeros((len(positions), LAYERS, SIDE, SIDE), dtype=np.uint8)
    for row, position in enumerate(positions):
        for layer in range(LAYERS):
            where = (slice(None), layer) if position % 2 else (layer, slice(None))
            maps[row, layer][where] = 255
    return LayerMaps(maps)


def write_people(folder: RunFolder, plan: Plan, recognizers: Sequence[str]) -> None:
    """Write the shards and tables of a finished study in which all pictures are used."""
    for name in recognizers:
        for index, part in enumerate(plan.slices):
            folder.write_shard(f"regions/{name}", index, region_shares(part))
            folder.write_shard(f"layer_maps/{name}", index, layer_maps(part))
        folder.write_table(f"occlusion/{name}", [drops(plan)])
    people, images = zip(*((one.person, one.image) for one in plan.images), strict=True)
    table = {"person": people, "image": images, "reason": [""] * len(people)}
    folder.write_table("faces", [pl.DataFrame(table)])


def drops(plan: Plan) -> pl.DataFrame:
    """Drops of each picture: 0.01 for its position under the critical mask, and half of that under controls."""
    rows = [
        (image.person, mask, 0.01 * position * (1 if mask == "critical" else 0.5))
        for position, image in enumerate(plan.images)
        for mask in ("critical", *plan.settings.controls)
    ]
    return pl.DataFrame(rows, schema=["person", "mask", "drop"], orient="row")


def made_study(path: Path, people: Sequence[str], names: Sequence[str] = NAMES) -> Context:
    """A finished study of people with two pictures each: woman, man, woman, ...

    The first person is the least specific one, and has the smallest drop.
    """
    picture = path.with_suffix(".png")
    cv2.imwrite(str(picture), np.full((112, 112, 3), (60, 110, 200), dtype=np.uint8))
    images = tuple(
        PlannedImage(
            image=f"{number}/{k}.png",
            person=person,
            path=str(picture),
            sha256=None,
            groups={"gender": ("woman", "man")[number % 2]},
        )
        for number, person in enumerate(people)
        for k in range(2)
    )
    cards = [Card(name=name, input_size=(8, 8)) for name in names]
    settings = Settings(groups=("gender",))
    plan = Plan(
        versions={},
        source="nowhere",
        settings=settings,
        models=tuple(PlannedModel(card=card, sha256="0" * 64) for card in cards),
        images=images,
    )
    folder = RunFolder(path)
    folder.start(plan)
    coefficients = pl.DataFrame(
        {
            "person": list(people),
            "critical_genuine": np.linspace(0.1, 0.9, len(people)),
            "critical_impostor": np.full(len(people), 0.2),
        }
    )
    for index, part in enumerate(plan.slices):
        folder.write_shard("detect", index, detections(len(part)))
        for place, name in enumerate(names):
            folder.write_shard(f"explain/{name}", index, explained(part, place))
    for name in names:
        folder.write_table(f"specificity/{name}", [coefficients])
    write_people(folder, plan, names)
    summary = make_summary(settings)
    shown = {name: summary.recognizers[name] for name in names}
    summary = summary.model_copy(update={"recognizers": shown, "images": len(images)})
    return Context(plan, summary, RunData(plan, folder))

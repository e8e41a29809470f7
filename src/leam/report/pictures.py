"""The pictures of a study's report that show faces."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import polars as pl
from numpy.typing import NDArray

from leam.errors import LeamError, StudyError
from leam.faces.align import Crop
from leam.faces.read import Picture
from leam.report import figures
from leam.report.drawing import data_uri, enlarge, figure_png, figure_svg, grid, jpeg, overlay
from leam.study.found import restore_face
from leam.study.plan import Plan
from leam.study.skipped import FACES
from leam.study.store import Arrays, RunFolder
from leam.study.tables import shards

# People in each gallery, images of each, and the side of each picture in pixels.
_GALLERY_PEOPLE = 6
_GALLERY_IMAGES = 2
_GALLERY_SIDE = 112


@dataclass(frozen=True)
class ModelPictures:
    """A model's pictures, ready for the page."""

    name: str
    mean_map: str
    focus: str | None
    layers: str
    layer_count: int
    most: str | None
    least: str | None


def model_pictures(plan: Plan, folder: RunFolder, name: str, *, faces: bool) -> ModelPictures:
    """A model's pictures, from its shards and tables."""
    parts = list(shards(plan, folder, name))
    count = sum(len(part["position"]) for part in parts)
    mean_face = np.round(_total(part["face_sum"] for part in parts) / count).astype(np.uint8)
    density = _total(part["density"].sum(axis=0, dtype=np.float64) for part in parts) / count
    layers = _total(part["layer_sum"] for part in parts) / count
    names = [str(layer) for layer in parts[0]["layers"]]
    small = _shrink(mean_face, layers.shape[1:])
    table = folder.read_table(f"regions/{name}")
    return ModelPictures(
        name=name,
        mean_map=data_uri(
            jpeg(np.hstack([enlarge(p, 2) for p in (mean_face, overlay(mean_face, density))])),
            "jpeg",
        ),
        focus=None if table["empty"].all() else figure_svg(figures.layer_focus(table)),
        layers=data_uri(figure_png(figures.layer_maps(small, layers, names))),
        layer_count=len(names),
        most=_gallery(plan, folder, name, parts, descending=True) if faces else None,
        least=_gallery(plan, folder, name, parts, descending=False) if faces else None,
    )


def _gallery(
    plan: Plan, folder: RunFolder, name: str, parts: list[Arrays], *, descending: bool
) -> str | None:
    """Faces and maps of the people whose maps are most (or least) their own; None where pictures are gone."""
    table = (
        folder.read_table(f"people/{name}")
        .drop_nulls()
        .with_columns((pl.col("critical_same") - pl.col("critical_different")).alias("margin"))
    )
    if not descending and table.height < 2 * _GALLERY_PEOPLE:
        return None  # the same people would be shown twice
    people = (
        table.sort("margin", "person", descending=[descending, False])["person"]
        .head(_GALLERY_PEOPLE)
        .to_list()
    )
    density = {
        int(p): d for part in parts for p, d in zip(part["position"], part["density"], strict=True)
    }
    crop = plan.model(name).card.crop
    rows: list[list[Picture]] = []
    for person in people:
        positions = [p for p in density if plan.images[p].person == person][:_GALLERY_IMAGES]
        try:
            cells = [(_chip(plan, folder, p, crop), density[p]) for p in positions]
        except LeamError:
            return None
        rows.append(
            [
                _square(picture)
                for chip, values in cells
                for picture in (chip, overlay(chip, values.astype(float)))
            ]
        )
    columns = 2 * _GALLERY_IMAGES
    cells_flat = [cell for row in rows if len(row) == columns for cell in row]
    return data_uri(jpeg(grid(cells_flat, 2 * columns)), "jpeg") if cells_flat else None


def _chip(plan: Plan, folder: RunFolder, position: int, crop: Crop) -> Picture:
    index = next(i for i, part in enumerate(plan.slices) if position in part)
    arrays = folder.read_shard(FACES, index)
    if arrays is None:
        raise StudyError(f"{folder.path}: the study is not finished")
    return crop.align(
        restore_face(plan.images[position], arrays, position - plan.slices[index].start)
    ).image


def _square(picture: Picture) -> Picture:
    return _shrink(picture, (_GALLERY_SIDE, _GALLERY_SIDE))


def _shrink(picture: NDArray[np.uint8], size: tuple[int, ...]) -> Picture:
    return np.asarray(
        cv2.resize(picture, (size[1], size[0]), interpolation=cv2.INTER_AREA), dtype=np.uint8
    )


def _total(arrays: Iterable[NDArray[Any]]) -> NDArray[np.float64]:
    return np.asarray(np.sum([array.astype(np.float64) for array in arrays], axis=0))

"""The pictures of a study's report that show faces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import polars as pl
from numpy.typing import NDArray

from leam.errors import LeamError, StudyError
from leam.faces.alignment import Crop
from leam.faces.reading import Picture
from leam.report import figures
from leam.report.drawing import data_uri, enlarge, figure_png, figure_svg, grid, jpeg, overlay
from leam.study.found import restore_face
from leam.study.plan import Plan
from leam.study.skipped import FACES
from leam.study.store import RunFolder
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
    """A model's pictures, from its shards and tables.

    Raises:
        StudyError: No shard of the model is left.
    """
    mean_face, density, layers = _means(plan, folder, name)
    small = _shrink(mean_face, layers.shape[1:])
    focus = _focus(folder, name, len(layers))
    return ModelPictures(
        name=name,
        mean_map=data_uri(
            jpeg(np.hstack([enlarge(p, 2) for p in (mean_face, overlay(mean_face, density))])),
            "jpeg",
        ),
        focus=None if focus.is_empty() else figure_svg(figures.layer_focus(focus, len(layers))),
        layers=data_uri(figure_png(figures.layer_maps(small, layers))),
        layer_count=len(layers),
        most=_gallery(plan, folder, name, descending=True) if faces else None,
        least=_gallery(plan, folder, name, descending=False) if faces else None,
    )


def _means(
    plan: Plan, folder: RunFolder, name: str
) -> tuple[Picture, NDArray[np.float64], NDArray[np.float64]]:
    """Over all faces: the mean chip ``(h, w, 3)``, overall map ``(h, w)`` and layer maps ``(L, s, s)``."""
    sums: list[NDArray[np.float64]] = []
    count = 0
    for part in shards(plan, folder, f"maps/{name}", ["face_sum", "density", "layer_sum"]):
        density = part["density"]
        found = [
            array.astype(np.float64)
            for array in (
                part["face_sum"],
                density.sum(axis=0, dtype=np.float64),
                part["layer_sum"],
            )
        ]
        sums = [a + b for a, b in zip(sums, found, strict=True)] if sums else found
        count += len(density)
    if not count:
        raise StudyError(f"{folder.path}: the maps of {name} are gone; run the study again")
    face, density, layers = (total / count for total in sums)
    return np.round(face).astype(np.uint8), density, layers


def _focus(folder: RunFolder, name: str, layers: int) -> pl.DataFrame:
    """Mean ``mass`` and ``area`` of each ``region`` at each ``depth``, read layer by layer to spare memory."""
    return pl.concat(
        folder.read_table(
            f"regions/{name}",
            ["depth", "region", "mass", "area"],
            (pl.col("depth") == depth) & ~pl.col("empty"),
        )
        .group_by("depth", "region", maintain_order=True)
        .agg(pl.col("mass", "area").mean())
        for depth in range(1, layers + 1)
    )


def _gallery(plan: Plan, folder: RunFolder, name: str, *, descending: bool) -> str | None:
    """Faces and maps of the people whose maps are most (or least) their own; None where pictures are gone."""
    table = (
        folder.read_table(f"people/{name}")
        .select("person", "critical_same", "critical_different")
        .drop_nulls()
        .drop_nans()
        .with_columns((pl.col("critical_same") - pl.col("critical_different")).alias("margin"))
    )
    if not descending and table.height < 2 * _GALLERY_PEOPLE:
        return None  # the same people would be shown twice
    people = (
        table.sort("margin", "person", descending=[descending, False])["person"]
        .head(_GALLERY_PEOPLE)
        .to_list()
    )
    crop = plan.model(name).card.crop
    rows: list[list[Picture]] = []
    for person in people:
        try:
            cells = list(_person(plan, folder, name, person, crop))
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


def _person(
    plan: Plan, folder: RunFolder, name: str, person: str, crop: Crop
) -> Iterator[tuple[Picture, NDArray[np.float16]]]:
    """A person's first faces and their maps."""
    first = next(p for p, image in enumerate(plan.images) if image.person == person)
    index = next(i for i, part in enumerate(plan.slices) if first in part)
    arrays = folder.read_shard(f"maps/{name}", index, ["position", "density"]) or {}
    mine = [
        (int(position), density)
        for position, density in zip(arrays["position"], arrays["density"], strict=True)
        if plan.images[position].person == person
    ]
    for position, density in mine[:_GALLERY_IMAGES]:
        yield _chip(plan, folder, position, crop), density


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

"""A study's report: one HTML file that needs nothing else."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import cv2
import jinja2
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

# People in each row of the gallery, and images of each.
_GALLERY_PEOPLE = 6
_GALLERY_IMAGES = 2
_GALLERY_SIDE = 112


@dataclass(frozen=True)
class ModelPictures:
    """A model's pictures, ready for the page."""

    name: str
    mean_map: str
    focus: str
    layers: str
    layer_count: int
    most: str | None
    least: str | None


def render_report(folder: RunFolder, *, faces: bool = True) -> Path:
    """Render ``report.html`` from a finished study.

    Args:
        folder: The run folder.
        faces: Show people of the study; without, only mean faces are shown.

    Returns:
        The page's path.

    Raises:
        StudyError: The study is not finished, or its files are damaged.
    """
    plan, summary = folder.plan(), _summary(folder)
    pictures = [_model(plan, folder, model.card.name, faces=faces) for model in plan.models]
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    environment.filters["percent"] = _percent
    environment.filters["number"] = _number
    template = environment.from_string((resources.files("leam.report") / "page.html").read_text(encoding="utf-8"))
    models = summary["models"]
    page = template.render(
        summary=summary,
        plan=plan,
        models=models,
        pictures=pictures,
        regions_figure=figure_svg(figures.region_shares(models)),
        overlap_figure=figure_svg(figures.overlaps(models)),
        drop_figure=figure_svg(figures.drops(models)),
        claims=_claims(models),
        faces=faces,
    )
    folder.write_text("report.html", page)
    return folder.path / "report.html"


def _summary(folder: RunFolder) -> dict[str, Any]:
    path = folder.path / "summary.json"
    try:
        summary: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise StudyError(f"{path}: missing or damaged; finish the study with the same `leam study` command") from None
    return summary


def _claims(models: dict[str, Any]) -> list[dict[str, str]]:
    """The paper's figures beside this study's range over its models."""

    def over(*keys: str, scale: float = 1, digits: int = 2) -> str:
        values = []
        for model in models.values():
            for key in keys:
                model = model[key]  # noqa: PLW2901
            if model["mean"] is not None:
                values.append(scale * model["mean"])
        if not values:
            return "–"
        low, high = min(values), max(values)
        return f"{low:.{digits}f}" if len(values) == 1 else f"{low:.{digits}f} – {high:.{digits}f}"

    return [
        {"claim": "overlap of maps of one person", "paper": "0.32 – 0.57", "here": over("bc", "critical", "same")},
        {"claim": "overlap of maps of different people", "paper": "0.04 – 0.13", "here": over("bc", "critical", "different")},
        {"claim": "nose, % of the critical pixels", "paper": "18.9 – 29.7", "here": over("regions", "nose", "share", scale=100, digits=1)},
        {"claim": "drop, most relevant pixels hidden", "paper": "0.1148", "here": over("occlusion", "drop", digits=4)},
        {"claim": "drop, random pixels hidden", "paper": "0.0286", "here": over("occlusion", "baselines", "scattered", digits=4)},
    ]  # fmt: skip


def _model(plan: Plan, folder: RunFolder, name: str, *, faces: bool) -> ModelPictures:
    parts = list(shards(plan, folder, name))
    count = sum(len(part["position"]) for part in parts)
    mean_face = (sum(part["face_sum"].astype(np.float64) for part in parts) / count).round().astype(np.uint8)
    density = sum(part["density"].sum(axis=0, dtype=np.float64) for part in parts) / count
    layers = sum(part["layer_sum"] for part in parts) / count
    names = [str(layer) for layer in parts[0]["layers"]]
    small = _shrink(mean_face, layers.shape[1:])
    table = folder.read_table(f"regions/{name}")
    return ModelPictures(
        name=name,
        mean_map=data_uri(jpeg(np.hstack([enlarge(p, 2) for p in (mean_face, overlay(mean_face, density))])), "jpeg"),
        focus=figure_svg(figures.layer_focus(table)),
        layers=data_uri(figure_png(figures.layer_maps(small, layers, names))),
        layer_count=len(names),
        most=_gallery(plan, folder, name, parts, descending=True) if faces else None,
        least=_gallery(plan, folder, name, parts, descending=False) if faces else None,
    )


def _gallery(plan: Plan, folder: RunFolder, name: str, parts: list[Arrays], *, descending: bool) -> str | None:
    """Faces and maps of the people whose maps are most (or least) their own; None where pictures are gone."""
    table = folder.read_table(f"people/{name}").drop_nulls().with_columns(
        (pl.col("critical_same") - pl.col("critical_different")).alias("margin")
    )
    people = table.sort("margin", "person", descending=[descending, False])["person"].head(_GALLERY_PEOPLE).to_list()
    density = {int(p): d for part in parts for p, d in zip(part["position"], part["density"], strict=True)}
    crop = plan.model(name).card.crop
    rows: list[list[Picture]] = []
    for person in people:
        positions = [p for p in density if plan.images[p].person == person][:_GALLERY_IMAGES]
        try:
            cells = [(_chip(plan, folder, p, crop), density[p]) for p in positions]
        except LeamError:
            return None
        rows.append([_square(picture) for chip, values in cells for picture in (chip, overlay(chip, values.astype(float)))])
    columns = 2 * _GALLERY_IMAGES
    cells_flat = [cell for row in rows if len(row) == columns for cell in row]
    return data_uri(jpeg(grid(cells_flat, 2 * columns)), "jpeg") if cells_flat else None


def _chip(plan: Plan, folder: RunFolder, position: int, crop: Crop) -> Picture:
    index = next(i for i, part in enumerate(plan.slices) if position in part)
    arrays = folder.read_shard(FACES, index)
    if arrays is None:
        raise StudyError(f"{folder.path}: the study is not finished")
    return crop.align(restore_face(plan.images[position], arrays, position - plan.slices[index].start)).image


def _square(picture: Picture) -> Picture:
    return _shrink(picture, (_GALLERY_SIDE, _GALLERY_SIDE))


def _shrink(picture: NDArray[np.uint8], size: tuple[int, ...]) -> Picture:
    shrunk: Picture = cv2.resize(picture, (size[1], size[0]), interpolation=cv2.INTER_AREA)
    return shrunk


def _percent(estimate: dict[str, Any], digits: int = 1) -> str:
    if estimate["mean"] is None:
        return "–"
    return f"{100 * estimate['mean']:.{digits}f} [{100 * estimate['low']:.{digits}f}, {100 * estimate['high']:.{digits}f}]"


def _number(estimate: dict[str, Any], digits: int = 3) -> str:
    if estimate["mean"] is None:
        return "–"
    return f"{estimate['mean']:.{digits}f} [{estimate['low']:.{digits}f}, {estimate['high']:.{digits}f}]"

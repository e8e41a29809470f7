"""Photographs of a report: mean faces and maps, and the faces of people with their maps."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import polars as pl
from numpy.typing import NDArray

from leam.errors import ImageError, StudyError
from leam.explain.pictures import PAIR, bright_end, enlarge, overlay
from leam.faces.alignment import Crop
from leam.faces.reading import Picture as Pixels
from leam.report.charts import shared_highest
from leam.report.parts import ColourBar, Picture
from leam.study.explained import EXPLAIN, Explained
from leam.study.means import MeanMaps
from leam.study.plan import Plan
from leam.study.preparation import read_detections
from leam.study.run_data import RunData

# People in each gallery, images of each, and the side of each picture in pixels.
GALLERY_PEOPLE = 6
_GALLERY_IMAGES = 2
_GALLERY_SIDE = 112
_MOST_LAYERS = 36
_GAP = 4
_GREY = 128
# Colours of a colour bar.
_STEPS = 12
_RAMP = np.linspace(0, 1, _STEPS)[None]


@dataclass(frozen=True)
class Gallery:
    """People with the most, or the least, person-specific maps; the most extreme first.

    Attributes:
        most: The most person-specific.
        least: The least.
        highest: The end of the colour scale of all maps.
    """

    most: list[Picture]
    least: list[Picture]
    highest: float = 1.0


def scale_end(maps: Iterable[NDArray[np.float64]]) -> float:
    """The end of the colour scale that several maps share, in multiples of a map's mean."""
    return shared_highest(bright_end(relative(one)) for one in maps)


def colour_bar(highest: float) -> ColourBar:
    """The scale of maps that are drawn with this end."""
    strip = overlay(np.full((1, _STEPS, 3), _GREY, np.uint8), _RAMP * highest, highest=highest)
    colours = ["#" + bytes(colour).hex() for colour in strip[0]]
    return ColourBar(colours, f"{highest:.1f}", "times the mean of the map, or more")


def overall_picture(
    means: MeanMaps, recognizer: str, crop: Crop | None = None, highest: float | None = None
) -> Picture:
    """The mean face, and the mean overall map on it; without a face, the map with lines through the crop's points.

    Args:
        means: Of the recognizer.
        recognizer: Its name.
        crop: Its crop.
        highest: The end of the colour scale, from :func:`scale_end`; that of this map by default.
    """
    shown = _on_face(means, means.overall, crop, highest)
    sides = [means.face, shown] if means.face.size else [shown]
    what = "Mean face and mean map" if means.face.size else "Mean map"
    picture = np.hstack([enlarge(one, 2) for one in sides])
    return Picture(jpeg(picture), f"{what} of {recognizer}", recognizer)


def layer_pictures(
    means: MeanMaps, recognizer: str, crop: Crop | None = None, highest: float | None = None
) -> list[Picture]:
    """The mean maps of up to 36 layers on the mean face, from early to late, with the layer's number below each.

    Without a face, lines go through the crop's points. The arguments are those of :func:`overall_picture`.
    """
    count = len(means.layers)
    chosen = np.unique(np.linspace(0, count - 1, min(_MOST_LAYERS, count)).round().astype(int))
    return [
        Picture(
            jpeg(enlarge(_on_face(means, means.layers[place], crop, highest), 2)),
            f"Mean map of layer {place + 1} of {recognizer}",
            str(place + 1),
        )
        for place in chosen.tolist()
    ]


def _on_face(
    means: MeanMaps, values: NDArray[np.float64], crop: Crop | None, highest: float | None
) -> Pixels:
    """A mean map ``(h, w)`` on the mean face; without one on plain grey, with lines through the points of the crop.

    With other marks, such as circles, or without any, a map can look like a face, also to detectors.
    """
    size, values = values.shape, relative(values)
    if means.face.size:
        same = means.face.shape[:2] == size
        face = means.face if same else _resized(means.face, size)
        return overlay(face, values, highest=highest)
    drawn = overlay(np.full((*size, 3), _GREY, dtype=np.uint8), values, highest=highest)
    points = crop.input_points() if crop else None
    if points is None or crop is None:
        return drawn
    for some in (points.five_points, points.corner_points):
        for x, y in () if some is None else (some + 0.5) / crop.size[::-1] * size[::-1]:
            if 0 <= x < size[1] and 0 <= y < size[0]:
                drawn[int(y)] = drawn[:, int(x)] = 255
    return drawn


def gallery(run: RunData, recognizer: str) -> Gallery:
    """People whose maps are most, and least, like their own compared with other people's.

    People are ranked by the mean Bhattacharyya coefficient of their critical masks in genuine pairs minus that in
    impostor pairs. A gallery is empty where a picture can no longer be read; the second one also where the study has
    so few people that both would show the same ones.
    """
    columns = ["person", "critical_genuine", "critical_impostor"]
    table = (
        run.table("specificity", recognizer, columns)
        .drop_nulls()
        .drop_nans()
        .with_columns(margin=pl.col("critical_genuine") - pl.col("critical_impostor"))
        .sort("margin", "person", descending=[True, False])
    )
    least = table.sort("margin", "person").head(GALLERY_PEOPLE)
    if table.height < 2 * GALLERY_PEOPLE:
        least = least.clear()
    shown = [table.head(GALLERY_PEOPLE), least]
    try:
        faces = {
            person: list(_explained_faces(run, recognizer, person))
            for rows in shown
            for person in rows["person"].to_list()
        }
    except ImageError:
        return Gallery([], [])
    highest = scale_end(values for found in faces.values() for _, values in found)
    most, least_specific = (list(_people(rows, faces, highest)) for rows in shown)
    return Gallery(most, least_specific, highest)


def _people(
    rows: pl.DataFrame,
    faces: Mapping[str, list[tuple[Pixels, NDArray[np.float64]]]],
    highest: float,
) -> Iterator[Picture]:
    for person, genuine, impostor in rows.select(
        "person", "critical_genuine", "critical_impostor"
    ).iter_rows():
        cells = [
            _tile(cell)
            for face, values in faces[person]
            for cell in (face, overlay(face, relative(values), highest=highest))
        ]
        if cells:
            yield Picture(
                jpeg(_beside(cells)),
                "Faces of one person, each with its map",
                f"genuine {genuine:.3f}, impostor {impostor:.3f}",
            )


def _explained_faces(
    run: RunData, recognizer: str, person: str
) -> Iterator[tuple[Pixels, NDArray[np.float64]]]:
    """A person's first aligned faces with their maps."""
    plan = run.plan
    first = next(p for p, image in enumerate(plan.images) if image.person == person)
    index = slice_of(plan, first)
    part = run.folder.read_shard(
        Explained, f"{EXPLAIN}/{recognizer}", index, ["position", "density"]
    )
    if part is None:
        raise disappeared(run, f"the maps of {recognizer}")
    rows = [
        row
        for row, position in enumerate(part.position.tolist())
        if plan.images[position].person == person
    ]
    for row in rows[:_GALLERY_IMAGES]:
        face = aligned_face(run, recognizer, int(part.position[row]))
        yield face, part.density[row].astype(np.float64)


def slice_of(plan: Plan, position: int) -> int:
    """The slice of the plan that has the picture at this position."""
    return bisect_right(plan.slices, position, key=lambda part: part.start) - 1


def disappeared(run: RunData, what: str) -> StudyError:
    """The error of shards that are missing, or do not fit the others."""
    return StudyError(f"{run.folder.path}: {what} disappeared; run the study again")


def aligned_face(run: RunData, recognizer: str, position: int) -> Pixels:
    """The face of the picture at this position of the plan, as a recognizer sees it.

    Raises:
        ImageError: The picture can no longer be read.
    """
    plan = run.plan
    index = slice_of(plan, position)
    face = read_detections(run.folder, index).face(
        plan.images[position], position - plan.slices[index].start
    )
    return plan.model(recognizer).card.crop.align(face).image


def pair_picture(
    faces: Sequence[Pixels],
    maps: Mapping[str, Sequence[NDArray[np.float64]]],
    alt: str,
    caption: str,
) -> Picture:
    """Two faces side by side; below them, each with a map of every kind.

    Args:
        faces: The aligned faces.
        maps: By kind, ``alike`` or ``different``: the map of each face; all maps share one scale.
        alt: What the picture shows.
        caption: What stands below it.
    """
    highest = scale_end(values for kind in maps.values() for values in kind)
    rows = [_beside([_tile(face) for face in faces])]
    for kind, both in maps.items():
        drawn = [
            overlay(face, relative(values), PAIR[kind][0], highest)
            for face, values in zip(faces, both, strict=True)
        ]
        rows.append(_beside([_tile(one) for one in drawn]))
    return Picture(jpeg(np.vstack(rows)), alt, caption)


def _tile(picture: Pixels) -> Pixels:
    return _resized(picture, (_GALLERY_SIDE, _GALLERY_SIDE))


def jpeg(picture: Pixels) -> bytes:
    """A picture ``(h, w, 3)`` as a JPEG file."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, 88]
    return bytes(cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), quality)[1])


def _beside(pictures: list[Pixels]) -> Pixels:
    """Pictures of one size side by side, on white."""
    gap = np.full((pictures[0].shape[0], _GAP, 3), 255, dtype=np.uint8)
    cells = [part for picture in pictures for part in (gap, picture)]
    return np.hstack(cells[1:])


def relative(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """A map in multiples of its mean, so that maps of any size and unit can be compared."""
    return values / (values.mean() or 1.0)


def _resized(picture: Pixels, size: tuple[int, ...]) -> Pixels:
    resized = cv2.resize(picture, (size[1], size[0]), interpolation=cv2.INTER_AREA)
    return np.asarray(resized, dtype=np.uint8)

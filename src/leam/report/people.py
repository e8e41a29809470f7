"""The page of people: one person at a time, with pictures, maps, layers and regions, in one file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count, groupby
from typing import Any, Final, TypeVar
from urllib.parse import quote

import numpy as np
import polars as pl
from markupsafe import Markup
from numpy.typing import NDArray

from leam.errors import FaceError, InputError, printable
from leam.explain.pictures import heat
from leam.faces.alignment import Crop, transform_points, warp
from leam.faces.face import Face
from leam.faces.reading import Picture as Pixels
from leam.parsers.regions import REGIONS
from leam.progress import Progress, silent
from leam.report.html import html_file
from leam.report.pictures import disappeared, slice_of
from leam.report.section import DROP_AXES, Context
from leam.report.sprites import (
    COLUMNS,
    LAYER_SIDE,
    MAP_SIDE,
    PEOPLE_PER_SPRITE,
    Maps,
    Size,
    chosen_layers,
    face_sprite,
    fitting,
    layer_sprite,
    map_sprite,
    packed,
    shares,
    small_map,
)
from leam.results.shards import S
from leam.study.explained import EXPLAIN, Explained
from leam.study.masks import CRITICAL
from leam.study.preparation import read_detections
from leam.study.run_data import RunData
from leam.study.scene import seeded
from leam.study.stages.layer_maps import LAYER_MAPS, SIDE, LayerMaps
from leam.study.stages.occlusion import OcclusionFigures
from leam.study.stages.regions import RegionShares
from leam.study.stages.specificity import SpecificityFigures

T = TypeVar("T")
Step = Callable[[], None]

PEOPLE_PAGE: Final = "people.html"
"""Name of the page's file, beside the report."""
MOST_BYTES: Final = 15_000_000
"""The page has at most this many bytes."""
# What is written beside pictures and figures: text, styles and scripts.
_OTHER_BYTES = 100_000
# Colours end where, of 9 in 10 people, only the brightest 0.5 % of the map are brighter.
_SCALED_PEOPLE, _SCALED_CELLS = 0.9, 0.995
_RAMP = np.linspace(0, 1, 256)[None]
# What is seen in any crop fills this part of a face's tile, so that no neighbour shines through.
_FILLED = 0.98

_SIZES = (
    "Faces are stored with {face}x{face} pixels, overall maps with {map}x{map} and maps of layers with "
    "{layer}x{layer}, all compressed with loss. Numbers are as in ``tables/``."
)
_MORE = (
    "``leam explain PICTURE --model RECOGNIZER --out FOLDER`` draws any picture at full size, with the map of every "
    "layer. ``tables/`` in the study's folder has the numbers of every picture."
)


@dataclass(frozen=True)
class _Person:
    """A person of the page.

    Attributes:
        name: As shown: printable, and different from all others.
        key: The name in the plan.
        positions: The person's usable pictures in the plan.
        shown: Those that the page shows.
    """

    name: str
    key: str
    positions: tuple[int, ...]
    shown: tuple[int, ...]


@dataclass
class _Faces:
    """The faces of the page.

    Attributes:
        sprites: Files by name.
        moves: From each picture to each crop, ``(n, crops, 2, 3)``; see :func:`face_tile`.
        lost: Number of pictures that can no longer be read.
    """

    sprites: dict[str, str]
    moves: NDArray[np.float32]
    lost: int


@dataclass(frozen=True)
class _Found:
    """What the page knows of a recognizer: values by name, and files by name."""

    values: dict[str, Any]
    sprites: dict[str, str]


def people_link(person: str, recognizer: str = "") -> str:
    """The address of a person in the page of people, seen from the report beside it.

    Args:
        person: The person's name in the study.
        recognizer: The recognizer that the page shows; the first one by default.
    """
    chosen = f"&recognizer={quote(recognizer, safe='')}" if recognizer else ""
    return f"{PEOPLE_PAGE}#person={quote(printable(person), safe='')}{chosen}"


def has_people_page(context: Context) -> bool:
    """Whether a report has a page of people: where they may be shown, and maps of a study were made."""
    return context.faces and not context.settings.audit and bool(context.recognizers)


def people_page(context: Context, progress: Progress = silent, most: int = MOST_BYTES) -> str:
    """The HTML of the page of people.

    Everything is shown if it fits into ``most`` bytes. Otherwise the page has fewer layers, smaller faces, fewer
    pictures of each person or fewer people, in this order; it says what is left out.

    Args:
        context: What may be shown.
        progress: Progress callback.
        most: The page has at most this many bytes.

    Raises:
        ValueError: Nobody may be recognised.
        StudyError: Shards or tables of the study are missing.
    """
    if not context.faces:
        raise ValueError("a page of people shows faces")
    room = float(most - _OTHER_BYTES)
    while True:
        page = _page(context, progress, room)
        # A page of one person cannot be smaller.
        if (size := len(page.encode())) <= most or room < 1:
            return page
        # The bytes of pictures were underestimated.
        room *= 0.95 * most / size


def _page(context: Context, progress: Progress, room: float) -> str:
    """The page with pictures and maps of about so many bytes."""
    names = context.recognizers
    everyone = _everyone(context)
    layers = {name: _layer_names(context, name, everyone) for name in names}
    counts = [len(found) for found in layers.values()]
    size = fitting([len(one.positions) for one in everyone], counts, room)
    people = _chosen(everyone, size, context.settings.seed)
    total, done = len(people) * (1 + 2 * len(names)), count(1)

    def step() -> None:
        progress("rendering the page of people", min(next(done), total), total)

    crops = {context.plan.model(name).card.crop.name: name for name in names}
    faces = _faces(context, people, list(crops.values()), size.side, step)
    found = [_recognizer(context, name, people, step) for name in names]
    sprites = faces.sprites | {k: v for one in found for k, v in one.sprites.items()}
    index: dict[str, Any] = {
        "people": [_described(context, one) for one in people],
        "groups": list(context.settings.groups),
        "regions": context.run.regions(),
        "crops": list(crops),
        "moves": packed(faces.moves),
        "recognizers": [one.values for one in found],
        "sizes": {"face": size.side, "map": MAP_SIDE, "layer": LAYER_SIDE, "cells": SIDE},
        "columns": COLUMNS,
        "each": PEOPLE_PER_SPRITE,
        "colours": {"heat": packed(heat(_RAMP)), "difference": packed(heat(_RAMP, "PuOr_r"))},
    }
    left = room - sum(map(len, sprites.values())) - len(json.dumps(index))
    chosen = dict(zip(names, chosen_layers(counts, len(people), left), strict=True))
    for one, name in zip(found, names, strict=True):
        more = _layers(context, name, people, layers[name], chosen[name], step)
        one.values.update(more.values)
        sprites |= more.sprites
    said = [
        *_left_out(everyone, people, faces.lost),
        *_layers_left_out(layers, chosen),
        _SIZES.format(face=size.side, map=MAP_SIDE, layer=SIDE),
        _MORE,
    ]
    return html_file(
        "people.html",
        styles=["style.css", "people.css"],
        scripts=["shared.js", "people.js"],
        title="people of the study",
        said=said,
        index=_in_script(index),
        sprites=sprites,
    )


def _everyone(context: Context) -> list[_Person]:
    """The people of the study with their usable pictures, in the order of the plan."""
    reasons = context.run.folder.read_table("faces", ["reason"])["reason"]
    found: dict[str, list[int]] = {}
    for position, (image, reason) in enumerate(zip(context.plan.images, reasons, strict=True)):
        if not reason:
            found.setdefault(image.person, []).append(position)
    taken: Counter[str] = Counter()
    people = []
    for key, positions in found.items():
        taken[name := printable(key)] += 1
        unique = name if taken[name] == 1 else f"{name} ({taken[name]})"
        people.append(_Person(unique, key, tuple(positions), ()))
    return people


def _chosen(everyone: Sequence[_Person], size: Size, seed: int) -> list[_Person]:
    """The people that the page shows, with their first pictures."""
    drawn = seeded("people page", seed).permutation(len(everyone))[: size.people]
    return [
        replace(everyone[place], shown=everyone[place].positions[: size.pictures])
        for place in sorted(drawn.tolist())
    ]


def _described(context: Context, person: _Person) -> list[object]:
    """A person's name, number of pictures, shown pictures and groups."""
    images = [context.plan.images[position] for position in person.positions]
    return [
        person.name,
        len(images),
        [printable(one.image) for one in images[: len(person.shown)]],
        [
            printable(", ".join(dict.fromkeys(one.groups.get(column, "") for one in images)))
            for column in context.settings.groups
        ],
    ]


def _faces(
    context: Context,
    people: Sequence[_Person],
    recognizers: Sequence[str],
    side: int,
    step: Step,
) -> _Faces:
    """The faces of people, each once, with the transforms to the crops of recognizers."""
    plan = context.plan
    crops = [plan.model(name).card.crop for name in recognizers]
    nothing = np.zeros((side, side, 3), dtype=np.uint8), np.zeros((len(crops), 2, 3))
    found = _Faces({}, np.zeros((0, len(crops), 2, 3), np.float32), 0)
    moves = []
    index, detections = -1, None
    for number, some in enumerate(_parts(people)):
        tiles = []
        for one in some:
            if detections is None or index != slice_of(plan, one.positions[0]):
                index = slice_of(plan, one.positions[0])
                detections = read_detections(context.run.folder, index)
            if len(detections.reason) != len(plan.slices[index]):
                raise disappeared(context.run, "the faces")
            for position in one.shown:
                row = position - plan.slices[index].start
                try:
                    tile = face_tile(detections.face(plan.images[position], row), crops, side)
                except (InputError, ArithmeticError, np.linalg.LinAlgError):
                    tile, found.lost = nothing, found.lost + 1
                tiles.append(tile[0])
                moves.append(tile[1])
            step()
        found.sprites[f"faces-{number}"] = face_sprite(tiles)
    if moves:
        found.moves = np.stack(moves).astype(np.float32)
    return found


def face_tile(face: Face, crops: Sequence[Crop], side: int) -> tuple[Pixels, NDArray[np.float64]]:
    """A face with all that is seen in any of the crops, and how it becomes each of them.

    Returns:
        The picture ``(side, side, 3)``, upright in the first crop, and for each crop the affine map from the picture
        to the crop, ``(crops, 2, 3)``. Coordinates are those of edges, not of the centres of pixels: in pixels of the
        picture, and from 0 to 1 in the crop.

    Raises:
        FaceError: The crops do not fit the face.
    """
    with np.errstate(all="ignore"):
        matrices = [_edges(crop.matrix(face)) for crop in crops]
    if not np.isfinite(matrices).all():
        raise FaceError("the face has no place in its picture")
    corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], dtype=np.float64)
    to_first = _square(matrices[0])
    points = np.concatenate(
        [
            transform_points(
                (to_first @ np.linalg.inv(_square(matrix)))[:2], corners * crop.size[::-1]
            )
            for matrix, crop in zip(matrices, crops, strict=True)
        ]
    )
    low, high = points.min(axis=0), points.max(axis=0)
    scale = _FILLED * side / max(high - low)
    shift = side / 2 - scale * (low + high) / 2
    to_tile = _square(np.column_stack([np.eye(2) * scale, shift])) @ to_first
    back = np.linalg.inv(to_tile)
    moves = [
        np.diag([1 / crop.size[1], 1 / crop.size[0]]) @ (_square(matrix) @ back)[:2]
        for matrix, crop in zip(matrices, crops, strict=True)
    ]
    return warp(face.picture, _centres(to_tile[:2]), (side, side)), np.stack(moves)


def _square(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """An affine map ``(2, 3)`` as a matrix ``(3, 3)``."""
    return np.vstack([matrix, [0, 0, 1]])


def _edges(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """An affine map between centres of pixels as one between their edges: pixel 0 reaches from 0 to 1."""
    return np.column_stack([matrix[:, :2], matrix[:, 2] + 0.5 - matrix[:, :2] @ [0.5, 0.5]])


def _centres(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The reverse of :func:`_edges`."""
    return np.column_stack([matrix[:, :2], matrix[:, 2] - 0.5 + matrix[:, :2] @ [0.5, 0.5]])


def _recognizer(context: Context, name: str, people: Sequence[_Person], step: Step) -> _Found:
    """A recognizer's figures, region shares and overall maps."""
    run, means = context.run, context.means[name]
    columns = [REGIONS.index(region) for region in run.regions()]
    found = np.full((len(people), len(columns)), np.nan)
    sprites, ends, scales = {}, [], []
    maps = _by_person(run, name, people, Explained, EXPLAIN, "density")
    regions = _by_person(run, name, people, RegionShares, "regions", "share")
    for number, some in enumerate(_parts(people)):
        tiles = []
        for place, one in enumerate(some):
            density, rows = next(maps)
            own = [density.density[row] for row in rows.values()]
            mean: NDArray[np.float64] = np.zeros(means.overall.shape)
            if own:
                mean = np.mean(own, axis=0, dtype=np.float64)
            pictures = [
                density.density[rows[position]] if position in rows else np.zeros_like(mean)
                for position in one.shown
            ]
            tiles += [small_map(values) for values in (mean, *pictures)]
            scales.append(float(np.quantile(tiles[-1 - len(pictures)], _SCALED_CELLS)))
            share, rows = next(regions)
            if rows:
                shared = share.share[list(rows.values()), 0][:, columns]
                found[number * PEOPLE_PER_SPRITE + place] = shared.mean(axis=0)
            step()
        sprites[f"maps-{name}-{number}"], end = map_sprite(np.stack(tiles))
        ends.append(end)
    return _Found(
        {
            "name": name,
            "crop": context.plan.model(name).card.crop.name,
            "aspect": means.overall.shape[1] / means.overall.shape[0],
            "pictures": context.summary.images,
            "ends": ends,
            "scale": _scale(scales),
            "mean": packed(small_map(means.overall)),
            "share": packed(shares(found)),
            **_figures(context, name, people),
        },
        sprites,
    )


def _layers(
    context: Context,
    name: str,
    people: Sequence[_Person],
    names: Sequence[str],
    chosen: NDArray[np.intp],
    step: Step,
) -> _Found:
    """The maps of the chosen layers of a recognizer."""
    if not len(chosen):
        return _Found({"layers": []}, {})
    if len(context.means[name].layers) != len(names):
        raise disappeared(context.run, f"the maps of {name}")
    sprites, ends, scales = {}, [], []
    stored = _by_person(context.run, name, people, LayerMaps, LAYER_MAPS, "maps")
    for number, some in enumerate(_parts(people)):
        found = np.zeros((len(some), len(chosen), SIDE, SIDE), dtype=np.float32)
        for place, _ in enumerate(some):
            part, rows = next(stored)
            if part.maps.shape[1] != len(names):
                raise disappeared(context.run, f"the maps of {name}")
            found[place] = _mean_of_relative(part.maps[list(rows.values())][:, chosen])
            step()
        scales.append(np.quantile(found, _SCALED_CELLS, axis=(2, 3)))
        sprites[f"layers-{name}-{number}"], end = layer_sprite(found)
        ends.append(end)
    means = [small_map(context.means[name].layers[place], SIDE) for place in chosen]
    scale = np.concatenate(scales)
    return _Found(
        {
            "layers": [[int(k) + 1, names[k], _scale(scale[:, p])] for p, k in enumerate(chosen)],
            "depth": len(names),
            "layerEnds": ends,
            "layerMeans": packed(np.stack(means)),
        },
        sprites,
    )


def _mean_of_relative(maps: NDArray[np.uint8]) -> Maps:
    """The mean of a person's maps ``(n, layers, s, s)``, each in multiples of its own mean; empty ones do not count."""
    means = maps.mean(axis=(2, 3), keepdims=True, dtype=np.float32)
    relative = np.divide(maps, means, out=np.zeros(maps.shape, dtype=np.float32), where=means > 0)
    known = (means > 0).sum(axis=0)
    summed = relative.sum(axis=0)
    mean: Maps = np.divide(summed, known, out=np.zeros_like(summed), where=known > 0)
    return mean


def _figures(context: Context, name: str, people: Sequence[_Person]) -> dict[str, object]:
    """What was measured of each person by name: coefficients and similarity drops, NaN where not measured."""
    run, summary = context.run, context.summary.recognizers[name]
    found: dict[str, object] = {"unit": DROP_AXES[summary.similarity]}
    if summary.get(SpecificityFigures) is not None:
        columns = {"own": "critical_genuine", "others": "critical_impostor"}
        table = run.table("specificity", name, ["person", *columns.values()])
        found |= {key: _of_people(table, column, people) for key, column in columns.items()}
    if (occlusion := summary.get(OcclusionFigures)) is not None:
        masks = {"drop": CRITICAL, "control": occlusion.strongest or next(iter(occlusion.controls))}
        table = run.table("occlusion", name, ["person", "mask", "drop"])
        found["controlName"] = masks["control"]
        for key, mask in masks.items():
            found[key] = _of_people(table.filter(pl.col("mask") == mask), "drop", people)
    return found


def _of_people(table: pl.DataFrame, column: str, people: Sequence[_Person]) -> str:
    """The mean of a column for each person, packed."""
    known = table.select("person", pl.col(column).fill_nan(None)).drop_nulls()
    means = dict(known.group_by("person").mean().iter_rows())
    return packed(np.array([means.get(one.key, np.nan) for one in people], dtype=np.float32))


def _by_person(
    run: RunData,
    name: str,
    people: Sequence[_Person],
    kind: type[S],
    stage: str,
    only: str,
) -> Iterator[tuple[S, dict[int, int]]]:
    """For each person, the shard of the slice, and the row of each of the person's pictures that have a map.

    Raises:
        StudyError: A shard is missing, or does not fit the others.
    """
    for index, some in groupby(people, lambda one: slice_of(run.plan, one.positions[0])):
        maps = run.folder.read_shard(Explained, f"{EXPLAIN}/{name}", index, ["position", "empty"])
        found = run.folder.read_shard(kind, f"{stage}/{name}", index, [only])
        if maps is None or found is None or len(maps.position) != len(getattr(found, only)):
            raise disappeared(run, f"the maps of {name}")
        rows = {
            position: row
            for row, position in enumerate(maps.position.tolist())
            if not maps.empty[row, 0]
        }
        for one in some:
            yield found, {place: rows[place] for place in one.positions if place in rows}


def _layer_names(context: Context, name: str, people: Sequence[_Person]) -> list[str]:
    """The layers whose maps are stored; none for methods without layers, and for studies by earlier versions."""
    if not people:
        return []
    folder, index = context.run.folder, slice_of(context.plan, people[0].positions[0])
    stored = folder.read_shard(LayerMaps, f"{LAYER_MAPS}/{name}", index)
    found = folder.read_shard(Explained, f"{EXPLAIN}/{name}", index, ["layers"])
    return [] if stored is None or found is None else [str(layer) for layer in found.layers]


def _left_out(everyone: Sequence[_Person], people: Sequence[_Person], lost: int) -> Iterator[str]:
    """What the page leaves out of the people and their pictures, in sentences."""
    if len(people) < len(everyone):
        yield (
            f"{len(people)} of {len(everyone)} people are shown, drawn at random with the seed of the study: more do "
            f"not fit into a page of {MOST_BYTES / 1e6:.0f} MB."
        )
    if any(one.shown != one.positions for one in people):
        most = max(len(one.shown) for one in people)
        of = max(len(one.positions) for one in people)
        yield (
            f"Of each person, the first pictures are shown (up to {most} of {of}). Maps and numbers of a person are "
            "means over all pictures."
        )
    if lost:
        yield (
            f"Pictures that can no longer be read, or have changed since the study: {lost}. Their maps are shown "
            "without a face."
        )


def _layers_left_out(
    layers: Mapping[str, Sequence[str]], chosen: Mapping[str, NDArray[np.intp]]
) -> Iterator[str]:
    """What the page leaves out of the layers, in sentences."""
    if without := [name for name, found in layers.items() if not found]:
        yield (
            f"The study stored no maps of single layers for {', '.join(without)}: the attribution method has none, or "
            "an earlier version of LEAM ran the study."
        )
    cut = [
        f"{len(chosen[name])} of {len(found)} of {name}"
        for name, found in layers.items()
        if len(chosen[name]) < len(found)
    ]
    if cut:
        yield (
            "Layers are evenly spaced, as many of each recognizer as fit into the page: "
            f"{', '.join(cut)}."
        )


def _parts(people: Sequence[T]) -> Iterator[Sequence[T]]:
    """The people whose pictures are in one file."""
    for start in range(0, len(people), PEOPLE_PER_SPRITE):
        yield people[start : start + PEOPLE_PER_SPRITE]


def _scale(values: Sequence[float] | NDArray[np.floating]) -> float:
    """The end of a colour scale, from the bright ends of people's maps."""
    return float(np.quantile(values, _SCALED_PEOPLE)) if len(values) else 1.0


def _in_script(value: object) -> Markup:
    """A value as JSON that cannot end the script element that it is in."""
    return Markup(json.dumps(value, separators=(",", ":")).replace("<", "\\u003c"))  # noqa: S704  escaped here

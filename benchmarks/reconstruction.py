r"""Search for the variant that comes closest to all figures of the paper at once.

    python benchmarks/reconstruction.py FACES --models examples/cards/mobileface_v2.toml,... \
        --work reconstruction.work --out benchmarks/reconstruction.json --page docs/appendices/reconstruction.md

``--images 14`` with the folder ``lfw/many`` searches with person maps: ``halves`` then compares two maps of seven
pictures each, without a common picture.

The recognizers must use cosine similarity, since the paper's drop is a drop of the cosine. Every
variant of the grid (targets, layers, weightings, aggregates, smoothing, top fractions, comparisons)
is first evaluated by its maps alone. For the closest variants, pixels are then hidden with three
fills and compared with scattered and moved pixels. Variants are chosen on half of the people; the
distance is also given for the other half, which was not used for the choice.

The paper gives eight figures, each a mean or an end of a range over its recognizers (``PAPER``).
Ours are the same means and ends over our recognizers. The distance is the root mean square of the
logarithms of the eight ratios between our figures and the paper's: 0 if all agree, 0.69 if each is
off by a factor of two.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from bench import Bench, LayerMaps, find_faces, layer_maps, make_bench, targets_of, write_whole
from markdown import show
from numpy.typing import NDArray
from torch import Tensor

from leam.explain.aggregates import AGGREGATES, distribution
from leam.explain.explainer import Explainer
from leam.explain.layers import STAGES, Layer
from leam.explain.masks import critical_mask, pixel_count
from leam.metrics.controls import CONTROLS, ControlInput
from leam.parsers.regions import REGIONS
from leam.recognizers.catalogue import load_recognizer

TARGETS = ("self", "template")
TOPS = (0.0025, 0.005, 0.01, 0.02, 0.05)
FILLS = ("black", "mean", "blur")
RANDOM = ("scattered", "moved")
COMPARED = ("pictures", "halves", "pattern")
"""Comparisons: two pictures; two mean maps, each over half of a person's pictures; a picture and the
mean of all of the person's pictures, which include the picture itself."""
NOMINATED = 6
SMOOTHING = 0.02

PAPER = {
    "nose, least": 0.189,
    "nose, most": 0.297,
    "same, least": 0.32,
    "same, most": 0.57,
    "different, least": 0.04,
    "different, most": 0.13,
    "drop": 0.1148,
    "random": 0.0286,
}
DEFAULT = "self/convolutions/signed/smooth/0/0.01"

Figures = dict[str, list[list[float]]]
"""Figures by variant, for each half of the people: nose, then same and different for each comparison."""


def chosen_layers(explainer: Explainer) -> dict[str, list[int]]:
    """Named subsets of the layers, as positions among them."""
    layers = explainer.layers
    every = list(range(len(layers)))
    stages = {layer.name for layer in Explainer(explainer.recognizer, layers=STAGES).layers}
    height = explainer.recognizer.card.input_size[0]

    def stride(layer: Layer) -> int:
        return int(2 ** round(math.log2(height / layer.size[0])))

    return {
        "convolutions": every,
        "stages": [i for i in every if layers[i].name in stages],
        "early_half": every[: len(every) // 2],
        "late_half": every[len(every) // 2 :],
        "last": every[-1:],
        **{f"stride_{n}": [i for i in every if stride(layers[i]) == n] for n in (4, 8, 16)},
    }


def overall_maps(explainer: Explainer, maps: LayerMaps) -> Iterator[tuple[str, Tensor]]:
    """Overall maps ``(n, h, w)`` of all variants of one target, by ``layers/weighting/aggregate/smoothing``."""
    size = explainer.recognizer.card.input_size
    for weighting, (choice, indices) in product(maps, chosen_layers(explainer).items()):
        layers = [maps[weighting][i] for i in indices]
        for aggregate, join in AGGREGATES.items():
            if aggregate == "last" or (aggregate not in _AGGREGATES.get(choice, ("mean",))):
                continue
            overall = distribution(join(layers, size))
            yield f"{choice}/{weighting}/{aggregate}/0", overall
            if choice in {"convolutions", "stages"} and aggregate in {"mean", "sizes", "max"}:
                yield f"{choice}/{weighting}/{aggregate}/{SMOOTHING}", smoothed(overall)


_AGGREGATES = {
    "convolutions": ("mean", "sizes", "smooth", "max", "product", "late"),
    "stages": ("mean", "max"),
}


def smoothed(maps: Tensor) -> Tensor:
    """Maps under the Gaussian of :func:`leam.explain.masks.compact_mask`."""
    sigma = SMOOTHING * max(maps.shape[1:])
    return torch.from_numpy(np.stack([cv2.GaussianBlur(m, (0, 0), sigma) for m in maps.numpy()]))


def judge_maps(bench: Bench, overall: Tensor, images: int) -> dict[float, list[list[float]]]:
    """Figures by top fraction, for each half of the people: nose, same and different for each comparison."""
    people = len(overall) // images
    by_person = overall.view(people, images, *overall.shape[1:])
    halves = by_person.view(people, 2, images // 2, *overall.shape[1:]).mean(dim=2).flatten(0, 1)
    ranked = [top_pixels(maps) for maps in (overall, halves, by_person.mean(dim=1))]
    nose = (bench.regions == REGIONS.index("nose")).flatten(1)
    owners = [np.repeat(np.arange(people), count) for count in (images, 2, 1)]
    half = np.arange(people) % 2
    found = {}
    pixels = nose.shape[1]
    for top in TOPS:
        count = pixel_count(pixels, top)
        masks = [as_masks(order[:, :count], pixels) for order in ranked]
        share = nose.gather(1, ranked[0][:, :count]).float().mean(dim=1).numpy()
        overlaps = (masks[0] @ masks[0].T, masks[1] @ masks[1].T, masks[0] @ masks[2].T)
        sides = ((0, 0), (1, 1), (0, 2))
        rows = []
        for which in (0, 1):
            row = [float(share[half[owners[0]] == which].mean())]
            for overlap, (first, second) in zip(overlaps, sides, strict=True):
                row += same_and_different(
                    overlap.numpy() / count, owners[first], owners[second], half == which
                )
            rows.append(row)
        found[top] = rows
    return found


def top_pixels(maps: Tensor) -> Tensor:
    """Positions of the highest pixels of each map in descending order, up to the largest fraction."""
    flat = maps.flatten(1)
    return flat.topk(pixel_count(flat.shape[1], TOPS[-1]), dim=1).indices


def as_masks(positions: Tensor, pixels: int) -> Tensor:
    """Masks ``(n, pixels)`` float32 from the positions of their pixels."""
    return torch.zeros(len(positions), pixels).scatter_(1, positions, 1.0)


def same_and_different(
    overlaps: NDArray[np.floating],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    wanted: NDArray[np.bool_],
) -> list[float]:
    """Mean overlap of genuine and impostor pairs of the selected people, without pairs of a map with itself."""
    rows, columns = wanted[first], wanted[second]
    part = overlaps[rows][:, columns]
    same = first[rows][:, None] == second[columns]
    itself = np.eye(len(part), dtype=bool) if len(first) == len(second) else np.zeros_like(same)
    return [float(part[same & ~itself].mean()), float(part[~same].mean())]


def search_maps(bench: Bench, target: str, images: int) -> Figures:
    """Map figures of the whole grid for one target and recognizer."""
    explainer = Explainer(bench.recognizer)
    targets = targets_of(explainer, bench.chips, bench.people, target)
    maps = layer_maps(explainer, bench.chips, targets)
    return {
        f"{target}/{key}/{top}": rows
        for key, overall in overall_maps(explainer, maps)
        for top, rows in judge_maps(bench, overall, images).items()
    }


def search_drops(bench: Bench, wanted: list[str], images: int) -> dict[str, dict[str, list[float]]]:
    """Mean drops of each half of the people, by variant and fill (``drop/black`` ...).

    One picture per person is masked; its mate is the template of the others.
    """
    explainer = Explainer(bench.recognizer)
    faces = np.arange(0, len(bench.chips), images)
    shown = bench.part(faces)
    half = np.arange(len(faces)) % 2
    found: dict[str, dict[str, list[float]]] = {}
    for target in TARGETS:
        if not any(key.startswith(f"{target}/") for key in wanted):
            continue
        targets = targets_of(explainer, bench.chips, bench.people, target)
        maps = layer_maps(explainer, bench.chips, targets)
        for key, overall in overall_maps(explainer, maps):
            for top in TOPS:
                name = f"{target}/{key}/{top}"
                if name in wanted:
                    found[name] = _drops(shown, overall[torch.from_numpy(faces)], top, half)
    return found


def _drops(
    shown: Bench, overall: Tensor, top: float, half: NDArray[np.int64]
) -> dict[str, list[float]]:
    own = critical_mask(overall, top).numpy()
    masks = {"drop": own}
    for kind in RANDOM:
        generator = np.random.default_rng(0)
        masks[kind] = np.stack(
            [
                CONTROLS[kind](ControlInput(mask, values, face, np.zeros_like(mask), generator))
                for mask, values, face in zip(own, overall.numpy(), shown.on_face, strict=True)
            ]
        )
    return {
        f"{kind}/{fill}": [float(drops[half == which].mean()) for which in (0, 1)]
        for kind, chosen in masks.items()
        for fill in FILLS
        for drops in [shown.drops(chosen, fill)]
    }


def map_figures(models: list[Figures], key: str, compared: str, half: int) -> dict[str, float]:
    """The six figures that depend only on maps, over recognizers."""
    rows = np.array([model[key][half] for model in models])
    column = 1 + 2 * COMPARED.index(compared)
    values = {"nose": rows[:, 0], "same": rows[:, column], "different": rows[:, column + 1]}
    ends = {"least": np.min, "most": np.max}
    return {f"{n}, {end}": float(f(v)) for n, v in values.items() for end, f in ends.items()}


def distance(figures: dict[str, float]) -> float:
    """Root mean square of the logarithms of the ratios to the paper's figures, over the given figures."""
    logs = [np.log(max(value, 1e-4) / PAPER[name]) for name, value in figures.items()]
    return float(np.sqrt(np.mean(np.square(logs))))


def nominate(models: list[Figures]) -> list[str]:
    """The variants that are closest by maps alone on the first half, for each comparison, and the default."""
    found: dict[str, None] = {DEFAULT: None}
    for compared in COMPARED:
        keys = sorted(models[0], key=lambda k: distance(map_figures(models, k, compared, 0)))
        found.update(dict.fromkeys(keys[:NOMINATED]))
    return list(found)


def candidates(
    models: list[Figures], drops: list[dict[str, dict[str, list[float]]]]
) -> list[dict[str, Any]]:
    """The distances of all nominated variants, comparisons, fills and random controls, closest first."""
    rows = []
    for key, compared, fill, random in product(drops[0], COMPARED, FILLS, RANDOM):
        halves = []
        for half in (0, 1):
            figures = map_figures(models, key, compared, half)
            for name, kind in (("drop", "drop"), ("random", random)):
                figures[name] = float(np.mean([one[key][f"{kind}/{fill}"][half] for one in drops]))
            halves.append(figures)
        rows.append(
            {
                "variant": key,
                "compared": compared,
                "fill": fill,
                "random": random,
                "distance_chosen": distance(halves[0]),
                "distance_held_out": distance(halves[1]),
                "held_out": halves[1],
            }
        )
    return sorted(rows, key=lambda row: float(row["distance_chosen"]))


def table(found: dict[str, Any]) -> str:
    """Markdown table of the paper, the closest variant of each comparison, and the default."""
    heads = ["variant", "compared", "fill", "random", "distance", "held out", *PAPER]
    paper = ["the paper", "?", "?", "?", "0", "0", *(f"{value:.3g}" for value in PAPER.values())]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|", f"| {' | '.join(paper)} |"]
    for row in [*found["nearest"], found["default"]]:
        cells = [row["variant"], row["compared"], row["fill"], row["random"]]
        cells += [f"{row['distance_chosen']:.3f}", f"{row['distance_held_out']:.3f}"]
        cells += [f"{row['held_out'][name]:.3f}" for name in PAPER]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("faces", type=Path)
    parser.add_argument("--models", required=True)
    parser.add_argument("--hidden", help="recognizers whose faces are occluded; all by default")
    parser.add_argument("--people", type=int, default=24)
    parser.add_argument("--images", type=int, default=4, help="pictures of each person; even")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, required=True, help="folder for partial results")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--page", type=Path, help="Markdown page to insert the table into")
    parser.add_argument("--name", default="reconstruction", help="name of the table in the page")
    options = parser.parse_args()
    faces, people = find_faces(options.faces, options.people, options.images, options.seed)
    maps: list[Figures] = []
    names = options.models.split(",")
    for name in names:
        merged: Figures = {}
        bench = None
        for target in TARGETS:
            path = options.work / f"maps-{Path(name).stem}-{target}.json"
            if not path.is_file():
                bench = bench or make_bench(load_recognizer(name), faces, people)
                write_whole(path, search_maps(bench, target, options.images))
                print(path.name, flush=True)
            merged.update(json.loads(path.read_text(encoding="utf-8")))
        maps.append(merged)
    wanted = nominate(maps)
    drops = []
    hidden = options.hidden.split(",") if options.hidden else names
    for name in hidden:
        path = options.work / f"drops-{Path(name).stem}.json"
        if not path.is_file():
            bench = make_bench(load_recognizer(name), faces, people)
            write_whole(path, search_drops(bench, wanted, options.images))
            print(path.name, flush=True)
        drops.append(json.loads(path.read_text(encoding="utf-8")))
    rows = candidates(maps, drops)
    own = [row for row in rows if row["variant"] == DEFAULT and row["compared"] == "pictures"]
    found = {
        "people": len(set(people.tolist())),
        "images": len(faces),
        "seed": options.seed,
        "recognizers": [Path(name).stem for name in names],
        "hidden": [Path(name).stem for name in hidden],
        "searched": len(maps[0]) * len(COMPARED),
        "paper": PAPER,
        "nearest": [next(row for row in rows if row["compared"] == one) for one in COMPARED],
        "default": next(r for r in own if r["fill"] == "black" and r["random"] == "scattered"),
        "candidates": rows[:100],
    }
    write_whole(options.out, found)
    show(table(found), options.page, options.name)


if __name__ == "__main__":
    main()

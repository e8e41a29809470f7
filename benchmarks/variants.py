r"""Evaluate targets, layers, weightings, aggregates and masks on recognizers and planted truth.

    python benchmarks/variants.py FACES --models dlib_resnet,examples/cards/mobileface_v2.toml \
        --work variants.work --out benchmarks/variants.json --page docs/appendices/variants.md

The default is compared with each single change of it, with the pairs of single changes that pass, and
with a few other variants, by the rule in docs/appendices/variants.md. Half of the people choose; the other half is
only reported. Results are kept by half, recognizer and target in the work folder, so that the command
can be resumed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from itertools import combinations, groupby, product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench import Bench, LayerMaps, find_faces, layer_maps, make_bench, targets_of, write_whole
from lattice import equalised
from markdown import show
from numpy.typing import NDArray
from torch import Tensor

from leam.explain.aggregates import AGGREGATES, Aggregate, distribution
from leam.explain.explainer import Explainer
from leam.explain.layers import CONVOLUTIONS, STAGES
from leam.explain.masks import compact_mask, critical_mask, pixel_count
from leam.explain.targets import Target, reference_target
from leam.faces.face import Face
from leam.metrics.controls import CONTROLS, ControlInput
from leam.metrics.controls.edges import edge_map
from leam.metrics.occlusion import pieces
from leam.metrics.overlap import bhattacharyya_matrix
from leam.metrics.robustness import cascade
from leam.metrics.specificity import specificity
from leam.metrics.statistics import (
    Estimate,
    Numbers,
    benjamini_hochberg,
    bootstrap_mean,
    sign_flip_p,
)
from leam.parsers.regions import REGIONS
from leam.parsers.shares import region_shares
from leam.planted import plant
from leam.planted.truth import IMAGES, Planted
from leam.recognizers.catalogue import load_recognizer
from leam.recognizers.recognizer import Recognizer

TOP = 0.01
FILLS = ("black", "mean", "local_blur")
"""The fills of the rule; the comparison with controls adds ``blur``."""
JUDGED = ("mean", "local_blur")
"""The fills under both of which a part must be better."""
HALVES = ("choosing", "reported")
NEW = "new"
"""The people of the second rule."""
RANGE = 200
"""People of the folder to draw from: the first ones for the first rule, the next ones for the second."""
SANITY_FACES, CALIBRATION_FACES = 20, 16
PLANTED = ("left_eye", "mouth")
PLANTED_PEOPLE, PLANTED_STEPS = 20, 600
DEARER = 1.1
"""A variant that costs more than this factor times the default is worse."""

MASKS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "pixels": critical_mask,
    "compact": compact_mask,
}


@dataclass(frozen=True, order=True)
class Variant:
    """A way to make critical masks; the fields' defaults are the default before the rules were applied."""

    target: str = "self"
    layers: str = CONVOLUTIONS
    weighting: str = "positive"
    aggregate: str = "sizes"
    mask: str = "pixels"

    def __str__(self) -> str:
        """The choices, joined by slashes."""
        return "/".join(getattr(self, field.name) for field in fields(self))

    @property
    def changes(self) -> dict[str, str]:
        """The choices that differ from the default's."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value != getattr(DEFAULT, name)}


DEFAULT = Variant()
SINGLE: tuple[Variant, ...] = tuple(
    replace(DEFAULT, **{name: value})
    for name, values in {
        "target": ("template", "contrast"),
        "layers": (STAGES,),
        "weighting": ("signed", "magnitude", "absolute"),
        "aggregate": ("smooth", "equalised", "mean", "max", "late", "last", "product"),
        "mask": ("compact",),
    }.items()
    for value in values
)
"""The single changes of the default."""
EARLIER: tuple[Variant, ...] = (
    Variant(layers=STAGES, weighting="signed", aggregate="max"),
    Variant(layers=STAGES, weighting="magnitude", aggregate="max"),
    Variant(weighting="signed", aggregate="max"),
    Variant(weighting="absolute", aggregate="max"),
)
"""The best variants under the earlier definition, where layers were taken before their normalisations."""

JOINS: dict[str, Aggregate] = {
    **AGGREGATES,
    "equalised": lambda maps, size: AGGREGATES["sizes"](equalised(maps), size),
}
"""The aggregates, and another remedy against the lattice of strided layers."""

CHOSEN = replace(DEFAULT, weighting="signed", aggregate="smooth")
CANDIDATES = (replace(DEFAULT, aggregate="smooth"), CHOSEN)
"""The variants of the second rule, and the one that it chose."""
REMEDIES = (replace(DEFAULT, aggregate="smooth"), replace(DEFAULT, aggregate="equalised"))
"""Remedies against the lattice, which are measured on both halves."""

Row = dict[str, Any]
Rows = dict[str, Row]
"""Figures by variant."""


Targets = Callable[[slice], Target]
"""The targets of a slice of the faces."""


class Mapper:
    """The masks of all variants of one target and choice of layers, for some faces."""

    def __init__(self, explainer: Explainer, chips: NDArray[np.uint8], targets: Targets) -> None:
        self._size = explainer.recognizer.card.input_size
        self._maps: LayerMaps = layer_maps(explainer, chips, targets)

    @classmethod
    def of(cls, bench: Bench, target: str, layers: str) -> Mapper:
        """For the faces of a bench."""
        explainer = Explainer(bench.recognizer, layers=layers, backend="plain")
        return cls(explainer, bench.chips, targets_of(explainer, bench.chips, bench.people, target))

    def overall(self, variant: Variant) -> Tensor:
        """The overall maps ``(n, h, w)``."""
        layers = self._maps[variant.weighting]
        return distribution(JOINS[variant.aggregate](layers, self._size))

    def masks(self, variant: Variant) -> Tensor:
        """The critical masks ``(n, h, w)``."""
        return MASKS[variant.mask](self.overall(variant), TOP)


def by_maps(variants: Iterable[Variant]) -> list[tuple[tuple[str, str], list[Variant]]]:
    """Variants that need the same target and layers, and so the same layer maps."""

    def maps(variant: Variant) -> tuple[str, str]:
        return variant.target, variant.layers

    return [(key, list(group)) for key, group in groupby(sorted(variants), maps)]


def own_auc(masks: Tensor, person: NDArray[np.int64]) -> list[float]:
    """For each person, the probability that a genuine pair overlaps more than an impostor pair.

    Its mean over people is an AUC whose interval comes from resampling people.
    """
    found = specificity(bhattacharyya_matrix(masks, masks).double().numpy(), person)
    areas = []
    for one in range(int(found.same_person.max()) + 1):
        own = found.same[found.same_person == one][:, None]
        foreign = found.different[(found.different_people == one).any(axis=1)]
        areas.append(float(((own > foreign) + 0.5 * (own == foreign)).mean()))
    return areas


def others(people: int) -> NDArray[np.int64]:
    """The picture of another person for each person, of faces sorted by person with two pictures each."""
    return 2 * np.roll(np.arange(people), people // 2)


def moved(bench: Bench, mask: NDArray[np.bool_], place: int) -> NDArray[np.bool_]:
    """The pieces of a face's mask, moved on the face."""
    generator = np.random.default_rng(place)
    given = ControlInput(mask, mask.astype(float), bench.on_face[place], mask, generator)
    return CONTROLS["moved_on_face"](given)


def judge(bench: Bench, masks: Tensor) -> Row:
    """Figures of one variant's critical masks ``(n, h, w)``, by person; the first picture is hidden."""
    first = np.arange(0, len(masks), 2)
    faces, values = bench.part(first), masks.numpy()
    hidden = {
        "own": values[first],
        "other_picture": values[first + 1],
        "other_person": values[others(len(first))],
        "moved_on_face": np.stack([moved(bench, values[place], int(place)) for place in first]),
    }
    counts = [pieces(mask) for mask in values]
    nose = region_shares(masks, bench.regions, len(REGIONS))[:, REGIONS.index("nose")]
    return {
        "drops": {
            fill: {name: faces.drops(mask, fill).tolist() for name, mask in hidden.items()}
            for fill in FILLS
        },
        "auc": own_auc(masks, bench.person),
        "pieces": np.reshape([number for number, _ in counts], (-1, 2)).mean(axis=1).tolist(),
        "largest": float(np.mean([size for _, size in counts]) / pixel_count(values[0].size, TOP)),
        "nose": float(nose.mean()),
    }


def judge_real(bench: Bench, variants: Sequence[Variant]) -> Rows:
    """Figures of variants on one recognizer."""
    rows: Rows = {}
    for (target, layers), group in by_maps(variants):
        mapper = Mapper.of(bench, target, layers)
        rows |= {str(one): judge(bench, mapper.masks(one)) for one in group}
    return rows


def planted_shares(region: str, variants: Sequence[Variant]) -> Rows:
    """:func:`judge_planted` for a region."""
    return judge_planted(plant(region, people=PLANTED_PEOPLE, steps=PLANTED_STEPS), variants)


def judge_planted(planted: Planted, variants: Sequence[Variant]) -> Rows:
    """Share of the critical mask in the planted region, by face."""
    faces = planted.faces

    def targets(explainer: Explainer, target: str) -> Targets:
        if target == "template":
            kind = planted.recognizer.card.similarity
            return lambda part: reference_target(planted.mates[part], kind)
        return targets_of(explainer, faces.chips, faces.person.astype(str), target)

    rows: Rows = {}
    for (target, layers), group in by_maps(variants):
        explainer = Explainer(planted.recognizer, layers=layers, backend="plain")
        mapper = Mapper(explainer, faces.chips, targets(explainer, target))
        for variant in group:
            shares = region_shares(mapper.masks(variant), torch.from_numpy(faces.region), 2)[:, 1]
            rows[str(variant)] = {"shares": shares.reshape(-1, IMAGES).mean(dim=1).tolist()}
    return rows


def judge_sanity(bench: Bench, variants: Sequence[Variant]) -> Rows:
    """Rank correlation between the maps before and after all weights are randomised, by face."""
    faces = bench.part(np.arange(SANITY_FACES))
    inputs = bench.recognizer.preprocess(bench.chips[:CALIBRATION_FACES])

    def maps(target: str, layers: str, group: Sequence[Variant]) -> Tensor:
        mapper = Mapper.of(faces, target, layers)
        return torch.cat([mapper.overall(one) for one in group])

    rows: Rows = {}
    for (target, layers), group in by_maps(variants):
        explain = partial(maps, target, layers, group)
        (after,) = cascade(bench.recognizer.module, explain, inputs, seed=0, steps=1)
        ranks = after.rank.reshape(len(group), SANITY_FACES)
        rows |= {str(one): {"rank": row.tolist()} for one, row in zip(group, ranks, strict=True)}
    return rows


def edge_figures(bench: Bench) -> Rows:
    """The control of overlaps: the figures of edge maps, without a network."""
    maps = torch.from_numpy(np.stack([edge_map(chip) for chip in bench.chips]))
    return {"edges": judge(bench, critical_mask(maps, TOP))}


def against_controls(bench: Bench, variants: Sequence[Variant]) -> Rows:
    """Drops by person for the masks of some variants and for each of their controls."""
    rows: Rows = {}
    for (target, layers), group in by_maps(variants):
        mapper = Mapper.of(bench, target, layers)
        rows |= {str(one): {"drops": control_drops(bench, mapper, one)} for one in group}
    return rows


def control_drops(bench: Bench, mapper: Mapper, variant: Variant) -> dict[str, Any]:
    """Drops by person under all fills, for one variant and each of its controls."""
    overall, masks = mapper.overall(variant).numpy(), mapper.masks(variant).numpy()
    people = len(masks) // 2
    first, other = np.arange(0, len(masks), 2), others(people)
    faces = bench.part(first)
    means = overall.reshape(people, 2, *overall.shape[1:]).mean(axis=1)
    given = [
        ControlInput(
            critical=masks[place],
            overall=overall[place],
            face=bench.on_face[place],
            other=masks[other[one]],
            generator=np.random.default_rng(one),
            chip=bench.chips[place],
            other_chip=bench.chips[other[one]],
            other_picture=masks[place + 1],
            other_picture_chip=bench.chips[place + 1],
            population=(means.sum(axis=0) - means[one]) / (people - 1),
        )
        for one, place in enumerate(first)
    ]
    chosen = {"own": masks[first]} | {
        name: np.stack([choose(one) for one in given]) for name, choose in CONTROLS.items()
    }
    return {
        fill: {name: faces.drops(mask, fill).tolist() for name, mask in chosen.items()}
        for fill in (*FILLS, "blur")
    }


def cost(recognizer: Recognizer, variant: Variant, rounds: int = 3) -> float:
    """Median processor time of all maps of 16 faces on one thread, divided by that of a forward pass."""
    explainer = Explainer(
        recognizer,
        layers=variant.layers,
        weighting=variant.weighting,
        aggregate=variant.aggregate,
    )
    size = (16, *recognizer.card.input_size, 3)
    chips = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    people = np.repeat(np.arange(8), 2).astype(str)
    scalar = targets_of(explainer, chips, people, variant.target)(slice(0, 16))
    forward, maps = [], []
    for _ in range(rounds + 1):
        start = time.process_time()
        recognizer.embed(chips)
        middle = time.process_time()
        explainer.explain(chips, scalar)
        forward.append(middle - start)
        maps.append(time.process_time() - middle)
    return statistics.median(maps[1:]) / statistics.median(forward[1:])


class Work:
    """The work folder: one file of figures for each kind and subject, completed with the variants that it lacks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def rows(self, kind: str, name: str) -> Rows:
        """The stored figures."""
        path = self.folder / f"{kind}-{name}.json"
        found: Rows = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        return found

    def complete(
        self,
        kind: str,
        name: str,
        variants: Sequence[Variant],
        measure: Callable[[list[Variant]], Rows],
    ) -> None:
        """Measure the variants that are not stored yet."""
        rows = self.rows(kind, name)
        missing = [one for one in variants if str(one) not in rows]
        if missing:
            write_whole(self.folder / f"{kind}-{name}.json", rows | measure(missing))
            print(kind, name, len(missing), flush=True)

    def subjects(self, kind: str) -> dict[str, Rows]:
        """The stored figures of a kind, by recognizer or region."""
        names = [path.stem.partition("-")[2] for path in sorted(self.folder.glob(f"{kind}-*.json"))]
        return {name: self.rows(kind, name) for name in names}


Parts = dict[str, Numbers]
"""Figures of the parts of the questions, by person (or by person of a planted region, or by face)."""


def parts_of(work: Work, half: str, variant: Variant) -> Parts:
    """The parts of all questions but cost, as mean over recognizers; higher is better.

    A drop is divided by the mean drop of the default's own mask under the same fill and recognizer, so that units do
    not matter.
    """
    key, base = str(variant), str(DEFAULT)
    real = work.subjects(half)
    parts: Parts = {}

    def drops(fill: str, mask: str, less: str | None = None) -> Numbers:
        rows = []
        for model in real.values():
            own = model[key]["drops"][fill]
            values = np.array(own[mask]) - (np.array(own[less]) if less else 0.0)
            rows.append(values / np.mean(model[base]["drops"][fill]["own"]))
        return np.asarray(np.mean(rows, axis=0))

    beyond = "moved_on_face" if half == NEW else None
    for fill in FILLS:
        parts[f"drop {fill}"] = drops(fill, "own", beyond)
    for fill in JUDGED:
        parts[f"person {fill}"] = drops(fill, "own", "other_person")
        parts[f"person, other picture {fill}"] = drops(fill, "other_picture", "other_person")
    parts["AUC"] = np.mean([model[key]["auc"] for model in real.values()], axis=0)
    parts["pieces"] = -np.mean([model[key]["pieces"] for model in real.values()], axis=0)
    for region, rows in work.subjects("planted").items():
        parts[f"planted {region}"] = np.array(rows[key]["shares"])
    sanity = "newsanity" if half == NEW else "sanity"
    ranks = [rows[key]["rank"] for rows in work.subjects(sanity).values() if key in rows]
    if ranks:
        parts["sanity"] = -np.nanmean(ranks, axis=0)
    return parts


def differences(work: Work, half: str, variant: Variant) -> dict[str, Estimate]:
    """The differences between a variant and the default in each part of the questions; positive is better."""
    ours, base = parts_of(work, half, variant), parts_of(work, half, DEFAULT)
    return {
        name: bootstrap_mean(ours[name] - base[name], np.arange(len(base[name])), 0)
        for name in ours
        if name in base
    }


def better(one: Estimate) -> bool:
    """Whether the interval of a difference is above zero."""
    return one.low is not None and one.low > 0


def worse(one: Estimate) -> bool:
    """Whether the interval of a difference is below zero."""
    return one.high is not None and one.high < 0


def gains(found: dict[str, Estimate]) -> list[str]:
    """The parts of questions 1 and 2 that are better under both judged fills."""
    names = ("drop", "person", "person, other picture")
    return [name for name in names if all(better(found[f"{name} {fill}"]) for fill in JUDGED)]


def passes(found: dict[str, Estimate]) -> bool:
    """Whether a variant would replace the default by the choosing half, apart from its cost."""
    return bool(gains(found)) and not any(map(worse, found.values()))


def pairs_of(variants: Sequence[Variant]) -> list[Variant]:
    """The pairs of single changes, of different choices."""
    return [
        replace(DEFAULT, **first.changes, **second.changes)
        for first, second in combinations(variants, 2)
        if not first.changes.keys() & second.changes.keys()
    ]


@dataclass
class Search:
    """The people and recognizers of a run."""

    work: Work
    models: list[str]
    faces: list[Face]
    people: NDArray[np.str_]

    def bench(self, model: str, half: str) -> Bench:
        """A recognizer with the people of a half."""
        if half == NEW:
            return make_bench(load_recognizer(model), self.faces, self.people)
        middle = len(self.faces) // 4 * 2
        rows = slice(middle) if half == HALVES[0] else slice(middle, None)
        return make_bench(load_recognizer(model), self.faces[rows], self.people[rows])

    def measure(self, variants: Sequence[Variant]) -> None:
        """Measure variants on the planted regions and, on the choosing half, on all recognizers."""
        for region in PLANTED:
            self.work.complete("planted", region, variants, partial(planted_shares, region))
        self.hide(HALVES[0], variants)
        self.randomise("sanity", HALVES[0], variants)

    def randomise(self, kind: str, half: str, variants: Sequence[Variant]) -> None:
        """Measure how far maps depend on the weights."""
        for model in self.models:
            measure = partial(self._sanity, model, half)
            self.work.complete(kind, Path(model).stem, variants, measure)

    def hide(self, half: str, variants: Sequence[Variant]) -> None:
        """Hide pixels, on all recognizers and the people of a half."""
        for model in self.models:
            measure = partial(self._real, model, half)
            self.work.complete(half, Path(model).stem, variants, measure)

    def _real(self, model: str, half: str, variants: Sequence[Variant]) -> Rows:
        return judge_real(self.bench(model, half), variants)

    def _sanity(self, model: str, half: str, variants: Sequence[Variant]) -> Rows:
        return judge_sanity(self.bench(model, half), variants)

    def controls(self, variants: Sequence[Variant]) -> None:
        """Compare variants with all controls on the reported half, and edge maps in every question."""
        for model in self.models:
            bench, name = self.bench(model, HALVES[1]), Path(model).stem
            measure = partial(against_controls, bench)
            self.work.complete("controls", name, variants, measure)
            if not self.work.rows("edges", name):
                write_whole(self.work.folder / f"edges-{name}.json", edge_figures(bench))

    def cost(self, timed: str, variants: Sequence[Variant]) -> None:
        """Time variants on one recognizer."""
        recognizer = load_recognizer(timed)
        known = [one for one in variants if one.aggregate in AGGREGATES]
        self.work.complete(
            "cost",
            recognizer.name,
            known,
            lambda missing: {str(one): {"ratio": cost(recognizer, one)} for one in missing},
        )


def row_of(work: Work, variant: Variant) -> dict[str, Any]:
    """The differences between a variant and the default on both halves, and whether it replaces the default."""
    halves = {
        half: differences(work, half, variant)
        for half in HALVES
        if all(str(variant) in rows for rows in work.subjects(half).values())
    }
    chosen = halves[HALVES[0]]
    return {
        "variant": str(variant),
        "changes": variant.changes,
        **{
            half: {name: one.as_dict() for name, one in found.items()}
            for half, found in halves.items()
        },
        "values": {
            name: float(np.nanmean(values))
            for name, values in parts_of(work, HALVES[0], variant).items()
        },
        "cost": [
            rows[str(variant)]["ratio"]
            for rows in work.subjects("cost").values()
            if str(variant) in rows
        ],
        "gains": gains(chosen),
        "worse": [name for name, one in chosen.items() if worse(one)],
        "passes": passes(chosen),
    }


def beaten(work: Work, variant: Variant) -> list[dict[str, Any]]:
    """A variant against each control and fill, on the reported half.

    ``drop`` is the control's mean drop over recognizers, relative to that of the variant's own mask. ``beaten`` is the
    number of recognizers on which the own mask drops more, and ``clearly`` of those where the interval of the
    difference is above zero.
    """
    models, key = work.subjects("controls"), str(variant)
    known = next(iter(models.values()))[key]["drops"]
    rows = []
    for fill, control in product(known, [name for name in known["black"] if name != "own"]):
        ours = [np.array(one[key]["drops"][fill]["own"]) for one in models.values()]
        theirs = [np.array(one[key]["drops"][fill][control]) for one in models.values()]
        margins = [
            bootstrap_mean(own - other, np.arange(len(own)), 0)
            for own, other in zip(ours, theirs, strict=True)
        ]
        rows.append(
            {
                "fill": fill,
                "control": control,
                "drop": float(
                    np.mean([np.mean(b) / np.mean(a) for a, b in zip(ours, theirs, strict=True)])
                ),
                "recognizers": len(models),
                "beaten": sum((one.mean or 0) > 0 for one in margins),
                "clearly": sum(map(better, margins)),
            }
        )
    return rows


def edge_row(rows: Rows) -> dict[str, float]:
    """The figures of edge maps on one recognizer's chips that do not depend on the recognizer."""
    edges = rows["edges"]
    return {name: float(np.mean(edges[name])) for name in ("auc", "pieces")}


def table(found: dict[str, Any]) -> str:
    """Markdown table: the default's figures, and the differences of the other variants from them."""
    parts = list(found["variants"][0]["values"])
    lines = [
        f"| variant | {' | '.join(parts)} | cost | replaces the default |",
        "|---" * (len(parts) + 3) + "|",
    ]
    for row in found["variants"]:
        name = ", ".join(f"{one} {value}" for one, value in row["changes"].items()) or "**default**"
        cells = [
            difference(row[HALVES[0]][part]) if row["changes"] else f"{row['values'][part]:.3f}"
            for part in parts
        ]
        cells.append(", ".join(f"{ratio:.2f}" for ratio in row["cost"]) or "–")
        verdict = "–" if not row["changes"] else "yes" if row["replaces"] else "no"
        lines.append(f"| {name} | {' | '.join(cells)} | {verdict} |")
    return "\n".join(lines)


def difference(found: dict[str, Any]) -> str:
    """Format a difference; bold if its interval excludes zero."""
    text = f"{found['mean']:+.3f}".replace("-", "\N{MINUS SIGN}")
    return f"**{text}**" if found["low"] > 0 or found["high"] < 0 else text


def control_table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown table with one row per control and one column per fill."""
    fills = list(dict.fromkeys(row["fill"] for row in rows))
    lines = [f"| control | {' | '.join(fills)} |", "|---" * (len(fills) + 1) + "|"]
    for control in dict.fromkeys(row["control"] for row in rows):
        cells = [
            f"{row['drop']:.2f}; {row['beaten']} ({row['clearly']})"
            for row in rows
            if row["control"] == control
        ]
        lines.append(f"| {control} | {' | '.join(cells)} |")
    return "\n".join(lines)


def read_options() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("faces", type=Path)
    parser.add_argument("--models", required=True)
    parser.add_argument("--people", type=int, default=48, help="in both halves together")
    parser.add_argument("--confirm", action="store_true", help="only apply the second rule")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--timed", default="dlib_resnet", help="recognizer that is timed")
    parser.add_argument("--work", type=Path, required=True, help="folder for partial results")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--page", type=Path, help="Markdown page to insert the tables into")
    return parser.parse_args()


def run(search: Search, timed: str) -> list[Variant]:
    """Measure everything that the rule needs; returns the variants."""
    first = [DEFAULT, *SINGLE, *EARLIER, CHOSEN]
    search.measure(first)
    good = [one for one in SINGLE if passes(differences(search.work, HALVES[0], one))]
    pairs = pairs_of(good)
    search.measure(pairs)
    variants = [*first, *pairs]
    search.hide(HALVES[1], [DEFAULT, *REMEDIES, CHOSEN, *nominees(search.work, variants)])
    search.controls([DEFAULT, CHOSEN])
    search.cost(timed, variants)
    return variants


def confirm(search: Search) -> list[dict[str, Any]]:
    """The second rule: the candidates against the default, on new people."""
    search.hide(NEW, [DEFAULT, *CANDIDATES])
    search.randomise("newsanity", NEW, [DEFAULT, *CANDIDATES])
    base, rows = parts_of(search.work, NEW, DEFAULT), []
    for variant in CANDIDATES:
        ours = parts_of(search.work, NEW, variant)
        found = differences(search.work, NEW, variant)
        flips = np.array([sign_flip_p(ours[name] - base[name], 0) for name in found])
        p_values = dict(zip(found, benjamini_hochberg(flips).tolist(), strict=True))
        rows.append(
            {
                "variant": str(variant),
                "changes": variant.changes,
                "parts": {
                    name: {**one.as_dict(), "p": p_values[name]} for name, one in found.items()
                },
                "values": {name: float(np.nanmean(values)) for name, values in ours.items()},
                "default": {name: float(np.nanmean(values)) for name, values in base.items()},
            }
        )
    return rows


def confirmation_table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown table: one row per part, one column per candidate."""
    names = [", ".join(f"{one} {value}" for one, value in row["changes"].items()) for row in rows]
    lines = [f"| part | default | {' | '.join(names)} |", "|---" * (len(rows) + 2) + "|"]
    for part, value in rows[0]["default"].items():
        cells = [
            f"{one['mean']:+.3f} ({one['low']:+.3f} to {one['high']:+.3f}), p = {one['p']:.3f}"
            for one in (row["parts"][part] for row in rows)
        ]
        lines.append(f"| {part} | {value:.3f} | {' | '.join(cells)} |")
    return "\n".join(lines).replace("-0", "\N{MINUS SIGN}0")


def nominees(work: Work, variants: Sequence[Variant]) -> list[Variant]:
    """The variants that the choosing half would accept."""
    return [one for one in variants if one.changes and passes(differences(work, HALVES[0], one))]


def main() -> None:
    """Run from the command line."""
    options = read_options()
    torch.set_num_threads(1)  # processor time equals wall time only with one thread
    after = RANGE if options.confirm else 0
    faces, people = find_faces(
        options.faces, options.people, 2, options.seed, after=after, first=after + RANGE
    )
    search = Search(Work(options.work), options.models.split(","), faces, people)
    if options.confirm:
        rows = confirm(search)
        write_whole(options.out, {"people": len(faces) // 2, "variants": rows})
        show(confirmation_table(rows), options.page, "confirmation")
        return
    rows = [row_of(search.work, one) for one in run(search, options.timed)]
    for row in rows:
        row["replaces"] = replaces(row, rows[0]["cost"])
    found = {
        "seed": options.seed,
        "people": {half: len(faces) // 4 for half in HALVES},
        "recognizers": [Path(name).stem for name in search.models],
        "variants": rows,
        "controls": {str(one): beaten(search.work, one) for one in (DEFAULT, CHOSEN)},
        "edges": {name: edge_row(rows) for name, rows in search.work.subjects("edges").items()},
    }
    write_whole(options.out, found)
    show(table(found), options.page, "variants")
    show(control_table(found["controls"][str(CHOSEN)]), options.page, "variant controls")


def replaces(row: dict[str, Any], default_cost: Sequence[float]) -> bool:
    """Whether a variant replaces the default: it passes, costs no more, and holds on the reported half."""
    if not row["passes"] or HALVES[1] not in row:
        return False
    if row["cost"] and row["cost"][0] > DEARER * default_cost[0]:
        return False
    reported = row[HALVES[1]]
    kept = [f"{name} {fill}" for name in row["gains"] for fill in JUDGED]
    return all(reported[name]["mean"] > 0 for name in kept) and not any(
        one["high"] < 0 for one in reported.values()
    )


if __name__ == "__main__":
    main()

r"""Evaluate targets, layers, weightings, aggregates, smoothing and masks on recognizers and planted truth.

    python benchmarks/variants.py FACES --models dlib_resnet,examples/cards/mobileface_v2.toml \
        --work variants.work --out benchmarks/variants.json --page docs/method.md

The default is compared with each single change of it, with the pairs of single changes that pass, and
with a few other variants, by the rule in docs/method.md. Half of the people choose; the other half is
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
from itertools import combinations, groupby, product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench import Bench, LayerMaps, find_faces, layer_maps, make_bench, targets_of, write_whole
from markdown import show
from numpy.typing import NDArray
from torch import Tensor

from leam.explain.aggregates import AGGREGATES, distribution, smooth
from leam.explain.explainer import Explainer
from leam.explain.layers import CONVOLUTIONS, STAGES
from leam.explain.masks import compact_mask, critical_mask
from leam.explain.targets import reference_target, self_target
from leam.faces.face import Face
from leam.metrics.controls import CONTROLS, ControlInput
from leam.metrics.controls.edges import edge_map
from leam.metrics.occlusion import pieces
from leam.metrics.overlap import bhattacharyya
from leam.metrics.robustness import cascade
from leam.metrics.specificity import specificity
from leam.metrics.statistics import Estimate, Numbers, bootstrap_mean
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
HALVES = ("chosen", "reported")
SANITY_FACES = 20
PLANTED = ("left_eye", "mouth")
PLANTED_PEOPLE, PLANTED_STEPS = 20, 600
DEARER = 1.1
"""A variant that costs more than this factor times the default is worse."""

MASKS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "pixels": critical_mask,
    "compact": compact_mask,
}
SMOOTHINGS: dict[str, Callable[[list[Tensor]], list[Tensor]]] = {
    "none": lambda layers: layers,
    "binomial": lambda layers: [smooth(one) for one in layers],
}


@dataclass(frozen=True, order=True)
class Variant:
    """A way to make critical masks; the fields' defaults are those of LEAM."""

    target: str = "self"
    layers: str = CONVOLUTIONS
    weighting: str = "positive"
    aggregate: str = "sizes"
    smoothing: str = "binomial"
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
        "aggregate": ("mean", "max", "late", "last", "product"),
        "smoothing": ("none",),
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

Row = dict[str, Any]
Rows = dict[str, Row]
"""Figures by variant."""


class Mapper:
    """The masks of all variants of one target and choice of layers, for some faces."""

    def __init__(
        self,
        recognizer: Recognizer,
        chips: NDArray[np.uint8],
        targets: Callable[[Explainer], Any],
        layers: str,
    ) -> None:
        explainer = Explainer(recognizer, layers=layers, backend="plain")
        self._size = recognizer.card.input_size
        self._maps: LayerMaps = layer_maps(explainer, chips, targets(explainer))

    def overall(self, variant: Variant) -> Tensor:
        """The overall maps ``(n, h, w)``."""
        layers = SMOOTHINGS[variant.smoothing](self._maps[variant.weighting])
        return distribution(AGGREGATES[variant.aggregate](layers, self._size))

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
    found = specificity(bhattacharyya(masks, masks).double().numpy(), person)
    areas = []
    for one in range(int(found.same_person.max()) + 1):
        own = found.same[found.same_person == one][:, None]
        foreign = found.different[(found.different_people == one).any(axis=1)]
        areas.append(float(((own > foreign) + 0.5 * (own == foreign)).mean()))
    return areas


def others(people: int) -> NDArray[np.int64]:
    """The picture of another person for each person, of faces sorted by person with two pictures each."""
    return 2 * np.roll(np.arange(people), people // 2)


def judge(bench: Bench, masks: Tensor) -> Row:
    """Figures of one variant's critical masks ``(n, h, w)``, by person; the first picture is hidden."""
    first = np.arange(0, len(masks), 2)
    faces, values = bench.part(first), masks.numpy()
    hidden = {
        "own": values[first],
        "other_picture": values[first + 1],
        "other_person": values[others(len(first))],
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
        "largest": float(np.mean([size for _, size in counts]) / values[0].sum()),
        "nose": float(nose.mean()),
    }


def judge_real(bench: Bench, variants: Sequence[Variant]) -> Rows:
    """Figures of variants on one recognizer."""
    rows = {}
    for (target, layers), group in by_maps(variants):
        mapper = Mapper(
            bench.recognizer,
            bench.chips,
            lambda one, target=target: targets_of(one, bench.chips, bench.people, target),
            layers,
        )
        rows |= {str(one): judge(bench, mapper.masks(one)) for one in group}
    return rows


def judge_planted(planted: Planted, variants: Sequence[Variant]) -> Rows:
    """Share of the critical mask in the planted region, by face."""
    recognizer, faces = planted.recognizer, planted.faces
    kind = recognizer.card.similarity

    def targets(explainer: Explainer, target: str) -> Any:
        if target == "self":
            return lambda _: self_target
        if target == "template":
            return lambda part: reference_target(planted.mates[part], kind)
        return targets_of(explainer, faces.chips, faces.person.astype(str), target)

    rows = {}
    for (target, layers), group in by_maps(variants):
        mapper = Mapper(
            recognizer, faces.chips, lambda one, target=target: targets(one, target), layers
        )
        for variant in group:
            shares = region_shares(mapper.masks(variant), torch.from_numpy(faces.region), 2)[:, 1]
            rows[str(variant)] = {"shares": shares.reshape(-1, IMAGES).mean(dim=1).tolist()}
    return rows


def judge_sanity(bench: Bench, variants: Sequence[Variant]) -> Rows:
    """Rank correlation between the maps before and after all weights are randomised, by face."""
    chips, people = bench.chips[:SANITY_FACES], bench.people[:SANITY_FACES]
    rows = {}
    for (target, layers), group in by_maps(variants):

        def explain(target: str = target, layers: str = layers, group: Any = group) -> Tensor:
            mapper = Mapper(
                bench.recognizer,
                chips,
                lambda one: targets_of(one, chips, people, target),
                layers,
            )
            return torch.cat([mapper.overall(one) for one in group])

        (after,) = cascade(
            bench.recognizer.module, explain, bench.recognizer.preprocess(chips), seed=0, steps=1
        )
        ranks = after.rank.reshape(len(group), len(chips))
        rows |= {str(one): {"rank": row.tolist()} for one, row in zip(group, ranks, strict=True)}
    return rows


def edge_figures(bench: Bench) -> Rows:
    """The control of overlaps: the figures of edge maps, without a network."""
    maps = torch.from_numpy(np.stack([edge_map(chip) for chip in bench.chips]))
    return {"edges": judge(bench, critical_mask(maps, TOP))}


def against_controls(bench: Bench, variants: Sequence[Variant]) -> Rows:
    """Drops by person for the masks of some variants and for each of their controls."""
    rows = {}
    for (target, layers), group in by_maps(variants):
        mapper = Mapper(
            bench.recognizer,
            bench.chips,
            lambda one, target=target: targets_of(one, bench.chips, bench.people, target),
            layers,
        )
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


def cost(recognizer: Recognizer, variant: Variant, rounds: int = 5) -> float:
    """Median processor time of all maps of 16 faces on one thread, divided by that of a forward pass."""
    explainer = Explainer(
        recognizer,
        layers=variant.layers,
        weighting=variant.weighting,
        aggregate=variant.aggregate,
        smooth=variant.smoothing == "binomial",
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

    for fill in FILLS:
        parts[f"drop {fill}"] = drops(fill, "own")
    for fill in JUDGED:
        parts[f"person {fill}"] = drops(fill, "own", "other_person")
        parts[f"person, other picture {fill}"] = drops(fill, "other_picture", "other_person")
    parts["AUC"] = np.mean([model[key]["auc"] for model in real.values()], axis=0)
    parts["pieces"] = -np.mean([model[key]["pieces"] for model in real.values()], axis=0)
    for region, rows in work.subjects("planted").items():
        parts[f"planted {region}"] = np.array(rows[key]["shares"])
    ranks = [rows[key]["rank"] for rows in work.subjects("sanity").values() if key in rows]
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
        middle = len(self.faces) // 4 * 2
        rows = slice(middle) if half == HALVES[0] else slice(middle, None)
        return make_bench(load_recognizer(model), self.faces[rows], self.people[rows])

    def measure(self, variants: Sequence[Variant]) -> None:
        """Measure variants on the planted regions and on all recognizers, on the choosing half."""
        for region in PLANTED:
            self.work.complete(
                "planted",
                region,
                variants,
                lambda missing, region=region: judge_planted(
                    plant(region, people=PLANTED_PEOPLE, steps=PLANTED_STEPS), missing
                ),
            )
        self.hide(HALVES[0], variants)

    def hide(self, half: str, variants: Sequence[Variant]) -> None:
        """Measure variants on all recognizers and the people of a half."""
        for model in self.models:
            name = Path(model).stem
            self.work.complete(
                half,
                name,
                variants,
                lambda missing, model=model: judge_real(self.bench(model, half), missing),
            )

    def sanity(self, variants: Sequence[Variant]) -> None:
        """Measure how far maps depend on the weights."""
        for model in self.models:
            self.work.complete(
                "sanity",
                Path(model).stem,
                variants,
                lambda missing, model=model: judge_sanity(self.bench(model, HALVES[0]), missing),
            )

    def controls(self, variants: Sequence[Variant]) -> None:
        """Compare variants with all controls, on the reported half."""
        for model, (kind, measure) in product(
            self.models, {"controls": against_controls, "edges": None}.items()
        ):
            bench = self.bench(model, HALVES[1])
            self.work.complete(
                kind,
                Path(model).stem,
                variants,
                lambda missing, bench=bench, measure=measure: (
                    measure(bench, missing) if measure else edge_figures(bench)
                ),
            )

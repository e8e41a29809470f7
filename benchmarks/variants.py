r"""Evaluate targets, layers, weightings and aggregates on real recognizers and on planted truth.

    python benchmarks/variants.py FACES --models dlib_resnet,examples/cards/mobileface_v2.toml \
        --work variants.work --out benchmarks/variants.json --page docs/method.md

The figures for each recognizer and variant (target, layers, weighting, aggregate, and choice of the
critical 1 %) are: the similarity drop when the critical pixels are blackened; the ROC AUC of the
overlap of critical masks, same person against different people; the nose's share; the rank
correlation between maps before and after all weights are randomised; and, on drawn faces, the
fraction of the mask in the planted region. The best variants, and some well-known ones, are then
compared with each control of their masks, and timed. Results are kept by recognizer and target in
the work folder, so that the command can be resumed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench import Bench, LayerMaps, find_faces, layer_maps, make_bench, targets_of, write_whole
from markdown import show
from numpy.typing import NDArray
from torch import Tensor

from leam.explain.aggregates import AGGREGATES, distribution
from leam.explain.explainer import Explainer
from leam.explain.layers import STAGES
from leam.explain.masks import compact_mask, critical_mask
from leam.explain.targets import reference_target, self_target
from leam.faces.face import Face
from leam.metrics.controls import CONTROLS, ControlInput
from leam.metrics.overlap import bhattacharyya
from leam.metrics.robustness import cascade
from leam.metrics.specificity import specificity
from leam.metrics.statistics import Numbers, bootstrap_mean, person_means
from leam.parsers.regions import REGIONS
from leam.parsers.shares import region_shares
from leam.planted import plant, planted_share
from leam.recognizers.catalogue import load_recognizer
from leam.recognizers.recognizer import Recognizer

TOP = 0.01
# Number of faces whose maps are compared before and after all weights are randomised.
SANITY_FACES = 10
PLANTED = ("left_eye", "mouth")
PLANTED_PEOPLE, PLANTED_STEPS = 20, 600
ROWS = 20

MASKS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "pixels": critical_mask,
    "compact": compact_mask,
}

Key = tuple[str, str, str, str, str]
"""Target, layers, weighting, aggregate, mask."""

DEFAULT: Key = ("self", "convolutions", "positive", "sizes", "pixels")
CLASSICS: tuple[Key, ...] = (
    DEFAULT,
    ("template", "convolutions", "positive", "sizes", "pixels"),
    ("self", "convolutions", "signed", "mean", "pixels"),
    ("self", "convolutions", "channel_mean", "mean", "pixels"),
    ("self", "convolutions", "channel_mean", "last", "pixels"),
    ("self", "convolutions", "signed", "last", "pixels"),
    ("self", "convolutions", "positive", "last", "pixels"),
)
"""Variants that are always in the table: the default, the first prototype, and last layers."""

Found = dict[Key, dict[str, Any]]


def overall_maps(
    explainer: Explainer, layers: LayerMaps, aggregates: Sequence[str] = tuple(AGGREGATES)
) -> Iterator[tuple[tuple[str, str, str], Tensor]]:
    """Overall maps ``(n, h, w)`` of all variants of one target."""
    stages = {layer.name for layer in Explainer(explainer.recognizer, layers=STAGES).layers}
    late = [index for index, layer in enumerate(explainer.layers) if layer.name in stages]
    choices = {"convolutions": list(range(len(explainer.layers))), "stages": late}
    for weighting, maps in layers.items():
        for choice, indices in choices.items():
            for aggregate in aggregates:
                # Stages have one layer per size: ``sizes`` equals ``mean``, and ``last`` is that of all layers.
                if choice == "stages" and aggregate in {"sizes", "last"}:
                    continue
                size = explainer.recognizer.card.input_size
                yield (
                    (choice, weighting, aggregate),
                    distribution(AGGREGATES[aggregate]([maps[i] for i in indices], size)),
                )


def judge(bench: Bench, masks: Tensor) -> dict[str, Any]:
    """Figures of one variant's critical masks ``(n, h, w)``; ``drop`` and ``auc`` are by person."""
    people = int(bench.person.max()) + 1
    found = specificity(bhattacharyya(masks, masks).double().numpy(), bench.person)
    nose = region_shares(masks, bench.regions, len(REGIONS))[:, REGIONS.index("nose")]
    drops = bench.drops(masks.numpy())
    return {
        "drop": person_means(drops, bench.person, people).tolist(),
        "auc": own_auc(found.same, found.same_person, found.different, found.different_people),
        "same": float(found.same.mean()),
        "different": float(found.different.mean()),
        "nose": float(nose.mean()),
    }


def own_auc(
    same: Numbers, same_person: NDArray[np.int64], different: Numbers, others: NDArray[np.int64]
) -> list[float]:
    """For each person, the probability that a genuine pair overlaps more than an impostor pair.

    Its mean over people is an AUC whose interval comes from resampling people.
    """
    areas = []
    for person in range(int(same_person.max()) + 1):
        own = same[same_person == person][:, None]
        foreign = different[(others == person).any(axis=1)]
        areas.append(float(((own > foreign) + 0.5 * (own == foreign)).mean()))
    return areas


def sanity(
    bench: Bench, explainer: Explainer, target: str, aggregates: Sequence[str]
) -> list[float]:
    """Rank correlation between the maps before and after all weights are randomised, for all variants."""
    chips, people = bench.chips[:SANITY_FACES], bench.people[:SANITY_FACES]

    def explain() -> Tensor:
        targets = targets_of(explainer, chips, people, target)
        maps = layer_maps(explainer, chips, targets)
        return torch.cat([overall for _, overall in overall_maps(explainer, maps, aggregates)])

    (after,) = cascade(bench.recognizer.module, explain, seed=0, steps=1)
    ranks = after.rank.reshape(-1, len(chips))
    return [float(np.nanmean(row)) if np.isfinite(row).any() else 0.0 for row in ranks]


def judge_real(bench: Bench, target: str, aggregates: Sequence[str]) -> list[dict[str, Any]]:
    """Figures of all variants of a target on one recognizer."""
    explainer = Explainer(bench.recognizer)
    ranks = sanity(bench, explainer, target, aggregates)
    targets = targets_of(explainer, bench.chips, bench.people, target)
    maps = layer_maps(explainer, bench.chips, targets)
    variants = overall_maps(explainer, maps, aggregates)
    return [
        {"variant": [target, *key, mask], **judge(bench, choose(overall, TOP)), "sanity": rank}
        for (key, overall), rank in zip(variants, ranks, strict=True)
        for mask, choose in MASKS.items()
    ]


def judge_planted(region: str, target: str) -> list[dict[str, Any]]:
    """Share of the critical mask in the planted region, for all variants."""
    planted = plant(region, people=PLANTED_PEOPLE, steps=PLANTED_STEPS)
    recognizer, chips = planted.recognizer, planted.faces.chips
    explainer = Explainer(recognizer)
    if target == "contrast":
        names = planted.faces.person.astype(str)
        targets = targets_of(explainer, chips, names, target)
    else:
        scalar = reference_target
        kind = recognizer.card.similarity
        targets = (
            (lambda _: self_target)
            if target == "self"
            else (lambda part: scalar(planted.mates[part], kind))
        )
    variants = overall_maps(explainer, layer_maps(explainer, chips, targets))
    return [
        {
            "variant": [target, *key, mask],
            "share": planted_share(choose(overall, TOP), planted.faces).mean,
        }
        for key, overall in variants
        for mask, choose in MASKS.items()
    ]


def baselines(bench: Bench, target: str, wanted: list[Key]) -> list[dict[str, Any]]:
    """Drops by person for the critical masks of some variants, and for each of their controls."""
    explainer = Explainer(bench.recognizer)
    targets = targets_of(explainer, bench.chips, bench.people, target)
    people = int(bench.person.max()) + 1
    found = []
    aggregates = [name for name in AGGREGATES if name in {key[3] for key in wanted}]
    maps = layer_maps(explainer, bench.chips, targets)
    for (key, overall), mask in product(overall_maps(explainer, maps, aggregates), MASKS):
        if (target, *key, mask) not in wanted:
            continue
        masks = MASKS[mask](overall, TOP).numpy()
        # Faces are sorted by person, so the face half the list away belongs to another person.
        others = np.roll(masks, 2 * (people // 2), axis=0)
        drops = {"critical": bench.drops(masks)}
        for name, choose in CONTROLS.items():
            generator = np.random.default_rng(0)
            given = [
                ControlInput(*one, generator=generator)
                for one in zip(masks, overall.numpy(), bench.on_face, others, strict=True)
            ]
            drops[name] = bench.drops(np.stack([choose(one) for one in given]))
        means = {name: person_means(one, bench.person, people) for name, one in drops.items()}
        figures = {name: one.tolist() for name, one in means.items()}
        found.append({"variant": [target, *key, mask], "drops": figures})
    return found


def cost(recognizer: Recognizer, key: Key, rounds: int = 5) -> float:
    """Median processor time of all maps of 16 faces on one thread, divided by that of a forward pass."""
    target, layers, weighting, aggregate, _ = key
    explainer = Explainer(recognizer, layers=layers, weighting=weighting, aggregate=aggregate)
    size = (16, *recognizer.card.input_size, 3)
    chips = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    people = np.repeat(np.arange(8), 2).astype(str)
    scalar = targets_of(explainer, chips, people, target)(slice(0, 16))
    forward, maps = [], []
    for _ in range(rounds + 1):
        start = time.process_time()
        recognizer.embed(chips)
        middle = time.process_time()
        explainer.explain(chips, scalar)
        forward.append(middle - start)
        maps.append(time.process_time() - middle)
    return statistics.median(maps[1:]) / statistics.median(forward[1:])


def collect(work: Path, kind: str) -> dict[str, Found]:
    """Results of one kind in the work folder, by recognizer (or region) and variant."""
    found: dict[str, Found] = {}
    for path in sorted(work.glob(f"{kind}-*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        rows = {tuple(row["variant"]): row for row in content["rows"]}
        found.setdefault(content["name"], {}).update(rows)
    return found


def summary(work: Path) -> dict[str, Any]:
    """Figures of all variants over all recognizers.

    The relative drop is the drop divided by the mean drop of the default variant on the same
    recognizer, so that units do not matter. It is averaged over recognizers for each person, as is
    the AUC. Intervals are from resampling people; ``less`` figures are differences from the default.
    """
    real, planted = collect(work, "real"), collect(work, "planted")
    targets = {key[0] for model in real.values() for key in model}
    # A recognizer without results for a target would hide the rows of that target.
    real = {n: model for n, model in real.items() if {key[0] for key in model} == targets}
    common = set.intersection(*(set(model) for model in real.values()))
    everyone = np.arange(len(next(iter(real.values()))[DEFAULT]["drop"]))

    def by_person(key: Key, name: str) -> Numbers:
        rows = [
            np.array(model[key][name])
            / (np.mean(model[DEFAULT]["drop"]) if name == "drop" else 1.0)
            for model in real.values()
        ]
        return np.asarray(np.mean(rows, axis=0))

    def mean(key: Key, name: str) -> float:
        return float(np.mean([model[key][name] for model in real.values()]))

    variants = []
    for key in sorted(common):
        row: dict[str, Any] = {"variant": key}
        for name in ("drop", "auc"):
            own = by_person(key, name)
            row[name] = bootstrap_mean(own, everyone, 0).as_dict()
            less = bootstrap_mean(own - by_person(DEFAULT, name), everyone, 0)
            row[f"{name}_less_default"] = less.as_dict()
        row |= {name: mean(key, name) for name in ("same", "different", "nose", "sanity")}
        row["drops"] = {name: float(np.mean(model[key]["drop"])) for name, model in real.items()}
        row["planted"] = {name: shares[key]["share"] for name, shares in planted.items()}
        variants.append(row)
    return {
        "people": len(everyone),
        "recognizers": list(real),
        "variants": sorted(variants, key=lambda row: -rank(row)),
        "baselines": beaten(work),
        "cost": json.loads(path.read_text()) if (path := work / "cost.json").is_file() else {},
    }


def rank(row: dict[str, Any]) -> float:
    """Sort key of the table: relative drop + AUC + planted share - sanity."""
    shares = row["planted"].values()
    planted = sum(shares) / len(shares) if shares else 0.0
    return float(row["drop"]["mean"] + row["auc"]["mean"] + planted - row["sanity"])


def beaten(work: Path) -> list[dict[str, Any]]:
    """For the shortlist and each control, the number of recognizers on which the critical mask drops more.

    ``clearly`` counts those for which the interval of the difference, from resampling people, is above
    zero.
    """
    models = collect(work, "baselines")
    rows = []
    for key in sorted(set().union(*models.values())):
        counts: dict[str, dict[str, int]] = {}
        for name in CONTROLS:
            more = [
                bootstrap_mean(
                    np.array(found[key]["drops"]["critical"]) - np.array(found[key]["drops"][name]),
                    np.arange(len(found[key]["drops"][name])),
                    0,
                )
                for found in models.values()
                if key in found
            ]
            counts[name] = {
                "recognizers": len(more),
                "beaten": sum((one.mean or 0) > 0 for one in more),
                "clearly": sum((one.low or 0) > 0 for one in more),
            }
        rows.append({"variant": key, "counts": counts})
    return rows


def shortlist(found: dict[str, Any]) -> list[Key]:
    """The best variants and the well-known ones."""
    best = [tuple(row["variant"]) for row in found["variants"][:ROWS]]
    known = {tuple(row["variant"]) for row in found["variants"]}
    return [*best, *(key for key in CLASSICS if key in known and key not in best)]


def table(found: dict[str, Any]) -> str:
    """Markdown table of the shortlist."""
    names = list(CONTROLS)
    counts = {tuple(row["variant"]): row["counts"] for row in found["baselines"]}
    rows = {tuple(row["variant"]): row for row in found["variants"]}
    planted = list(next(iter(rows.values()))["planted"])
    heads = ["target", "layers", "weighting", "aggregate", "mask", "relative drop", "AUC", "nose"]
    heads += [f"planted {name}" for name in planted] + ["sanity", "cost", *names]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for key in shortlist(found):
        row = rows[key]
        cells = [*key, ranged(row["drop"], 2), ranged(row["auc"], 3), f"{row['nose']:.2f}"]
        cells += [f"{row['planted'][name]:.2f}" for name in planted] + [f"{row['sanity']:.2f}"]
        costs = [
            ratios["/".join(key)] for ratios in found["cost"].values() if "/".join(key) in ratios
        ]
        cells.append(", ".join(f"{ratio:.1f}" for ratio in costs) or "–")
        for name in names:
            one = counts.get(key, {}).get(name)
            cells.append(f"{one['beaten']} ({one['clearly']})" if one else "–")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def ranged(found: dict[str, Any], digits: int) -> str:
    """Format a mean with its interval."""
    low, mean, high = (f"{found[name]:.{digits}f}" for name in ("low", "mean", "high"))
    return f"{mean} ({low}–{high})"


def read_options() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("faces", type=Path)
    parser.add_argument("--models", required=True)
    parser.add_argument("--targets", default="self,template,contrast")
    parser.add_argument("--aggregates", default=",".join(AGGREGATES))
    parser.add_argument("--people", type=int, default=32)
    parser.add_argument(
        "--compared-people", type=int, default=32, help="people for the comparison with controls"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cost", default="dlib_resnet", help="recognizers that are timed")
    parser.add_argument("--judge-only", action="store_true", help="stop before the shortlist")
    parser.add_argument("--work", type=Path, required=True, help="folder for partial results")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--page", type=Path, help="Markdown page to insert the table into")
    return parser.parse_args()


def keep(path: Path, name: str, rows: list[dict[str, Any]]) -> None:
    """Write a file of the work folder."""
    write_whole(path, {"name": name, "rows": rows})
    print(path.name, flush=True)


def judge_all(options: argparse.Namespace, faces: list[Face], people: NDArray[np.str_]) -> None:
    """Evaluate all targets on planted regions and recognizers, unless already done."""
    targets = options.targets.split(",")
    for target, region in product(targets, PLANTED):
        path = options.work / f"planted-{region}-{target}.json"
        if not path.is_file():
            keep(path, region, judge_planted(region, target))
    for name, target in product(options.models.split(","), targets):
        path = options.work / f"real-{Path(name).stem}-{target}.json"
        if not path.is_file():
            bench = make_bench(load_recognizer(name), faces, people)
            keep(
                path,
                bench.recognizer.name,
                judge_real(bench, target, options.aggregates.split(",")),
            )


def compare_all(
    options: argparse.Namespace, faces: list[Face], people: NDArray[np.str_], chosen: list[Key]
) -> None:
    """Compare the shortlist with its controls, and time it, unless already done."""
    for name, target in product(options.models.split(","), options.targets.split(",")):
        path = options.work / f"baselines-{Path(name).stem}-{target}.json"
        if not path.is_file():
            some = 2 * options.compared_people
            bench = make_bench(load_recognizer(name), faces[:some], people[:some])
            keep(path, bench.recognizer.name, baselines(bench, target, chosen))
    if not (options.work / "cost.json").is_file():
        timed = [load_recognizer(name) for name in options.cost.split(",")]
        ratios = {one.name: {"/".join(key): cost(one, key) for key in chosen} for one in timed}
        write_whole(options.work / "cost.json", ratios)


def main() -> None:
    """Run from the command line."""
    options = read_options()
    torch.set_num_threads(1)  # processor time equals wall time only with one thread
    faces, people = find_faces(options.faces, options.people, 2, options.seed)
    judge_all(options, faces, people)
    if options.judge_only:
        return
    compare_all(options, faces, people, shortlist(summary(options.work)))
    found = {"seed": options.seed, "images": len(faces), **summary(options.work)}
    write_whole(options.out, found)
    show(table(found), options.page, "variants")


if __name__ == "__main__":
    main()

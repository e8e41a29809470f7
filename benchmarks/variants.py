r"""Judge targets, weightings, aggregates and layer choices on real recognizers: which maps are right, and whose own.

    python benchmarks/variants.py FACES --models dlib_resnet,examples/cards/mobileface_v2.toml \
        --out benchmarks/variants.json --page docs/method.md

For each recognizer and variant: the drop when the critical 1 % is blackened, the ROC AUC of the overlap of critical
masks of one person against different people, that overlap itself, and the nose's share. Baselines stand beside them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from markdown import write_between
from numpy.typing import NDArray
from torch import Tensor

from leam.errors import InputError
from leam.faces import DlibDetector, Face, find_face
from leam.faces.people import draw_people, read_people
from leam.mapping import AGGREGATES, WEIGHTINGS, Explainer, reference_target, self_target
from leam.mapping.aggregate import distribution
from leam.mapping.layers import STAGES
from leam.measures import bhattacharyya, critical_mask, drop, occlude, region_shares
from leam.measures.baselines import BASELINES, Given
from leam.measures.specificity import specificity
from leam.parsers import REGIONS, load_parser
from leam.recognizers import Recognizer, load_recognizer
from leam.study.targeting import mates

TOP = 0.01
BATCH = 20


@dataclass(frozen=True)
class Bench:
    """One recognizer's faces and what masks do to them."""

    recognizer: Recognizer
    chips: NDArray[np.uint8]
    people: NDArray[np.str_]
    regions: Tensor
    clean: Tensor
    mate: Tensor

    def mean_drop(self, masks: NDArray[np.bool_]) -> float:
        """Mean drop when each face's mask is blackened."""
        hidden = np.stack(
            [occlude(chip, mask) for chip, mask in zip(self.chips, masks, strict=True)]
        )
        drops = drop(
            self.clean, self.recognizer.embed(hidden), self.mate, self.recognizer.card.similarity
        )
        return float(drops.mean())


def judge(bench: Bench, overall: Tensor) -> dict[str, float]:
    """The figures of one variant's overall maps ``(n, h, w)``."""
    masks = critical_mask(overall, TOP)
    overlaps = bhattacharyya(masks, masks).numpy().astype(np.float64)
    person = np.unique(bench.people, return_inverse=True)[1]
    found = specificity(overlaps, person)
    nose = region_shares(masks, bench.regions, len(REGIONS))[:, REGIONS.index("nose")]
    return {
        "drop": bench.mean_drop(masks.numpy()),
        "auc": found.auc_estimate(0).mean or float("nan"),
        "same": found.same_estimate(0).mean or float("nan"),
        "different": found.different_estimate(0).mean or float("nan"),
        "nose": float(nose.mean()),
    }


def layer_maps(bench: Bench, explainer: Explainer, target: str) -> dict[str, list[Tensor]]:
    """For each weighting the layer maps ``(n, h_l, w_l)`` of all faces, from one pass over them."""
    found: dict[str, list[list[Tensor]]] = {name: [] for name in WEIGHTINGS}
    kind = bench.recognizer.card.similarity
    for start in range(0, len(bench.chips), BATCH):
        part = slice(start, start + BATCH)
        scalar = self_target if target == "self" else reference_target(bench.mate[part], kind)
        activations, gradients, _, _ = explainer.differentiate(bench.chips[part], scalar)
        for name, weigh in WEIGHTINGS.items():
            found[name].append(
                [distribution(weigh(a, g)) for a, g in zip(activations, gradients, strict=True)]
            )
    return {
        name: [torch.cat(layer) for layer in zip(*batches, strict=True)]
        for name, batches in found.items()
    }


def variants(bench: Bench) -> Iterator[dict[str, Any]]:
    """Every variant's figures."""
    explainer = Explainer(bench.recognizer)
    stages = {layer.name for layer in Explainer(bench.recognizer, layers=STAGES).layers}
    late = [index for index, layer in enumerate(explainer.layers) if layer.name in stages]
    choices = {"convolutions": range(len(explainer.layers)), "stages": late}
    for target in ("self", "template"):
        for weighting, layers in layer_maps(bench, explainer, target).items():
            for choice, indices in choices.items():
                for aggregate, join in AGGREGATES.items():
                    if choice == "stages" and aggregate == "last":
                        continue
                    overall = distribution(
                        join([layers[i] for i in indices], bench.recognizer.card.input_size)
                    )
                    names = {
                        "target": target,
                        "layers": choice,
                        "weighting": weighting,
                        "aggregate": aggregate,
                    }
                    yield {**names, **judge(bench, overall)}


def baselines(bench: Bench, names: tuple[str, ...]) -> dict[str, float]:
    """Drops of the masks that no map chose, against the default variant's masks."""
    explainer = Explainer(bench.recognizer)
    parts = [
        explainer.explain(bench.chips[i : i + BATCH]).overall
        for i in range(0, len(bench.chips), BATCH)
    ]
    overall = torch.cat(parts)
    masks = critical_mask(overall, TOP).numpy()
    figures = {}
    face = (bench.regions != REGIONS.index("background")).numpy()
    others = np.roll(masks, 2, axis=0)  # two images a person, side by side
    for name in names:
        generator = np.random.default_rng(0)
        given = [
            Given(*one, generator=generator)
            for one in zip(masks, overall.numpy(), face, others, strict=True)
        ]
        figures[name] = bench.mean_drop(np.stack([BASELINES[name](one) for one in given]))
    return figures


def table(results: dict[str, Any], rows: int = 20) -> str:
    """The best variants over all recognizers as Markdown.

    The relative drop is a variant's drop over the best variant's on the same recognizer, averaged over recognizers;
    the last column counts recognizers on which it beats every baseline that no map of any face chose.
    """
    models = results["models"].values()
    found: dict[tuple[str, ...], list[tuple[float, float, float, bool]]] = {}
    for model in models:
        best = max(row["drop"] for row in model["variants"])
        bar = max(value for name, value in model["baselines"].items() if name != "other_person")
        for row in model["variants"]:
            key = tuple(row[name] for name in ("target", "layers", "weighting", "aggregate"))
            figures = (row["drop"] / best, row["auc"], row["nose"], row["drop"] > bar)
            found.setdefault(key, []).append(figures)
    lines = [
        "| target | layers | weighting | aggregate | relative drop | AUC | nose | beats baselines |",
        "|---|---|---|---|---|---|---|---|",
    ]
    means = {key: np.mean(np.array(value, dtype=float), axis=0) for key, value in found.items()}
    ranked = sorted(means, key=lambda key: -(means[key][0] + means[key][1]))
    grad_cam = ("self", "convolutions", "channel_mean", "last")
    for key in [*ranked[:rows], *(() if grad_cam in ranked[:rows] else (grad_cam,))]:
        relative, auc, nose, beats = means[key]
        wins = f"{round(beats * len(models))} of {len(models)}"
        lines.append(f"| {' | '.join(key)} | {relative:.3f} | {auc:.3f} | {nose:.3f} | {wins} |")
    return "\n".join(lines)


def make_bench(recognizer: Recognizer, faces: list[Face], people: NDArray[np.str_]) -> Bench:
    """Align, parse and embed the faces for a recognizer."""
    parser = load_parser("landmarks")
    chips = np.stack([recognizer.crop.align(face).image for face in faces])
    regions = np.stack([parser.parse(face, recognizer.crop).regions for face in faces])
    clean = recognizer.embed(chips)
    mate = mates(clean, people, recognizer.card.similarity)
    return Bench(recognizer, chips, people, torch.from_numpy(regions), clean, mate)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("faces", type=Path)
    parser.add_argument("--models", required=True)
    parser.add_argument("--people", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--page", type=Path, help="a Markdown page that takes the table")
    arguments = parser.parse_args()
    detector = DlibDetector()
    faces, people = [], []
    for sample in draw_people(read_people(arguments.faces), arguments.people, 2, arguments.seed):
        try:
            faces.append(find_face(sample.path, detector))
            people.append(sample.person)
        except InputError as error:
            print(error, file=sys.stderr)
    keep = [i for i, person in enumerate(people) if people.count(person) > 1]
    faces, owners = [faces[i] for i in keep], np.array([people[i] for i in keep])
    judged: dict[str, Any] = {}
    if arguments.out.is_file():  # go on where an earlier run of the same faces stopped
        judged = json.loads(arguments.out.read_text())["models"]
    results: dict[str, Any] = {
        "people": len(set(owners.tolist())),
        "images": len(faces),
        "seed": arguments.seed,
        "models": judged,
    }
    for name in str(arguments.models).split(","):
        recognizer = load_recognizer(name)
        if recognizer.name in judged:
            continue
        bench = make_bench(recognizer, faces, owners)
        judged[recognizer.name] = {
            "baselines": baselines(bench, tuple(BASELINES)),
            "variants": list(variants(bench)),
        }
        arguments.out.write_text(json.dumps(results, indent=1))
        print(recognizer.name, "done", flush=True)
    print(table(results))
    if arguments.page:
        write_between(arguments.page, "variants", table(results))


if __name__ == "__main__":
    main()

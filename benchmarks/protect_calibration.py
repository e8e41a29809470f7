"""Do the figures of `leam protect` forecast what happens to a person's other pictures?

python benchmarks/protect_calibration.py FOLDER      # writes benchmarks/protect_calibration.json

FOLDER keeps the embeddings of each person, so that an interrupted run goes on. LEAM_ASSETS names the folder of
recognizers and faces.

The rules, stated before the measurement. 100 people: those of lfw/many with eight pictures each, and people of
lfw/people with four, drawn at random. Each person's pictures are drawn into two halves. A cell is a person, a change
and a recognizer. The forecast of a cell is the part of the pairs of a changed and an unchanged picture of the first
half that are no longer linked; the outcome is the same part of the second half. Thresholds are set at FMR 1e-3 on
other people. Calibration error: cells are sorted into ten bins of equal width by forecast, and the mean over bins,
weighted by their cells, of |mean forecast - mean outcome| is taken. The aim is below 5 percentage points. Forecasts:

- own: the linked part, as `leam protect` prints it;
- expected: what `leam protect` expects of other pictures, from the similarities of the first half;
- shrunk: drawn towards the mean of the other people for this change and recognizer, by the weight of a beta-binomial
  model fitted to the first halves of the other people (Kleinman, JASA 1973);
- left out: the mean of the own forecasts of the other recognizers, for a recognizer that was not tested; and of the
  strongest of them.

The forecast "expected" was chosen on these 100 people, where "own" had failed. It is confirmed on 100 people who were
not looked at before: people of lfw/people with four pictures.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from leam.errors import LeamError
from leam.explain.methods import Method
from leam.faces.detection import Detector, find_face
from leam.faces.detectors.dlib import DlibDetector
from leam.faces.face import Face
from leam.faces.people import read_people
from leam.faces.protections import PROTECTIONS, ProtectionInput
from leam.metrics.error_rates import Comparisons, fnmr_estimate
from leam.metrics.statistics import Numbers, bootstrap_mean
from leam.protect.changes import areas_of, changed_face
from leam.protect.linking import (
    Links,
    Threshold,
    expected_part,
    links_among,
    links_between,
    population_scores,
    threshold_from,
)
from leam.recognizers.card import Similarity
from leam.recognizers.catalogue import choose, read_catalogue
from leam.recognizers.recognizer import Recognizer
from leam.study.plan import Settings
from leam.study.worker import explainer_of
from leam.version import installed_versions

OUT = Path(__file__).with_suffix(".json")
CARDS = Path(__file__).parents[1] / "examples" / "cards"
FACES = Path(os.environ.get("LEAM_ASSETS", "shared")) / "lfw"
RECOGNIZERS = ("dlib_resnet", "edgeface_xs_q", "mobilefacenet_insightface_y1")
CHANGES = ("none", "sunglasses", "face_mask", "sunglasses_and_mask", "blur", "pixelate", "cover")
PEOPLE, FMR, SEED = 100, 1e-3, 7
# People and pictures of each that set the thresholds: 31,000 impostor pairs, of which 31 are expected to be accepted.
POPULATION, OF_EACH = 125, 2
MANY, FEW = 8, 4
BINS = 10
AIM = 5.0

People = dict[str, list[Path]]


def draw() -> tuple[People, People, People]:
    """The pictures of 100 people, of 100 people who confirm, and of other people, who set thresholds."""
    generator = np.random.default_rng(SEED)
    by_person: dict[str, dict[str, list[Path]]] = {"many": {}, "people": {}}
    for source, people in by_person.items():
        for sample in read_people(FACES / source):
            people.setdefault(sample.person, []).append(sample.path)

    def some(people: People, names: Sequence[str], pictures: int) -> People:
        return {
            name: [people[name][i] for i in generator.permutation(len(people[name]))[:pictures]]
            for name in names
        }

    many, few = by_person["many"], by_person["people"]
    chosen = some(many, sorted(many), MANY)
    rest = [name for name in sorted(few) if name not in many]
    rest = [rest[i] for i in generator.permutation(len(rest))]
    full = [name for name in rest if len(few[name]) >= FEW][: PEOPLE - len(chosen)]
    chosen |= some(few, full, FEW)
    others = [name for name in rest if name not in chosen and len(few[name]) >= OF_EACH]
    population = others[: POPULATION + 10]
    taken = {*chosen, *population}
    fresh = [name for name in rest if name not in taken and len(few[name]) >= FEW][:PEOPLE]
    return chosen, some(few, fresh, FEW), some(few, population, OF_EACH)


def faces_of(paths: Sequence[Path], detector: Detector) -> Iterator[Face]:
    """The faces of usable pictures."""
    for path in paths:
        try:
            yield find_face(path, detector)
        except LeamError as error:
            print(error, flush=True)


def embedded(recognizer: Recognizer, faces: Sequence[Face]) -> NDArray[np.float32]:
    """Embeddings ``(n, D)``."""
    chips = np.stack([recognizer.crop.align(face).image for face in faces])
    found: NDArray[np.float32] = recognizer.embed(chips).numpy()
    return found


def measured(
    faces: Sequence[Face],
    recognizers: Sequence[Recognizer],
    methods: Sequence[Method],
    detector: Detector,
) -> dict[str, NDArray[np.generic]]:
    """Embeddings after each change, by recognizer and change, and the changed pixels and faces found."""
    areas = areas_of(faces, methods)
    found: dict[str, NDArray[np.generic]] = {}
    for name in CHANGES:
        change = PROTECTIONS[name]
        changed = [
            changed_face(face, change(ProtectionInput.of(face, area)), detector)
            for face, area in zip(faces, areas, strict=True)
        ]
        found[f"pixels/{name}"] = np.array([one.pixels for one in changed], dtype=float)
        found[f"found/{name}"] = np.array([one.found for one in changed])
        for recognizer in recognizers:
            some = faces if name == "none" else [one.face for one in changed]
            found[f"{recognizer.name}/{name}"] = embedded(recognizer, some)
    return found


def links_of(
    person: Mapping[str, NDArray[np.float32]],
    name: str,
    change: str,
    threshold: Threshold,
    kind: Similarity,
    rows: slice,
) -> Links:
    """Pairs of some of a person's pictures, with an unchanged one."""
    before = person[f"{name}/none"][rows]
    if change == "none":
        return links_among(before, kind, threshold.value, 0)
    after = person[f"{name}/{change}"][rows]
    links, _ = links_between(before, after, np.arange(len(after)), kind, threshold.value, 0)
    return links


def not_expected(links: Sequence[Links], threshold: float) -> list[float]:
    """The parts that are not expected to be linked after each change, as `leam protect` forms them."""
    variance = float(np.mean([one.variance for one in links if one.variance is not None]))
    parts = [expected_part(one, variance, threshold) for one in links]
    return [1 - part for part in parts if part is not None]


def calibration(forecast: Numbers, outcome: Numbers) -> dict[str, object]:
    """The calibration error in points, and the bins."""
    which = np.minimum((forecast * BINS).astype(int), BINS - 1)
    bins = [
        {
            "cells": int((which == i).sum()),
            "forecast": float(100 * forecast[which == i].mean()),
            "outcome": float(100 * outcome[which == i].mean()),
        }
        for i in range(BINS)
        if (which == i).any()
    ]
    weights = np.array([one["cells"] for one in bins])
    gaps = np.array([abs(one["forecast"] - one["outcome"]) for one in bins])
    return {
        "calibration_error": float((weights * gaps).sum() / weights.sum()),
        "mean_difference": float(100 * (forecast - outcome).mean()),
        "mean_absolute_difference": float(100 * np.abs(forecast - outcome).mean()),
        "cells": len(forecast),
        "bins": bins,
    }


def shrunk(errors: Numbers, pairs: Numbers) -> Numbers:
    """Beta-binomial forecasts of each person from the person's own counts and those of the others; ``(people,)``."""
    found = np.zeros(len(errors))
    for person in range(len(errors)):
        others = np.arange(len(errors)) != person
        rates = errors[others] / pairs[others]
        mean, size = rates.mean(), pairs[others].mean()
        # The variance of rates is m (1 - m) (1 / n + r (1 - 1 / n)), with r the correlation of a person's pairs.
        chance = max(mean * (1 - mean), 1e-9)
        r = np.clip((rates.var(ddof=1) / chance - 1 / size) / (1 - 1 / size), 1e-3, 1 - 1e-3)
        weight = (1 - r) / r
        found[person] = (errors[person] + weight * mean) / (pairs[person] + weight)
    return found


def main() -> None:
    """Embed, then compare forecasts and outcomes."""
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    folder.mkdir(exist_ok=True, parents=True)
    catalogue = read_catalogue(folders=[CARDS])
    recognizers = [entry.load("cpu", trust=True) for entry in choose(catalogue, RECOGNIZERS)]
    detector = DlibDetector()
    methods = [explainer_of(one, Settings()) for one in recognizers]
    mine, fresh, others = draw()

    faces = [(name, face) for name, paths in others.items() for face in faces_of(paths, detector)]
    owners = [name for name, _ in faces]
    thresholds = {
        one.name: threshold_from(
            population_scores(
                embedded(one, [face for _, face in faces]), owners, one.card.similarity, SEED
            ),
            FMR,
            SEED,
        )
        for one in recognizers
    }
    people: dict[str, Mapping[str, NDArray[np.float32]]] = {}
    for name, paths in (mine | fresh).items():
        path = folder / f"{name}.npz"
        if not path.exists():
            some = list(faces_of(paths, detector))
            # Both halves need two pictures.
            if len(some) >= FEW:
                np.savez(path, allow_pickle=False, **measured(some, recognizers, methods, detector))
        if path.exists():
            with np.load(path) as arrays:
                people[name] = dict(arrays)
        print(name, len(people), flush=True)
    kinds = {one.name: one.card.similarity for one in recognizers}
    figures = {
        sample: compared(
            {name: people[name] for name in names if name in people}, thresholds, kinds
        )
        for sample, names in (("chosen", mine), ("confirmed", fresh))
    }
    found = {
        "rule": f"calibration error below {AIM:g} percentage points",
        "fmr": FMR,
        "thresholds": {name: one.value for name, one in thresholds.items()},
        "impostor_pairs": next(iter(thresholds.values())).pairs,
        **figures,
        "versions": installed_versions(),
    }
    OUT.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps({sample: one["forecasts"] for sample, one in figures.items()}, indent=1))


def compared(
    people: Mapping[str, Mapping[str, NDArray[np.float32]]],
    thresholds: Mapping[str, Threshold],
    kinds: Mapping[str, Similarity],
) -> dict[str, object]:
    """All figures."""
    changes = CHANGES[1:]
    shape = (2, len(RECOGNIZERS), len(changes), len(people))
    errors, pairs, expected = np.zeros(shape), np.zeros(shape), np.zeros(shape[1:])
    pictures = np.array([len(one["found/none"]) for one in people.values()])
    no_longer: dict[str, dict[str, object]] = {}
    for r, name in enumerate(RECOGNIZERS):
        no_longer[name] = {}
        for change in CHANGES:
            links = [
                links_of(one, name, change, thresholds[name], kinds[name], slice(None))
                for one in people.values()
            ]
            totals = np.array([(one.pairs - one.linked, one.pairs) for one in links])
            person = np.repeat(np.arange(len(people)), totals[:, 1])
            scores = np.concatenate([np.arange(n) >= k for k, n in totals]).astype(float)
            rate = fnmr_estimate(Comparisons(scores, person, person, len(people)), 0.5, SEED)
            no_longer[name][change] = rate.as_dict()
        for p, one in enumerate(people.values()):
            half = len(one["found/none"]) // 2
            for h, rows in enumerate((slice(0, half), slice(half, None))):
                by_change = [
                    links_of(one, name, change, thresholds[name], kinds[name], rows)
                    for change in changes
                ]
                pairs[h, r, :, p] = [links.pairs for links in by_change]
                errors[h, r, :, p] = [links.pairs - links.linked for links in by_change]
                if h == 0:
                    expected[r, :, p] = not_expected(by_change, thresholds[name].value)
    own, outcome = errors[0] / pairs[0], errors[1] / pairs[1]
    drawn = np.array(
        [
            [shrunk(errors[0, r, c], pairs[0, r, c]) for c in range(len(changes))]
            for r in range(len(own))
        ]
    )
    several = pictures >= MANY
    forecasts: dict[str, object] = {
        "own": calibration(own.ravel(), outcome.ravel()),
        "shrunk": calibration(drawn.ravel(), outcome.ravel()),
        "expected": calibration(expected.ravel(), outcome.ravel()),
    }
    for count, some in (("four", several), ("two", ~several)):
        if some.any():
            for kind, forecast in (("own", own), ("expected", expected)):
                forecasts[f"{kind}, {count} pictures in each half"] = calibration(
                    forecast[..., some].ravel(), outcome[..., some].ravel()
                )
    for place, name in enumerate(RECOGNIZERS):
        rest, true = np.delete(own, place, axis=0), outcome[place].ravel()
        mean, strongest = rest.mean(axis=0).ravel(), rest.min(axis=0).ravel()
        forecasts[f"left out: {name}, mean of the others"] = calibration(mean, true)
        forecasts[f"left out: {name}, strongest of the others"] = calibration(strongest, true)
        forecasts[f"own: {name}"] = calibration(own[place].ravel(), true)
        forecasts[f"expected: {name}"] = calibration(expected[place].ravel(), true)
    return {
        "people": len(people),
        "pictures": int(pictures.sum()),
        "no_longer_linked": no_longer,
        "found": {
            change: float(
                np.concatenate([one[f"found/{change}"] for one in people.values()]).mean()
            )
            for change in CHANGES
        },
        "pixels": {
            change: float(
                np.concatenate([one[f"pixels/{change}"] for one in people.values()]).mean()
            )
            for change in CHANGES
        },
        "forecasts": forecasts,
        "difference_of_halves": bootstrap_mean(
            100 * (own - outcome).mean(axis=(0, 1)), np.arange(len(people)), SEED
        ).as_dict(),
    }


if __name__ == "__main__":
    main()

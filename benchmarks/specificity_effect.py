r"""Do person maps hold something of the person? Their effect on new pictures, against controls.

    python benchmarks/specificity_effect.py $LEAM_ASSETS/lfw --models dlib_resnet,... \
        --work specificity_effect.work --out benchmarks/specificity_effect.json

**Data.** 80 people with four pictures (``lfw/people``) develop: they choose the estimate, and are the population
(its mean map, and the variances that shrinkage needs). 120 other people with four pictures and the 39 people of
``lfw/many`` (14 pictures each) judge. Nobody is in both.

**Settings.** ``same``: the map of one picture, its mask on that picture; the mate is the mean embedding of the
person's other pictures. ``new``: the map of k pictures, its mask on pictures that it was not made of; the mate is
the mean embedding of the map's pictures. k is 1 and 3 for people with four pictures, and 1, 3, 6 and 10 for
``lfw/many``.

**Masks.** The top 1 % of the person's map (own), of another person's map from as many pictures (other), of the mean
map of all other people (population); and the same three from edge maps (no network).

**Measured.** Similarity drops, and drops per changed pixel energy, for the fills mean, blur, local_blur and black;
margins paired over people, with intervals and Cohen's d. Overlap of critical masks of person maps from disjoint
pictures, same person against different people, and the same for edge maps.

**Estimates**, named before any result was seen: the mean; distinctive ``M log(M / P)``, the difference ``M - P``
and the ratio ``M / P``, with M the person's mean map and P the population's; shrinkage ``P + w (M - P)`` with ``w =
B / (B + W / k)`` from the variance between people B and within people W, one weight for all pixels, per pixel, per
spatial frequency (cosine transform) or in the subspace of the population's principal components; emphasis ``P + g
(M' - P)`` of a shrunk map M', g > 1; the residual after a regression on the pose; averages over horizontal flips
and shifts. Each with smoothing of 0 to 0.05 of the side.

**Rule**, written before looking: on the people that develop, for every estimate the mean over recognizers of the
paired d is taken in eight cells: {same, new with k = 1} x {mean, local_blur} x {against other, against population}.
The estimate with the largest smallest cell is chosen; within 0.02 of it, the simplest. It is then judged once on
the people that judge. The goal is that all eight margins have intervals above zero, and exceed those of edges, on
nine of eleven recognizers.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from bench import write_whole
from markdown import show
from numpy.typing import NDArray
from torch import Tensor

from leam.errors import InputError
from leam.explain.explainer import Explainer
from leam.explain.masks import critical_mask
from leam.explain.person import PERSON_MAPS, Population
from leam.faces.detection import find_face
from leam.faces.detectors.dlib import DlibDetector
from leam.faces.face import Face
from leam.faces.people import Sample, read_people
from leam.metrics.controls.edges import edge_map
from leam.metrics.effect import effect
from leam.metrics.occlusion import hide, pixel_energy, similarity_drop
from leam.metrics.overlap import bhattacharyya_matrix
from leam.metrics.specificity import specificity
from leam.recognizers.catalogue import load_recognizer
from leam.recognizers.recognizer import Recognizer

DEVELOPING, JUDGING = 80, 120
"""People with four pictures."""
FOUR, MANY = 4, 14
"""Pictures of a person."""
ESTIMATES = ("mean", "shrunk")
FILLS = ("mean", "local_blur")
MORE_FILLS = ("blur", "black")
"""Fills measured only for maps of three pictures, without edges."""
OVERLAPS = (1, 3, 6, 7)
SEED = 15
BATCH = 32

MASKS = (
    *(f"{one}_{whose}" for one in (*ESTIMATES, "edges") for whose in ("own", "other")),
    "population",
    "edges_population",
)


@dataclass(frozen=True)
class Found:
    """The faces of one recognizer.

    Attributes:
        chips: Aligned faces, ``(n, h, w, 3)``.
        embeddings: ``(n, D)``.
        maps: Overall maps, ``(n, h, w)`` float32.
        edges: Edge maps, ``(n, h, w)`` float32, each summing to 1.
    """

    chips: NDArray[np.uint8]
    embeddings: Tensor
    maps: Tensor
    edges: Tensor


def people_of(folder: Path) -> list[tuple[str, list[Face]]]:
    """The people of all groups: 200 with four pictures, then those with fourteen."""
    by_person = {name: grouped(read_people(folder / name)) for name in ("people", "many")}
    generator = np.random.default_rng(SEED)
    four = [
        person
        for person, samples in sorted(by_person["people"].items())
        if person not in by_person["many"] and len(samples) == FOUR
    ]
    # A few more than needed, since pictures without a face are left out.
    drawn = [four[index] for index in generator.permutation(len(four))[: DEVELOPING + JUDGING + 10]]
    wanted = [(person, by_person["people"][person], FOUR) for person in drawn]
    for person, samples in sorted(by_person["many"].items()):
        wanted.append((person, [samples[i] for i in generator.permutation(len(samples))], MANY))
    detector = DlibDetector()
    found: dict[int, list[tuple[str, list[Face]]]] = {FOUR: [], MANY: []}
    for person, samples, count in wanted:
        faces: list[Face] = []
        for sample in samples:
            if len(faces) == count:
                break
            try:
                faces.append(find_face(sample.path, detector))
            except InputError as error:
                print(error, file=sys.stderr)
        if len(faces) == count:
            found[count].append((person, faces))
    return [*found[FOUR][: DEVELOPING + JUDGING], *found[MANY]]


def grouped(samples: Sequence[Sample]) -> dict[str, list[Sample]]:
    """Pictures by person."""
    found: dict[str, list[Sample]] = {}
    for sample in samples:
        found.setdefault(sample.person, []).append(sample)
    return found


def explained(recognizer: Recognizer, path: Path, faces: Sequence[Face]) -> Found:
    """Chips, embeddings and maps of faces, from a file if it exists."""
    if not path.is_file():
        explainer, crop = Explainer(recognizer), recognizer.crop
        chips = np.stack([crop.align(face).image for face in faces])
        parts = [explainer.explain(chips[i : i + BATCH]) for i in range(0, len(chips), BATCH)]
        density = torch.cat([part.overall for part in parts]) * parts[0].overall[0].numel()
        embeddings = torch.cat([part.embeddings for part in parts])
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, chips=chips, density=density.half().numpy(), embeddings=embeddings.numpy())
    with np.load(path) as stored:
        chips, density = stored["chips"], torch.from_numpy(stored["density"]).float()
        embeddings = torch.from_numpy(stored["embeddings"]).float()
    edges = torch.from_numpy(np.stack([edge_map(chip) for chip in chips]))
    return Found(
        chips, embeddings, *(m / m.sum(dim=(1, 2), keepdim=True) for m in (density, edges))
    )


class Judge:
    """The masks and drops of one recognizer.

    Args:
        recognizer: The recognizer.
        found: Its faces.
        developing: Rows of the pictures of people who develop, ``(people, 4)``.
    """

    def __init__(self, recognizer: Recognizer, found: Found, developing: NDArray[np.intp]) -> None:
        self.recognizer, self.found = recognizer, found
        rows = developing.ravel()
        people = [str(person) for person in np.repeat(np.arange(len(developing)), FOUR)]
        self.population = Population.of(found.maps[rows], people, rows.astype(str).tolist())
        self.edges_population = found.edges[rows].mean(dim=0)

    def own_masks(self, pictures: NDArray[np.intp]) -> dict[str, NDArray[np.bool_]]:
        """The masks of each person's map of some pictures ``(people, k)``, by kind, ``(people, h, w)``."""
        maps = {
            name: [
                PERSON_MAPS[name].compute(self.found.maps[rows], self.population)
                for rows in pictures
            ]
            for name in ESTIMATES
        }
        edges = self.found.edges[pictures].mean(dim=1)
        masks = {name: tops(torch.from_numpy(np.stack(one))) for name, one in maps.items()}
        return {**masks, "edges": tops(edges)}

    def masks(self, pictures: NDArray[np.intp]) -> dict[str, NDArray[np.bool_]]:
        """All masks, by the names in ``MASKS``; the other person is seven places further."""
        own = self.own_masks(pictures)
        other = {f"{name}_other": np.roll(one, -7, axis=0) for name, one in own.items()}
        shared = {
            "population": tops(torch.from_numpy(self.population.mean)),
            "edges_population": tops(self.edges_population),
        }
        spread = {name: np.broadcast_to(one, own["edges"].shape) for name, one in shared.items()}
        return {**{f"{name}_own": one for name, one in own.items()}, **other, **spread}

    def cell(
        self,
        pictures: NDArray[np.intp],
        tests: NDArray[np.intp],
        mates: NDArray[np.intp],
        fills: Sequence[str],
        names: Sequence[str],
    ) -> dict[str, Any]:
        """Drops and contrasts.

        Args:
            pictures: Rows of the map's pictures, ``(people, k)``.
            tests: Rows of the pictures that masks are applied to, ``(people, t)``.
            mates: Rows of the pictures whose mean embedding is the mate, ``(people, m)``.
            fills: The fills.
            names: The masks.
        """
        masks = self.masks(pictures)
        mate = self.found.embeddings[mates].mean(dim=1)
        return {
            fill: summary(*self.drops(masks, tests, mate, fill, names), names) for fill in fills
        }

    def drops(
        self,
        masks: Mapping[str, NDArray[np.bool_]],
        tests: NDArray[np.intp],
        mate: Tensor,
        fill: str,
        names: Sequence[str],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Drops and changed energy by person and mask, ``(people, masks)`` each."""
        kind = self.recognizer.card.similarity
        found: tuple[list[Any], list[Any]] = ([], [])
        for name in names:
            drops, energies = [], []
            for rows in tests.T:
                chips = self.found.chips[rows]
                hidden = hide(chips, masks[name], fill)
                clean, changed = self.found.embeddings[rows], self.recognizer.embed(hidden)
                drops.append(similarity_drop(clean, changed, mate, kind).double().numpy())
                energies.append(pixel_energy(chips, hidden))
            found[0].append(np.mean(drops, axis=0))
            found[1].append(np.mean(energies, axis=0))
        return np.stack(found[0], axis=1), np.stack(found[1], axis=1)

    def overlaps(self, people: NDArray[np.intp], k: int) -> dict[str, Any]:
        """Overlap of the masks of two person maps of ``k`` disjoint pictures each; people ``(P, >= 2 k)``."""
        first, second = (self.own_masks(people[:, part]) for part in (slice(k), slice(k, 2 * k)))
        owner = np.tile(np.arange(len(people)), 2)
        found = {}
        for name in first:
            both = torch.from_numpy(np.concatenate([first[name], second[name]]))
            coefficients = bhattacharyya_matrix(both, both).double().numpy()
            estimates = specificity(coefficients, owner, SEED).estimates(SEED)
            found[name] = {what: one.as_dict() for what, one in estimates.items()}
        return found


def tops(maps: Tensor) -> NDArray[np.bool_]:
    """Critical masks; negative values count as zero."""
    found: NDArray[np.bool_] = critical_mask(maps.clamp(min=0)).numpy()
    return found


def summary(
    drops: NDArray[np.float64], energy: NDArray[np.float64], names: Sequence[str]
) -> dict[str, Any]:
    """Means and contrasts of drops ``(people, masks)``."""
    edges = {"edges_own": 1.0, "edges_other": -1.0}
    contrasts: dict[str, dict[str, float]] = {}
    for one in ESTIMATES:
        contrasts[f"{one}: own - other"] = {f"{one}_own": 1, f"{one}_other": -1}
        contrasts[f"{one}: own - population"] = {f"{one}_own": 1, "population": -1}
        if "edges_own" in names:
            contrasts[f"{one}: own - other, less edges"] = {
                **contrasts[f"{one}: own - other"],
                **{name: -weight for name, weight in edges.items()},
            }
            contrasts[f"{one}: own - population, less edges"] = {
                **contrasts[f"{one}: own - population"],
                "edges_own": -1,
                "edges_population": 1,
            }
    if "edges_own" in names:
        contrasts["edges: own - other"] = edges
        contrasts["edges: own - population"] = {"edges_own": 1, "edges_population": -1}
    contrasts["shrunk - mean"] = {"shrunk_own": 1, "mean_own": -1}
    effects = {name: effect(drops, energy, names, one, SEED) for name, one in contrasts.items()}
    return {
        "drops": {
            name: round(float(v), 5) for name, v in zip(names, drops.mean(axis=0), strict=True)
        },
        "energy": {
            name: float(f"{v:.4g}") for name, v in zip(names, energy.mean(axis=0), strict=True)
        },
        "contrasts": {
            name: {
                what: value.as_dict() if hasattr(value, "as_dict") else value
                for what, value in vars(one).items()
            }
            for name, one in effects.items()
        },
    }


def judged(recognizer: Recognizer, found: Found) -> dict[str, Any]:
    """All cells of one recognizer."""
    split = (DEVELOPING + JUDGING) * FOUR
    four = np.arange(split).reshape(-1, FOUR)
    many = np.arange(split, len(found.chips)).reshape(-1, MANY)
    judge = Judge(recognizer, found, four[:DEVELOPING])
    people = four[DEVELOPING:]
    few = [name for name in MASKS if not name.startswith("edges")]
    cells = {
        "same, k = 1": judge.cell(people[:, :1], people[:, :1], people[:, 1:], FILLS, MASKS),
        "new, k = 1": judge.cell(people[:, :1], people[:, 3:], people[:, :1], FILLS, MASKS),
        "new, k = 3": judge.cell(people[:, :3], people[:, 3:], people[:, :3], FILLS, MASKS),
    }
    cells["new, k = 3"] |= judge.cell(people[:, :3], people[:, 3:], people[:, :3], MORE_FILLS, few)
    for k in (1, 3, 6, 10):
        cells[f"many, k = {k}"] = judge.cell(many[:, :k], many[:, 10:12], many[:, :k], FILLS, MASKS)
    return {"effect": cells, "overlap": {str(k): judge.overlaps(many, k) for k in OVERLAPS}}


SHOWN = ("same, k = 1", "new, k = 1", "new, k = 3", "many, k = 10")
"""Settings in the table of the page."""


def table(recognizers: Mapping[str, Any]) -> str:
    """Markdown: paired d over another person's mask, over the population's, and of edges over another person's."""
    parts = []
    for fill, estimate in product(FILLS, ESTIMATES):
        keys = [f"{estimate}: own - other", f"{estimate}: own - population", "edges: own - other"]
        beyond = f"{estimate}: own - other, less edges"
        lines = [
            f"Person map `{estimate}`, fill `{fill}`:\n",
            f"| recognizer | {' | '.join(SHOWN)} |",
            "|---" * (1 + len(SHOWN)) + "|",
        ]
        for name, one in recognizers.items():
            cells = [one["effect"][setting][fill]["contrasts"] for setting in SHOWN]
            lines.append(
                f"| {name} | {' | '.join(' / '.join(marked(c[k]) for k in keys) for c in cells)} |"
            )
        counts = [
            " / ".join(
                str(
                    sum(
                        above(one["effect"][s][fill]["contrasts"][key])
                        for one in recognizers.values()
                    )
                )
                for key in (*keys[:2], beyond)
            )
            for s in SHOWN
        ]
        lines.append(
            f"| above zero, of {len(recognizers)}: other / population / beyond edges | {' | '.join(counts)} |"
        )
        parts.append("\n".join(lines))
    lines = [
        "Overlap of two maps without a common picture (`lfw/many`), same person / different people (AUC):\n"
    ]
    ends = list(product((OVERLAPS[0], OVERLAPS[-1]), (*ESTIMATES, "edges")))
    heads = [f"{kind}, k = {k}" for k, kind in ends]
    lines += [f"| recognizer | {' | '.join(heads)} |", "|---" * (1 + len(heads)) + "|"]
    for name, one in recognizers.items():
        cells = [one["overlap"][str(k)][kind] for k, kind in ends]
        texts = [
            f"{c['same']['mean']:.2f} / {c['different']['mean']:.2f} ({c['auc']['mean']:.2f})"
            for c in cells
        ]
        lines.append(f"| {name} | {' | '.join(texts)} |")
    return "\n\n".join([*parts, "\n".join(lines)])


def rounded(found: object) -> object:
    """Numbers of nested dictionaries and lists, rounded to four digits."""
    if isinstance(found, dict):
        return {name: rounded(value) for name, value in found.items()}
    if isinstance(found, list | tuple):
        return [rounded(value) for value in found]
    return float(f"{found:.4g}") if isinstance(found, float) else found


def above(contrast: Mapping[str, Any]) -> bool:
    """Whether the interval of a difference is above zero."""
    return bool(contrast["drop"]["low"] > 0)


def marked(contrast: Mapping[str, Any]) -> str:
    """A contrast's d: bold if the interval of the difference is above zero, italic if it is below."""
    mark = "**" if above(contrast) else "*" if contrast["drop"]["high"] < 0 else ""
    return f"{mark}{contrast['d']['mean']:+.2f}{mark}"


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="folder with the folders people and many")
    parser.add_argument("--models", required=True)
    parser.add_argument(
        "--work", type=Path, required=True, help="folder for maps and partial results"
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--page", type=Path, help="Markdown page to insert the tables into")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    faces: list[Face] = []
    found = {}
    for name in options.models.split(","):
        stem = Path(name).stem
        part, maps = (options.work / f"{stem}{suffix}" for suffix in (".json", ".npz"))
        if not part.is_file():
            if not maps.is_file() and not faces:
                faces = [face for _, pictures in people_of(options.folder) for face in pictures]
            recognizer = load_recognizer(name)
            write_whole(part, judged(recognizer, explained(recognizer, maps, faces)))
            print(stem, flush=True)
        found[stem] = json.loads(part.read_text(encoding="utf-8"))
    about = {"developing": DEVELOPING, "judging": JUDGING, "seed": SEED, "estimates": ESTIMATES}
    write_whole(options.out, {**about, "recognizers": rounded(found)})
    if options.page:
        show(table(found), options.page, "specificity_effect")


if __name__ == "__main__":
    main()

"""Shared code of the benchmarks of maps: real faces prepared for a recognizer."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leam.errors import InputError
from leam.explain.aggregates import distributions
from leam.explain.explainer import Explainer
from leam.explain.targets import (
    Target,
    contrast_target,
    nearest,
    person_templates,
    reference_target,
    self_target,
    templates_of_others,
)
from leam.explain.weightings import WEIGHTINGS
from leam.faces.detection import find_face
from leam.faces.detectors.dlib import DlibDetector
from leam.faces.face import Face
from leam.faces.people import draw_people, read_people
from leam.metrics.occlusion import hide, similarity_drop
from leam.parsers import load_parser
from leam.parsers.regions import REGIONS
from leam.recognizers.recognizer import Recognizer

BATCH = 20
IMPOSTORS = 5
"""Number of nearest impostors for the target ``contrast``, as in a study."""

LayerMaps = dict[str, list[Tensor]]
"""Layer maps ``(n, h_l, w_l)`` by weighting; each map sums to 1 or is empty."""


@dataclass(frozen=True)
class Bench:
    """A recognizer and faces of people, with at least two faces per person.

    Attributes:
        recognizer: The recognizer.
        chips: The aligned faces, ``(n, h, w, 3)``.
        people: The person of each face, ``(n,)``.
        regions: The region of each pixel by the parser ``landmarks``, ``(n, h, w)``.
        clean: The embeddings of the faces, ``(n, D)``.
        mate: For each face, the template of the person's other faces, ``(n, D)``.
    """

    recognizer: Recognizer
    chips: NDArray[np.uint8]
    people: NDArray[np.str_]
    regions: Tensor
    clean: Tensor
    mate: Tensor

    @property
    def person(self) -> NDArray[np.int64]:
        """The person numbers of the faces, consecutive from 0, ``(n,)``."""
        return np.unique(self.people, return_inverse=True)[1]

    @property
    def on_face(self) -> NDArray[np.bool_]:
        """The pixels that show the face, ``(n, h, w)``."""
        return (self.regions != REGIONS.index("background")).numpy()

    def drops(self, masks: NDArray[np.bool_], fill: str = "black") -> NDArray[np.float64]:
        """The similarity drop of each face when its mask is hidden, ``(n,)``."""
        hidden = self.recognizer.embed(hide(self.chips, masks, fill))
        kind = self.recognizer.card.similarity
        return similarity_drop(self.clean, hidden, self.mate, kind).double().numpy()

    def part(self, chosen: NDArray[np.intp]) -> Bench:
        """The same data for some of the faces; the mates do not change."""
        rows = torch.from_numpy(chosen)
        return replace(
            self,
            chips=self.chips[chosen],
            people=self.people[chosen],
            regions=self.regions[rows],
            clean=self.clean[rows],
            mate=self.mate[rows],
        )


def find_faces(
    folder: Path, people: int, images: int, seed: int, *, after: int = 0, first: int | None = None
) -> tuple[list[Face], NDArray[np.str_]]:
    """Faces of randomly chosen people with enough pictures, and the person of each face.

    People are left out if a picture has no detected face; a message on stderr says so. ``first`` and ``after``
    limit the choice to the first people of the folder, without the very first.
    """
    samples = read_people(folder)
    known = list(dict.fromkeys(sample.person for sample in samples))[after:first]
    samples = [sample for sample in samples if sample.person in set(known)]
    counts = {sample.person: 0 for sample in samples}
    for sample in samples:
        counts[sample.person] += 1
    enough = [sample for sample in samples if counts[sample.person] >= images]
    detector = DlibDetector()
    faces, owners = [], []
    for sample in draw_people(enough, people, images, seed):
        try:
            faces.append(find_face(sample.path, detector))
            owners.append(sample.person)
        except InputError as error:
            print(error, file=sys.stderr)
    keep = [i for i, person in enumerate(owners) if owners.count(person) == images]
    return [faces[i] for i in keep], np.array([owners[i] for i in keep])


def make_bench(recognizer: Recognizer, faces: Sequence[Face], people: NDArray[np.str_]) -> Bench:
    """Align, parse and embed faces for a recognizer."""
    parser = load_parser("landmarks")
    chips = np.stack([recognizer.crop.align(face).image for face in faces])
    regions = np.stack([parser.parse(face, recognizer.crop).regions for face in faces])
    clean = recognizer.embed(chips)
    mate = templates_of_others(clean, people, recognizer.card.similarity)
    return Bench(recognizer, chips, people, torch.from_numpy(regions), clean, mate)


def targets_of(
    explainer: Explainer, chips: NDArray[np.uint8], people: NDArray[np.str_], target: str
) -> Callable[[slice], Target]:
    """The targets of a slice of the faces, as in a study, with the current weights of the network."""
    recognizer, kind = explainer.recognizer, explainer.recognizer.card.similarity
    if target == "self":
        return lambda _rows: self_target
    embeddings = recognizer.embed(chips)
    templates = templates_of_others(embeddings, people, kind)
    if target == "template":
        return lambda rows: reference_target(templates[rows], kind)
    names, own = list(dict.fromkeys(people.tolist())), person_templates(embeddings, people, kind)

    def impostors(row: int) -> Tensor:
        others = own[[name != people[row] for name in names]]
        return nearest(templates[row : row + 1], others, IMPOSTORS, kind)[0]

    def contrast(rows: slice) -> Target:
        found = torch.stack([impostors(row) for row in range(*rows.indices(len(people)))])
        return contrast_target(templates[rows], found, kind)

    return contrast


def layer_maps(
    explainer: Explainer, chips: NDArray[np.uint8], targets: Callable[[slice], Target]
) -> LayerMaps:
    """The layer maps of all faces for all weightings, computed in one pass."""
    found: dict[str, list[list[Tensor]]] = {name: [] for name in WEIGHTINGS}
    for start in range(0, len(chips), BATCH):
        part = slice(start, min(start + BATCH, len(chips)))
        activations, gradients, _, _ = explainer.differentiate(chips[part], targets(part))
        for name, weigh in WEIGHTINGS.items():
            raw = [weigh(a, g) for a, g in zip(activations, gradients, strict=True)]
            found[name].append(list(distributions(raw)[0]))
    return {
        name: [torch.cat(layer) for layer in zip(*batches, strict=True)]
        for name, batches in found.items()
    }


def write_whole(path: Path, found: dict[str, Any]) -> None:
    """Write JSON to a temporary file and rename it, so that the file is never incomplete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, path)  # noqa: PTH105

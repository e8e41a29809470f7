"""The data of a slice of faces and one recognizer, as passed to stages. Values are computed on first use."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leam.errors import StudyError
from leam.explain.explainer import Maps
from leam.explain.methods import Method
from leam.explain.person import Population
from leam.explain.targets import (
    IMPOSTORS,
    Target,
    contrast_target,
    nearest,
    person_templates,
    reference_target,
    self_target,
    templates_of_others,
)
from leam.parsers.parsing import Parsing
from leam.recognizers.card import Similarity
from leam.recognizers.recognizer import Recognizer
from leam.results.shards import S
from leam.study.chips import ChipBatch, Chips, Subject
from leam.study.explained import EXPLAIN, Explained
from leam.study.plan import Plan, Settings
from leam.study.run_data import RunData

T = TypeVar("T")

BATCH = 32
"""Faces that are explained at once."""


class OverRun(Protocol):
    """Calls a function of the whole run once for each name and recognizer in a process, and keeps the result.

    Results should be small: they stay until the study is finished.
    """

    def __call__(self, name: str, function: Callable[[RunData], T]) -> T:
        """The function's result."""
        ...


@dataclass(frozen=True)
class MapBatch:
    """Explained faces of a slice.

    Attributes:
        maps: Their maps.
        images: The aligned faces, RGB ``(b, h, w, 3)`` uint8.
        matrices: Transforms from picture to chip pixels, ``(b, 2, 3)``.
        subjects: The faces.
        parsings: Their regions.
        settings: The study's settings.
    """

    maps: Maps
    images: NDArray[np.uint8]
    matrices: NDArray[np.float64]
    subjects: Sequence[Subject]
    parsings: Sequence[Parsing]
    settings: Settings

    def layers_by_size(self) -> Iterator[tuple[list[int], Tensor]]:
        """The layer maps grouped by size: their indices among the layers, and ``(L_s, b, h, w)`` on the CPU."""
        sizes: dict[tuple[int, int], list[int]] = {}
        for place, layer in enumerate(self.maps.layer_maps):
            sizes.setdefault((layer.shape[1], layer.shape[2]), []).append(place)
        for places in sizes.values():
            yield places, torch.stack([self.maps.layer_maps[place] for place in places]).cpu()


@dataclass(frozen=True)
class Scene:
    """The usable faces of a slice and one recognizer: whole people, each with at least two pictures.

    Attributes:
        plan: The plan of the study.
        index: The slice.
        explainer: Explains the recognizer with the study's settings.
        batch: The faces.
        parsed: Maps the name of a parser to the regions of the faces.
        read: Reads a stored shard of this slice, given its type, the stage, the recognizer and the fields to read.
        others: Templates of the people outside this slice, ``(n, D)``; None if the target does not need them.
        density_sum: Sum of the overall maps of all faces of the study, ``(h, w)``; available in the phase ``compare``.
        maps_elsewhere: Maps of people in other slices, for person maps; None if there are too few. Available in the
            phase ``compare``.
        subset: Positions of the pictures of the subset.
        threshold: Verification threshold: pairs with at least this similarity are accepted as genuine.
        over_run: Results of functions of the whole run. Available in the phase ``compare``.
        recognizers: Names of the recognizers that have not failed.
    """

    plan: Plan
    index: int
    explainer: Method
    batch: ChipBatch
    parsed: Callable[[str], Sequence[Parsing]]
    read: Callable[[type[S], str, str, Sequence[str] | None], S | None]
    others: Callable[[], Tensor | None]
    density_sum: Callable[[], NDArray[np.float64]]
    maps_elsewhere: Callable[[], Population | None]
    subset: Callable[[], frozenset[int]]
    threshold: Callable[[], float]
    over_run: OverRun
    recognizers: Sequence[str]

    @property
    def settings(self) -> Settings:
        """The study's settings."""
        return self.plan.settings

    @property
    def recognizer(self) -> Recognizer:
        """The recognizer."""
        return self.explainer.recognizer

    @property
    def kind(self) -> Similarity:
        """The recognizer's similarity."""
        return self.recognizer.card.similarity

    @property
    def subjects(self) -> list[Subject]:
        """The ``n`` faces."""
        return self.batch.subjects

    @property
    def chips(self) -> Chips:
        """The faces as the recognizer sees them."""
        return self.batch.chips[self.recognizer.crop]

    @property
    def positions(self) -> NDArray[np.int64]:
        """Positions of the pictures in the plan, ``(n,)``."""
        return np.array([subject.position for subject in self.subjects], dtype=np.int64)

    @property
    def people(self) -> NDArray[np.str_]:
        """The person of each face, ``(n,)``."""
        return np.array([subject.person for subject in self.subjects])

    @property
    def probes(self) -> NDArray[np.intp]:
        """Rows of the faces whose pixels are hidden."""
        return probe_rows(self.people, self.settings.probes)

    @property
    def subset_rows(self) -> NDArray[np.intp]:
        """Rows of the faces of the subset."""
        return np.flatnonzero(np.isin(self.positions, list(self.subset())))

    @cached_property
    def parsings(self) -> Sequence[Parsing]:
        """The regions of the faces."""
        return self.parsed(self.settings.parser)

    @cached_property
    def explained(self) -> Explained:
        """The stored maps of the faces, without arrays that are sums over faces."""
        fields = ["layers", "position", "matrix", "embedding", "density", "critical", "empty"]
        found = self.stored(Explained, EXPLAIN, fields)
        if found is None:
            raise StudyError(f"the maps of {self.recognizer.name} disappeared; run the study again")
        return found

    @cached_property
    def mates(self) -> Tensor:
        """For each face the template of the same person's other faces, ``(n, D)``."""
        embeddings = torch.from_numpy(self.explained.embedding)
        return templates_of_others(embeddings, self.people, self.kind)

    def population(self, row: int) -> NDArray[np.float64] | None:
        """The sum of the overall maps of all people other than that of a face, ``(h, w)``; None if it is empty."""
        own = self.explained.density[self.people == self.people[row]]
        # Maps have half precision, so that their sums in double precision are exact.
        others = self.density_sum() - own.sum(axis=0, dtype=np.float64)
        return others if others.any() else None

    @cached_property
    def embeddings(self) -> Tensor:
        """The embeddings of the faces, ``(n, D)``, on the CPU as those of shards are."""
        return self.recognizer.embed(self.chips.images).cpu()

    def stored(
        self,
        kind: type[S],
        stage: str,
        only: Sequence[str] | None = None,
        recognizer: str | None = None,
    ) -> S | None:
        """Read a shard of this slice that an earlier stage stored.

        Args:
            kind: Type of the shard.
            stage: Name of the stage.
            only: Fields to read; all by default.
            recognizer: Name of the recognizer; this one by default.
        """
        return self.read(kind, stage, recognizer or self.recognizer.name, only)

    def maps(self) -> Iterator[MapBatch]:
        """The maps of all faces, in batches."""
        targets, size = self._targets(), max(BATCH, self.recognizer.batch_size or 0)
        for start in range(0, len(self.subjects), size):
            rows = slice(start, start + size)
            images = self.chips.images[rows]
            yield MapBatch(
                self.explainer.explain(images, targets(rows)),
                images,
                self.chips.matrices[rows],
                self.subjects[rows],
                self.parsings[rows],
                self.settings,
            )

    def explain(self, rows: NDArray[np.intp]) -> Callable[[Tensor], Tensor]:
        """A function that maps (possibly changed) chips ``(b, h, w, 3)`` of these faces to overall maps ``(b, h, w)``.

        It uses the study's target, except that ``contrast`` is replaced by the similarity to the person's own
        template.
        """
        target: Target = self_target
        if self.settings.target != "self":
            target = reference_target(self.mates[torch.from_numpy(rows)], self.kind)
        return lambda chips: self.explainer.explain(chips, target).overall.cpu()

    def generator(self, key: str) -> np.random.Generator:
        """A random generator that depends only on a name and the study's seed, not on earlier draws."""
        return seeded(key, self.settings.seed)

    def _targets(self) -> Callable[[slice], Target]:
        """A function that maps a slice of the faces to their target."""
        if self.settings.target == "self":
            return lambda _rows: self_target
        templates = templates_of_others(self.embeddings, self.people, self.kind)
        if self.settings.target == "template":
            return lambda rows: reference_target(templates[rows], self.kind)
        return lambda rows: contrast_target(
            templates[rows], self._nearest_impostors(templates, rows), self.kind
        )

    def _nearest_impostors(self, templates: Tensor, rows: slice) -> Tensor:
        """The templates of the nearest impostors of some faces, ``(b, K, D)``."""
        people = self.people
        names = list(dict.fromkeys(people.tolist()))
        own, outside = person_templates(self.embeddings, people, self.kind), self.others()
        found = []
        for row in range(*rows.indices(len(people))):
            neighbours = own[[name != people[row] for name in names]]
            candidates = neighbours if outside is None else torch.cat([neighbours, outside])
            found.append(nearest(templates[row : row + 1], candidates, IMPOSTORS, self.kind)[0])
        return torch.stack(found)


def probe_rows(people: NDArray[np.str_], probes: int | None) -> NDArray[np.intp]:
    """Rows of the first ``probes`` pictures of each person; all rows if ``probes`` is None."""
    seen: dict[str, int] = {}
    rows = []
    for row, person in enumerate(people.tolist()):
        seen[person] = seen.get(person, 0) + 1
        if probes is None or seen[person] <= probes:
            rows.append(row)
    return np.array(rows, dtype=np.intp)


def next_person(people: NDArray[np.str_], row: int) -> int | None:
    """The next row of another person, wrapping around at the end; None if there is no other person."""
    others = [i for i in np.roll(range(len(people)), -row) if people[i] != people[row]]
    return int(others[0]) if others else None


def next_picture(people: NDArray[np.str_], row: int) -> int | None:
    """The next row of the same person, wrapping around at the end; None if the person has no other row."""
    same = np.flatnonzero(people == people[row])
    after = int(same[(np.searchsorted(same, row) + 1) % len(same)])
    return None if after == row else after


def seeded(key: str, seed: int) -> np.random.Generator:
    """A random generator that depends only on a name and a seed, not on earlier draws."""
    return np.random.default_rng([seed, zlib.crc32(key.encode())])

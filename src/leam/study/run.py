"""Run a study: plan it, do what is not yet done, and sum it up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from leam.errors import InputError, StudyError
from leam.faces.align import Crop
from leam.faces.detect import Detector
from leam.faces.people import Sample
from leam.faces.registry import load_detector
from leam.mapping.explainer import Explainer
from leam.mapping.targets import template
from leam.measures.baselines import BASELINES
from leam.measures.fills import FILLS
from leam.parsers.parsing import Parser, Parsing
from leam.parsers.registry import load_parser, parsers
from leam.recognizers.recognizer import Recognizer
from leam.study.across import TRANSFER, transfer_slice
from leam.study.found import restore_face, search_faces
from leam.study.measuring import measure_slice
from leam.study.plan import Plan, PlannedModel, Settings, installed_versions, planned_images
from leam.study.skipped import FACES, usable
from leam.study.store import RunFolder
from leam.study.subject import Subject
from leam.study.summary import summarise
from leam.study.tables import write_tables
from leam.weights.download import sha256_of

PARSING = "parsing"
# Stages of the study's own, whose shards a recognizer of the same name would overwrite.
_RESERVED = {FACES, PARSING, TRANSFER}

Progress = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and how much there is."""


def plan_study(
    source: str,
    samples: Sequence[Sample],
    recognizers: Sequence[Recognizer],
    settings: Settings | None = None,
) -> Plan:
    """Fix what a study will do.

    Raises:
        InputError: Two recognizers have one name, or a setting names something that does not exist.
    """
    settings = settings or Settings()
    names = [recognizer.name for recognizer in recognizers]
    if not names or len(set(names)) < len(names):
        raise InputError(
            f"models {', '.join(names) or 'none'}: wanted is at least one, each with a name of its own"
        )
    if taken := _RESERVED & set(names):
        raise InputError(
            f"model {taken.pop()}: a study keeps its own work under this name; rename the card"
        )
    _check_known(settings.fill, FILLS)
    _check_known(settings.parser, parsers())
    if settings.second_parser:
        _check_known(settings.second_parser, parsers())
    for name in settings.baselines:
        _check_known(name, BASELINES)
    columns = {column for sample in samples for column in sample.groups}
    for column in settings.groups:
        if column not in columns:
            raise InputError(
                f"group {column}: no such column; known are {', '.join(sorted(columns)) or 'none'}"
            )
    return Plan(
        versions=installed_versions(),
        source=source,
        settings=settings,
        models=tuple(PlannedModel(card=r.card, sha256=r.sha256) for r in recognizers),
        images=planned_images(samples, [_hash(sample.path) for sample in samples]),
    )


def run_study(
    plan: Plan,
    recognizers: Sequence[Recognizer],
    folder: RunFolder,
    *,
    restart: bool = False,
    progress: Progress | None = None,
) -> None:
    """Do a study, or what is left of it: shards, tables and ``summary.json``.

    Args:
        plan: What to do.
        recognizers: Those of the plan, in its order.
        folder: Where. A study that was stopped goes on from what is finished.
        restart: Throw away another study's work in the folder.
        progress: Told how far the work is.

    Raises:
        StudyError: The folder is in use, holds another study, or cannot be written; or no picture can be used.
        LayerError: A layer choice does not fit one of the recognizers.
    """
    tell = progress or (lambda _what, _done, _all: None)
    # Choices that cannot work fail here, before hours of work.
    explainers = [_explainer(recognizer, plan.settings) for recognizer in recognizers]
    with folder.locked():
        folder.start(plan, restart=restart)
        _Run(plan, folder, tell).all_of(explainers)
        write_tables(plan, folder)
        summarise(plan, folder, tell)


@dataclass
class _Run:
    """One pass through a plan's work."""

    plan: Plan
    folder: RunFolder
    tell: Progress
    _detector: Detector | None = field(default=None, init=False)
    _parsers: dict[str, Parser] = field(default_factory=dict, init=False)

    def all_of(self, explainers: Sequence[Explainer]) -> None:
        self._search()
        positions, _ = usable(self.plan, self.folder)
        if not positions:
            raise StudyError(
                f"{self.plan.source}: no person with two usable pictures; see {self.folder.path}/run.json"
            )
        for explainer in explainers:
            self._measure(explainer, set(positions))
        if self.plan.settings.transfer:
            for explainer in explainers:
                self._transfer(explainer.recognizer, set(positions))

    def _search(self) -> None:
        for index, part in self._pending("finding faces", FACES):
            self._detector = self._detector or load_detector(self.plan.settings.detector)
            self.folder.write_shard(
                FACES, index, search_faces(self.plan.images[part.start : part.stop], self._detector)
            )

    def _measure(self, explainer: Explainer, positions: set[int]) -> None:
        name = explainer.recognizer.name
        settings = self.plan.settings
        crop = explainer.recognizer.crop
        second = settings.second_parser
        others = self._templates(explainer, positions) if settings.target == "contrast" else {}
        for index, part in self._pending(f"explaining {name}", name):
            subjects = self._subjects(index, part, positions)
            arrays = {}
            if subjects:
                elsewhere = [templates for other, templates in others.items() if other != index]
                arrays = measure_slice(
                    subjects,
                    explainer,
                    self._parsings(settings.parser, crop, index, subjects),
                    settings,
                    self._parsings(second, crop, index, subjects) if second else None,
                    torch.cat(elsewhere) if elsewhere else None,
                )
            self.folder.write_shard(name, index, arrays)

    def _parsings(
        self, parser: str, crop: Crop, index: int, subjects: Sequence[Subject]
    ) -> list[Parsing]:
        """A slice's regions; recognizers that share a crop share them, since parsing can cost as much as explaining."""
        stage = f"{PARSING}/{parser}/{crop.name}"
        arrays = self.folder.read_shard(stage, index)
        if arrays is None:
            if parser not in self._parsers:
                self._parsers[parser] = load_parser(parser)
            parsed = [self._parsers[parser].parse(subject.face, crop) for subject in subjects]
            arrays = {
                "labels": np.stack([one.labels for one in parsed]),
                "confidence": np.stack([one.confidence for one in parsed]).astype(np.float16),
            }
            self.folder.write_shard(stage, index, arrays)
        confidence = arrays["confidence"].astype(np.float32)
        return [Parsing(*one) for one in zip(arrays["labels"], confidence, strict=True)]

    def _transfer(self, recognizer: Recognizer, positions: set[int]) -> None:
        stage = f"{TRANSFER}/{recognizer.name}"
        for index, part in self._pending(f"transfer to {recognizer.name}", stage):
            subjects = self._subjects(index, part, positions)
            sources = [self.folder.read_shard(m.card.name, index) or {} for m in self.plan.models]
            arrays = transfer_slice(subjects, recognizer, sources, self.plan) if subjects else {}
            self.folder.write_shard(stage, index, arrays)

    def _templates(self, explainer: Explainer, positions: set[int]) -> dict[int, torch.Tensor]:
        """Each slice's people's templates, ``(people, D)``."""
        recognizer = explainer.recognizer
        found = {}
        for index, part in enumerate(self.plan.slices):
            self.tell(f"embedding with {recognizer.name}", index, len(self.plan.slices))
            subjects = self._subjects(index, part, positions)
            if subjects:
                embeddings = recognizer.embed(
                    np.stack([recognizer.crop.align(s.face).image for s in subjects])
                )
                people = np.array([subject.person for subject in subjects])
                found[index] = torch.stack(
                    [
                        template(
                            embeddings[torch.from_numpy(people == person)],
                            recognizer.card.similarity,
                        )
                        for person in dict.fromkeys(people.tolist())
                    ]
                )
        return found

    def _pending(self, what: str, stage: str) -> Iterable[tuple[int, range]]:
        slices = self.plan.slices
        for index, part in enumerate(slices):
            self.tell(what, index, len(slices))
            if self.folder.read_shard(stage, index) is None:
                yield index, part
        self.tell(what, len(slices), len(slices))

    def _subjects(self, index: int, part: range, positions: set[int]) -> list[Subject]:
        arrays = self.folder.read_shard(FACES, index)
        if arrays is None:
            raise StudyError(f"{self.folder.shard(FACES, index)}: disappeared while the study ran")
        return [
            Subject(
                position,
                image.person,
                image.image,
                restore_face(image, arrays, position - part.start),
            )
            for position, image in zip(part, self.plan.images[part.start : part.stop], strict=True)
            if position in positions
        ]


def _explainer(recognizer: Recognizer, settings: Settings) -> Explainer:
    layers = settings.layers[0] if len(settings.layers) == 1 else settings.layers
    return Explainer(
        recognizer, layers=layers, weighting=settings.weighting, aggregate=settings.aggregate
    )


def _check_known(name: str, known: Iterable[str]) -> None:
    if name not in known:
        raise InputError(f"{name}: unknown; known are {', '.join(known)}")


def _hash(path: Path) -> str | None:
    try:
        return sha256_of(path)
    except OSError:
        return None

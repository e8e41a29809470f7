"""The worker runs the jobs of a study one by one, in any process, and stores their shards in the run folder."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Annotated, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leam.devices import CPU, description
from leam.errors import InputError, LeamWarning, StudyError
from leam.explain.methods import Method, MethodSettings, create_method, method_named
from leam.explain.person import FEWEST_PEOPLE, Population
from leam.faces.detection import Detector, RotatingDetector
from leam.faces.detectors import load_detector
from leam.metrics.verification import best_threshold
from leam.parsers import load_parser
from leam.parsers.parsing import Parser, Parsing
from leam.recognizers.recognizer import Recognizer, similarity
from leam.results.shards import S, Shard, axes, joined
from leam.results.summary import RecognizerSummary
from leam.study.chips import ChipBatch, ChipLoader
from leam.study.explained import EXPLAIN, TEMPLATES, Explained, PersonTemplates
from leam.study.plan import Plan, Settings
from leam.study.preparation import (
    DETECT,
    PARSE,
    Parsings,
    detect_faces,
    parse_faces,
    read_detections,
    usable_images,
)
from leam.study.run_data import RunData
from leam.study.scene import Scene, seeded
from leam.study.schedule import SUMMARISE, Job
from leam.study.stage import Stage, blaming, stages_of
from leam.study.store import RunFolder

# People whose maps show how maps vary. More would change little, but take longer.
_POPULATION = 100
T = TypeVar("T")

# Number of slices whose embeddings determine the verification threshold.
_THRESHOLD_SLICES = 64


@dataclass(frozen=True)
class StoredFigures(Shard):
    """The figures of one recognizer."""

    json: Annotated[NDArray[np.uint8], axes("byte", doc="``RecognizerSummary`` as JSON.")]


class Worker:
    """Everything that one process needs to run the jobs of a study.

    Args:
        plan: The plan of the study.
        folder: The run folder.
        recognizers: The recognizers of the plan.
        device: The device to move them to, where parsers run as well; by default that of the first recognizer.
        alone: This worker runs all jobs in order, so it can load the next slice in advance.

    Raises:
        LayerError: The layer choice does not fit one of the recognizers.
    """

    def __init__(
        self,
        plan: Plan,
        folder: RunFolder,
        recognizers: Sequence[Recognizer],
        *,
        device: torch.device | None = None,
        alone: bool = False,
    ) -> None:
        self.plan, self.folder, self._alone = plan, folder, alone
        self._device = device or next((one.device for one in recognizers), CPU)
        for recognizer in recognizers if device else ():
            recognizer.to(self._device)
        # Invalid settings fail here, before hours of work.
        self._explainers = {r.name: explainer_of(r, plan.settings) for r in recognizers}
        self._crops = {r.crop.name: r.crop for r in recognizers}
        self._stages = {stage.name: stage for stage in stages_of(plan)}
        self._parsers: dict[str, Parser] = {}
        # Values that depend on the whole study are read once, not for every job.
        self._templates: dict[str, dict[int, Tensor]] = {}
        self._density_sums: dict[str, NDArray[np.float64]] = {}
        self._populations: dict[tuple[str, int], Population | None] = {}
        self._thresholds: dict[str, float] = {}
        self._of_run: dict[tuple[str, str], object] = {}

    def do(self, job: Job) -> None:
        """Run a job and store its result.

        Raises:
            StudyError: The run folder cannot be read or written; the study must stop.
            ModelError: The recognizer failed.
        """
        with warnings.catch_warnings():
            # A study records empty maps and embeddings that are not finite, and reports them.
            warnings.simplefilter("ignore", LeamWarning)
            self._do(job)

    def _do(self, job: Job) -> None:
        special: dict[str, Callable[[Job], Shard]] = {
            DETECT: self._detect,
            PARSE: self._parse,
            SUMMARISE: self._summarise,
        }
        if job.kind in special:
            self.folder.write_shard(job.shard, job.index, special[job.kind](job))
        else:
            self._measure(job)

    def device_of(self, job: Job) -> str:
        """The device that runs the recognizer of a job, with its model; empty for a job without a recognizer."""
        explainer = self._explainers.get(job.name)
        if explainer is None or job.kind == SUMMARISE:
            return ""
        return description(explainer.recognizer.device)

    def close(self) -> None:
        """Stop background work."""
        if "_loader" in vars(self):
            self._loader.close()

    def _detect(self, job: Job) -> Shard:
        part = self.plan.slices[job.index]
        return detect_faces(self.plan.images[part.start : part.stop], self._detector)

    def _parse(self, job: Job) -> Shard:
        name, crop = job.name.split("/")
        if name not in self._parsers:
            self._parsers[name] = load_parser(name, self._device)
        return parse_faces(
            self.plan,
            read_detections(self.folder, job.index),
            job.index,
            self._parsers[name],
            self._crops[crop],
            self._detected,
        )

    def _measure(self, job: Job) -> None:
        """Compute and store the shards of several stages for one slice and one recognizer."""
        stages = [self._stages[name] for name in job.stages]
        batch = self._loader.batch(job.index)
        if not batch.subjects:
            for stage in stages:
                self.folder.write_shard(f"{stage.name}/{job.name}", job.index, None)
            return
        scene = self._scene(job, batch)
        by_maps = [stage for stage in stages if stage.uses_maps()]
        for stage, parts in zip(by_maps, _of_maps(by_maps, scene), strict=True):
            with blaming(stage.name):
                self.folder.write_shard(f"{stage.name}/{job.name}", job.index, joined(parts))
        for stage in stages:
            if not stage.uses_maps():
                with blaming(stage.name):
                    found = stage.of_slice(scene)
                    self.folder.write_shard(f"{stage.name}/{job.name}", job.index, found)

    def _summarise(self, job: Job) -> Shard:
        """Write the tables of a recognizer and compute its figures."""
        run, model = RunData(self.plan, self.folder), self.plan.model(job.name)
        for stage in self._stages.values():
            with blaming(stage.name):
                if (frames := stage.tabulate(run, job.name)) is not None:
                    self.folder.write_table(f"{stage.name}/{job.name}", frames)
        found = {}
        for name, stage in self._stages.items():
            with blaming(name):
                if (figures := stage.summarise(run, job.name)) is not None:
                    found[name] = stage.checked(figures)
        summary = RecognizerSummary(
            similarity=model.card.similarity,
            sha256=model.sha256,
            precision=model.precision,
            weighting=getattr(self._explainers[job.name], "weighting", None),
            figures=found,
        )
        return StoredFigures(np.frombuffer(summary.model_dump_json().encode(), dtype=np.uint8))

    def _scene(self, job: Job, batch: ChipBatch) -> Scene:
        explainer = self._explainers[job.name]

        def parsed(parser: str) -> list[Parsing]:
            stage = f"{PARSE}/{parser}/{explainer.recognizer.crop.name}"
            parsings = self.folder.read_shard(Parsings, stage, job.index)
            if parsings is None:
                raise StudyError(f"{self.folder.path}: the parsing by {parser} disappeared")
            start = self.plan.slices[job.index].start
            return [parsings.parsing(subject.position - start) for subject in batch.subjects]

        def read(
            kind: type[S], stage: str, recognizer: str, only: Sequence[str] | None
        ) -> S | None:
            return self.folder.read_shard(kind, f"{stage}/{recognizer}", job.index, only)

        return Scene(
            plan=self.plan,
            index=job.index,
            explainer=explainer,
            batch=batch,
            parsed=parsed,
            read=read,
            others=lambda: self._templates_elsewhere(job),
            density_sum=lambda: self._density_sum(job.name),
            maps_elsewhere=lambda: self._maps_elsewhere(job),
            subset=lambda: self._subset,
            threshold=lambda: self._threshold(job.name),
            over_run=lambda name, function: self._over_run(job.name, name, function),
            recognizers=[model.card.name for model in self.plan.models],
        )

    @cached_property
    def _detector(self) -> Detector:
        settings = self.plan.settings
        crops = {model.card.name: model.card.crop for model in self.plan.models}
        detector = load_detector(settings.detector, crops)
        return RotatingDetector(detector) if settings.rotate == "auto" else detector

    @cached_property
    def _detected(self) -> frozenset[int]:
        """Positions of the pictures with a usable face, before parsing."""
        return frozenset(usable_images(self.plan, self.folder, parsed=False)[0])

    @cached_property
    def _usable(self) -> list[int]:
        return usable_images(self.plan, self.folder)[0]

    @cached_property
    def _loader(self) -> ChipLoader:
        return ChipLoader(self.plan, self.folder, self._usable, ahead=self._alone)

    @cached_property
    def _subset(self) -> frozenset[int]:
        return choose_subset(self.plan, self._usable)

    def _threshold(self, recognizer: str) -> float:
        if recognizer not in self._thresholds:
            self._thresholds[recognizer] = threshold_of(RunData(self.plan, self.folder), recognizer)
        return self._thresholds[recognizer]

    def _over_run(self, recognizer: str, name: str, function: Callable[[RunData], T]) -> T:
        """The result of a function of the whole run for a recognizer; it is computed once."""
        key = recognizer, name
        if key not in self._of_run:
            self._of_run[key] = function(RunData(self.plan, self.folder))
        return cast("T", self._of_run[key])

    def _density_sum(self, recognizer: str) -> NDArray[np.float64]:
        """Sum of the overall maps of all faces, ``(h, w)``."""
        if recognizer not in self._density_sums:
            run = RunData(self.plan, self.folder)
            parts = run.shards(Explained, EXPLAIN, recognizer, ["density_sum"])
            self._density_sums[recognizer] = reduce(np.add, (part.density_sum for part in parts))
        return self._density_sums[recognizer]

    def _maps_elsewhere(self, job: Job) -> Population | None:
        """Maps of people outside a job's slice: for slices with even numbers those of odd ones, and the reverse."""
        key = job.name, (job.index + 1) % 2
        if key not in self._populations:
            self._populations[key] = population_of(RunData(self.plan, self.folder), *key)
        return self._populations[key]

    def _templates_elsewhere(self, job: Job) -> Tensor | None:
        """Templates of the people outside a job's slice; None if there are none."""
        if job.name not in self._templates:
            self._templates[job.name] = {
                index: torch.from_numpy(shard.template)
                for index in range(len(self.plan.slices))
                if (
                    shard := self.folder.read_shard(
                        PersonTemplates, f"{TEMPLATES}/{job.name}", index
                    )
                )
            }
        found = [t for index, t in self._templates[job.name].items() if index != job.index]
        return torch.cat(found) if found else None


def explainer_of(
    recognizer: Recognizer,
    settings: Settings,
    *,
    target: str | None = None,
    calls: int | None = None,
) -> Method:
    """Create the method that explains a recognizer with the settings of a study.

    Args:
        recognizer: The recognizer.
        settings: Names the method, and the settings of ``leam``.
        target: What is explained; by default the study's target.
        calls: See :class:`leam.explain.methods.MethodSettings`.

    Raises:
        InputError: The method cannot explain the recognizer, or not with the target ``self``.
        LayerError: The layer choice does not fit the recognizer.
    """
    if method_named(settings.method).compares and (target or settings.target) == "self":
        raise InputError(
            f"{settings.method}: explains a similarity, not the embedding alone; choose --target template or "
            "contrast, or a pair (leam explain --with)"
        )
    layers = settings.layers[0] if len(settings.layers) == 1 else settings.layers
    chosen = MethodSettings(
        layers=layers,
        weighting=settings.weighting,
        aggregate=settings.aggregate,
        backend=settings.backend,
        calls=calls,
    )
    return create_method(settings.method, recognizer, chosen)


def choose_subset(plan: Plan, positions: Sequence[int]) -> frozenset[int]:
    """Draw the subset of people with the study's seed. Returns the first usable picture of each.

    The people of whole slices are drawn, since some metrics prepare a network once for each slice.

    Args:
        plan: The plan of the study.
        positions: Positions of the usable pictures.
    """
    usable, chosen = set(positions), dict[str, int]()
    for index in seeded("subset", plan.settings.seed).permutation(len(plan.slices)):
        for position in plan.slices[index]:
            if position in usable and len(chosen) < plan.settings.subset:
                chosen.setdefault(plan.images[position].person, position)
    return frozenset(chosen.values())


def population_of(run: RunData, recognizer: str, parity: int) -> Population | None:
    """Maps of up to 100 people with several pictures, from random slices with even or odd numbers.

    Args:
        run: The study, whose maps are stored.
        recognizer: Name of the recognizer.
        parity: 0 for slices with even numbers, 1 for those with odd numbers.

    Returns:
        None if there are too few such people.
    """
    slices = range(parity, len(run.plan.slices), 2)
    order = seeded("population", run.settings.seed).permutation(slices)
    maps: list[Tensor] = []
    people: list[str] = []
    pictures: list[str] = []
    for index in order:
        if len(set(people)) >= _POPULATION:
            break
        fields = ["position", "density", "empty"]
        shard = run.folder.read_shard(Explained, f"{EXPLAIN}/{recognizer}", int(index), fields)
        if shard is None:
            continue
        usable = ~shard.empty[:, 0]
        density = torch.from_numpy(shard.density[usable].astype(np.float32))
        maps.append(density / density.sum(dim=(1, 2), keepdim=True))
        pictures += [str(position) for position in shard.position[usable]]
        people += [run.plan.images[position].person for position in shard.position[usable]]
    several = [person for person in set(people) if people.count(person) > 1]
    return (
        Population.of(torch.cat(maps), people, pictures) if len(several) >= FEWEST_PEOPLE else None
    )


def threshold_of(run: RunData, recognizer: str) -> float:
    """The similarity threshold that best separates genuine from impostor pairs within slices of the study.

    At most 64 slices are used, so that the cost does not grow with the study. NaN if no similarity is finite.
    """
    kind = run.plan.model(recognizer).card.similarity
    scores, genuine = [], []
    for index, _ in enumerate(run.plan.slices[:_THRESHOLD_SLICES]):
        explained = run.folder.read_shard(
            Explained, f"{EXPLAIN}/{recognizer}", index, ["position", "embedding"]
        )
        if explained is None:
            continue
        embeddings = torch.from_numpy(explained.embedding)
        people = np.array([run.plan.images[position].person for position in explained.position])
        first, second = np.triu_indices(len(people), 1)
        scores.append(similarity(embeddings[first], embeddings[second], kind).double().numpy())
        genuine.append(people[first] == people[second])
    values, truth = np.concatenate(scores), np.concatenate(genuine)
    known = np.isfinite(values)
    return best_threshold(values[known], truth[known]) if known.any() else float("nan")


def _of_maps(stages: Sequence[Stage[Shard]], scene: Scene) -> list[list[Shard]]:
    """The shards of stages that are computed from maps, by batch, in one pass over the faces."""
    parts: list[list[Shard]] = [[] for _ in stages]
    for batch in scene.maps() if stages else ():
        for stage, found in zip(stages, parts, strict=True):
            with blaming(stage.name):
                part = stage.of_maps(batch)
                if part is None:
                    raise TypeError("of_maps returns nothing for a batch of maps")
                found.append(part)
    return parts

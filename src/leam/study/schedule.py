"""The schedule of a study: jobs that depend only on the plan and on earlier phases."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from itertools import product
from typing import Final, Literal

from leam.errors import PluginError
from leam.results.shards import Shard
from leam.study.plan import Plan
from leam.study.preparation import DETECT, PARSE, Detections, Parsings, parsings_of
from leam.study.stage import PHASES, Phase, Stage, stages_of
from leam.study.store import RunFolder

SUMMARISE: Final = "summarise"

Kind = Literal["detect", "parse", "embed", "explain", "compare", "summarise"]


@dataclass(frozen=True, slots=True)
class Job:
    """Work of one kind on one slice of faces, or on all shards of one recognizer.

    Attributes:
        kind: A phase, or a kind of work before or after the phases.
        name: A recognizer, or a parser and a crop; empty for detection.
        index: The slice. For a summary, the recognizer's position in the plan.
        stages: The stages whose shards are missing; empty for kinds without stages.
    """

    kind: Kind
    name: str
    index: int
    stages: tuple[str, ...] = ()

    @property
    def shard(self) -> str:
        """The folder of the shard, for a kind without stages."""
        return f"{self.kind}/{self.name}" if self.name else self.kind


@dataclass(frozen=True)
class Step:
    """Jobs that can run in any order once the previous steps are finished.

    Attributes:
        kind: The kind of the jobs.
        title: Text of the progress bar.
        jobs: The jobs, ordered by slice so that the pictures of a slice are read only once.
    """

    kind: Kind
    title: str
    jobs: Sequence[Job]


def steps(plan: Plan) -> Iterator[Step]:
    """All work of a study, in order. Yields one step at a time, since a large study has millions of jobs."""
    recognizers = [model.card.name for model in plan.models]
    yield _step(DETECT, "finding faces", [""], plan)
    yield _step(PARSE, "parsing", parsings_of(plan), plan)
    for phase, title in PHASES.items():
        if stages := [stage.name for stage in stages_in(plan, phase)]:
            yield _step(phase, title, recognizers, plan, tuple(stages))
    jobs = [Job(SUMMARISE, name, place) for place, name in enumerate(recognizers)]
    yield Step(SUMMARISE, "computing figures", jobs)


def stages_in(plan: Plan, phase: Phase) -> list[Stage[Shard]]:
    """The stages of a phase that store shards, sorted so that each follows the stages it needs."""
    found = {stage.name: stage for stage in stages_of(plan) if stage.shard and stage.phase == phase}
    order = TopologicalSorter(
        {name: [need for need in stage.needs if need in found] for name, stage in found.items()}
    )
    try:
        return [found[name] for name in order.static_order()]
    except CycleError as error:
        raise PluginError(f"the stages {', '.join(error.args[1])} need each other") from None


def missing(
    folder: RunFolder,
    job: Job,
    stages: Mapping[str, Stage[Shard]],
    recognizers: list[str],
    log: Callable[[str], None] | None = None,
) -> Job | None:
    """The part of a job that is not done yet; None if it is finished.

    Figures are always recomputed, since the tables beside them may be incomplete.

    Args:
        folder: The study's folder.
        job: The job.
        stages: The study's stages by name.
        recognizers: Names of the recognizers that have not failed.
        log: Called with a line for each damaged shard; by default, the line is added to the run's log.
    """
    log = log or folder.log
    if job.kind == SUMMARISE:
        return job
    if job.kind in {DETECT, PARSE}:
        kind: type[Shard] = Detections if job.kind == DETECT else Parsings
        return None if _is_done(folder, kind, job.shard, job.index, log) else job
    todo = tuple(
        name for name in job.stages if not _is_current(folder, stages[name], job, recognizers, log)
    )
    return replace(job, stages=todo) if todo else None


def _is_current(
    folder: RunFolder,
    stage: Stage[Shard],
    job: Job,
    recognizers: list[str],
    log: Callable[[str], None],
) -> bool:
    kind, name = stage.shard or Shard, f"{stage.name}/{job.name}"
    if (shard := folder.read_shard(kind, name, job.index)) is not None:
        return stage.is_current(shard, recognizers)
    # It is damaged or missing, or its slice has no usable face.
    return _is_done(folder, kind, name, job.index, log)


def _is_done(
    folder: RunFolder, kind: type[Shard], stage: str, index: int, log: Callable[[str], None]
) -> bool:
    done = folder.has_shard(kind, stage, index)
    if not done and folder.shard(stage, index).exists():
        why = "damaged, or includes a picture that was lost" if folder.lost() else "damaged"
        log(f"shard {stage}/{index}: {why}; computed again")
    return done


def _step(
    kind: Kind, title: str, names: Sequence[str], plan: Plan, stages: tuple[str, ...] = ()
) -> Step:
    slices = range(len(plan.slices))
    jobs = [Job(kind, name, index, stages) for index, name in product(slices, names)]
    return Step(kind, title, jobs)

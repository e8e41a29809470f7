"""Run a study: plan it, do what is not yet done, and sum it up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from leam.errors import InputError, StudyError
from leam.faces.people import Sample
from leam.metrics.controls import CONTROLS
from leam.metrics.fills import FILLS
from leam.parsers import PARSERS
from leam.recognizers.recognizer import Recognizer
from leam.study.engines import Done, Engine, LocalEngine
from leam.study.jobs import Job, Kind, Progress, phases
from leam.study.plan import Plan, PlannedModel, Settings, installed_versions, planned_images
from leam.study.skipped import FACES, PARSING, usable
from leam.study.store import RunFolder
from leam.study.summary import read_figures, summarise
from leam.study.tables import write_faces_table
from leam.study.worker import Worker, explainer_of
from leam.files import sha256_of

EngineMaker = Callable[[Plan, RunFolder, Sequence[Recognizer]], Engine]
"""Makes what does a study's jobs."""


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
    for name in (settings.fill, *settings.fills):
        _check_known(name, FILLS)
    _check_known(settings.parser, PARSERS)
    if settings.second_parser:
        _check_known(settings.second_parser, PARSERS)
    for name in settings.baselines:
        _check_known(name, CONTROLS)
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
    engine: EngineMaker | None = None,
) -> None:
    """Do a study, or what is left of it: shards, tables and ``summary.json``.

    Each process works in one thread, so that no byte depends on how many threads share a sum; several cores are used
    by an engine of several processes. A recognizer that fails is named in ``log.txt`` and under ``failed`` in the
    summary, and the others go on; the same call tries it again.

    Args:
        plan: What to do.
        recognizers: Those of the plan, in its order.
        folder: Where. A study that was stopped goes on from what is finished.
        restart: Throw away another study's work in the folder.
        progress: Told how far the work is.
        engine: Makes what does the jobs; by default they are done in this process.

    Raises:
        StudyError: The folder is in use, holds another study, or cannot be written; no picture can be used; or every
            recognizer failed.
        LayerError: A layer choice does not fit one of the recognizers.
    """
    tell = progress or (lambda _what, _done, _all: None)
    for recognizer in recognizers:
        explainer_of(recognizer, plan.settings)
    with folder.locked(), _one_thread():
        folder.start(plan, restart=restart)
        failed = _do_all(plan, folder, recognizers, engine or _local, tell)
        sound = plan.only({m.card.name for m in plan.models} - failed.keys())
        if not sound.models:
            raise StudyError(
                f"every recognizer failed; {folder.path}/log.txt says why: {next(iter(failed.values()))}"
            )
        write_faces_table(sound, folder)
        figures = {
            model.card.name: read_figures(folder, model.card.name, place)
            for place, model in enumerate(plan.models)
            if model in sound.models
        }
        summarise(sound, folder, figures, failed, tell)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Work in one thread inside the block; as many as before after it, also after an exception."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _do_all(
    plan: Plan,
    folder: RunFolder,
    recognizers: Sequence[Recognizer],
    make: EngineMaker,
    tell: Progress,
) -> dict[str, str]:
    """Do all jobs that are not done yet; which recognizers failed, and why."""
    failed: dict[str, str] = {}
    engine = make(plan, folder, recognizers)
    try:
        for phase in phases(plan):
            wanted = (job for job in phase.jobs if job.name not in failed)
            todo = list(_unfinished(plan, folder, wanted, failed))
            finished = len(phase.jobs) - len(todo)
            tell(phase.title, finished, len(phase.jobs))
            for done in engine.run(job for job in todo if job.name not in failed):
                finished += 1
                tell(phase.title, finished, len(phase.jobs))
                if done.fault:
                    _note(folder, failed, done)
            tell(phase.title, len(phase.jobs), len(phase.jobs))
            _check_people(plan, folder, phase.jobs[0].kind)
    finally:
        engine.close()
    return failed


def _note(folder: RunFolder, failed: dict[str, str], done: Done) -> None:
    """Remember a recognizer's failure, once."""
    if done.job.kind in {FACES, PARSING}:
        raise StudyError(f"{done.job.stage}: {done.fault}")
    if done.job.name not in failed:
        failed[done.job.name] = f"{done.job.kind}: {done.fault}"
        folder.log(f"model {done.job.name}: {failed[done.job.name]}; its figures are left out")


def _unfinished(
    plan: Plan, folder: RunFolder, jobs: Iterable[Job], failed: dict[str, str]
) -> Iterator[Job]:
    """The jobs whose shard is missing, damaged, or made without a recognizer that has worked since.

    Figures are computed anew: the tables beside them are not known to be whole.
    """
    sources = [model.card.name for model in plan.models if model.card.name not in failed]
    for job in jobs:
        arrays = folder.read_shard(job.stage, job.index)
        if arrays is None:
            if folder.shard(job.stage, job.index).exists():
                folder.log(f"shard {job.stage}/{job.index}: damaged; done again")
            yield job
        elif job.kind == "figures" or (
            "sources" in arrays and arrays["sources"].tolist() != sources
        ):
            yield job


def _check_people(plan: Plan, folder: RunFolder, kind: Kind) -> None:
    """Stop where nobody is left to compare; log what was skipped, once it is known."""
    if kind not in {FACES, PARSING}:
        return
    positions, skipped = usable(plan, folder, parsed=kind == PARSING)
    if kind == PARSING or not positions:
        for one in skipped:
            folder.log(f"picture {one.image}: {one.reason}")
    if not positions:
        raise StudyError(
            f"{plan.source}: no person with two usable pictures; {folder.path}/log.txt says why"
        )


def _local(plan: Plan, folder: RunFolder, recognizers: Sequence[Recognizer]) -> Engine:
    return LocalEngine(Worker(plan, folder, recognizers, alone=True))


def _check_known(name: str, known: Iterable[str]) -> None:
    if name not in known:
        raise InputError(f"{name}: unknown; known are {', '.join(known)}")


def _hash(path: Path) -> str | None:
    try:
        return sha256_of(path)
    except OSError:
        return None

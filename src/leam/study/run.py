"""Run a study: plan it, do the missing work, and write the summary."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TypeVar, cast

import torch

from leam.errors import ImageError, InputError, StudyError
from leam.explain.aggregates import AGGREGATES
from leam.explain.backends import BACKENDS
from leam.explain.explainer import DEFAULT_WEIGHTING
from leam.explain.methods import METHODS
from leam.explain.person import PERSON_MAPS
from leam.explain.weightings import WEIGHTINGS
from leam.faces.detectors import DETECTORS, load_detector, takes_crops
from leam.faces.people import Pair, Sample
from leam.faces.reading import hash_picture
from leam.files import read_json
from leam.metrics.controls import CONTROLS
from leam.metrics.fills import FILLS
from leam.parsers import PARSERS
from leam.parsers.parsing import unchecked_weights
from leam.plugins import Registry
from leam.progress import Progress, silent
from leam.recognizers.architectures import ARCHITECTURES
from leam.recognizers.recognizer import Recognizer
from leam.results.summary import Exclusion
from leam.study.chips import PicturesLostError
from leam.study.engine import ENGINES, Done, Engine, EngineOptions
from leam.study.plan import Plan, PlannedImage, PlannedModel, Settings, copy_notes, planned_images
from leam.study.preparation import DETECT, PARSE, notes_of, usable_images
from leam.study.schedule import SUMMARISE, Job, Kind, missing, steps
from leam.study.stage import STAGES, stages_of
from leam.study.store import CHANGED, LostPicture, RunFolder
from leam.study.summary import write_faces_table, write_summary
from leam.study.worker import explainer_of
from leam.version import installed_versions

T = TypeVar("T")
S = TypeVar("S", Sample, PlannedImage)

# Pictures are hashed in blocks by several threads, which wait for the disk in turn. So many blocks are in work.
_THREADS, _BLOCK, _BLOCKS = 4, 50, 16


def plan_study(
    source: str,
    samples: Sequence[Sample],
    recognizers: Sequence[Recognizer],
    settings: Settings | None = None,
    *,
    exclusions: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
    pairs: Sequence[Pair] = (),
    progress: Progress = silent,
) -> Plan:
    """Create the plan of a study. Reads and hashes all its pictures.

    Args:
        source: The folder or table of the pictures, as named in outputs.
        samples: The pictures. A deque is emptied while the plan is made, since a large data set takes as much memory as
            its plan.
        recognizers: The recognizers, each with a unique name.
        settings: The settings; defaults if omitted.
        exclusions: Why other files of the source are not used, by name.
        notes: How the source was read.
        pairs: The pictures that an audit compares; every two if omitted.
        progress: Progress callback.

    Raises:
        InputError: Two recognizers have the same name, a setting names something that does not exist, or the faces are
            aligned already and the recognizers need differently aligned ones.
    """
    settings = settings or Settings()
    names = [recognizer.name for recognizer in recognizers]
    if not names or len(set(names)) < len(names):
        raise InputError(
            f"recognizers {', '.join(names) or 'none'}: expected at least one, each with a unique name"
        )
    if takes_crops(settings.detector):
        load_detector(settings.detector, {one.name: one.crop for one in recognizers})
    if settings.audit and settings.target != "self":
        raise InputError(f"target {settings.target}: an audit explains only the target self")
    columns = {column for sample in samples for column in sample.groups}
    for column in settings.groups:
        if column not in columns:
            raise InputError(
                f"group {column}: no such column; available: {', '.join(sorted(columns)) or 'none'}"
            )
    each = _emptied(samples) if isinstance(samples, deque) else samples
    images = planned_images(_hashed(each, len(samples), progress))
    plan = Plan(
        versions=installed_versions(),
        source=source,
        settings=settings,
        models=tuple(
            PlannedModel(card=r.card.public, sha256=r.sha256, precision=r.precision)
            for r in recognizers
        ),
        images=images,
        exclusions=tuple(Exclusion(image=a, reason=b) for a, b in (exclusions or {}).items()),
        notes=(*notes, *copy_notes(images), *_unchecked(recognizers, settings)),
        pairs=_positions(pairs, images),
    )
    return plan.model_copy(update={"plugins": _plugins(plan)})


def _unchecked(recognizers: Sequence[Recognizer], settings: Settings) -> list[str]:
    """The models whose weights are not compared with a published checksum, in sentences."""
    parsers = filter(None, (settings.parser, settings.second_parser))
    cards = [text for one in recognizers for text in one.card.unchecked]
    return [*cards, *(text for name in parsers for text in unchecked_weights(name))]


def _emptied(samples: deque[Sample]) -> Iterator[Sample]:
    while samples:
        yield samples.popleft()


def _positions(
    pairs: Sequence[Pair], images: Sequence[PlannedImage]
) -> tuple[tuple[int, int], ...]:
    """The positions of pairs of pictures; pairs with a picture that is not part of the study are left out."""
    position = {image.image: number for number, image in enumerate(images)} if pairs else {}
    return tuple(
        (position[pair.left], position[pair.right])
        for pair in pairs
        if pair.left in position and pair.right in position
    )


def run_study(
    plan: Plan,
    recognizers: Sequence[Recognizer],
    folder: RunFolder,
    *,
    restart: bool = False,
    exclude_changed: bool = False,
    begin: Callable[[Plan], None] | None = None,
    progress: Progress = silent,
    engine: str = "local",
    options: EngineOptions | None = None,
) -> bool:
    """Run a study, or the rest of it: write shards, tables and ``summary.json``.

    Each process uses one thread, so that the results do not depend on the number of threads. An engine with several
    processes uses several cores. If a recognizer fails, it is recorded in ``log.txt`` and in the summary's ``failed``,
    and the study continues with the others. Running the same study again retries it. A picture that vanishes or changes
    while the study runs is excluded, and what was computed with it is computed again.

    Args:
        plan: The plan of the study.
        recognizers: The recognizers of the plan, in its order.
        folder: The run folder. An interrupted study resumes from the finished work.
        restart: Discard the work of another study in the folder.
        exclude_changed: Exclude pictures that have changed or vanished since the study in the folder began.
        begin: Called with the plan before the work begins, if there is any.
        progress: Progress callback.
        engine: Engine that runs the jobs; see :data:`leam.study.engine.ENGINES`.
        options: Options of the engine.

    Returns:
        False if the study in the folder was finished already, so that there was nothing to do.

    Raises:
        InputError: A recognizer or an installed version does not match the plan, or the engine or one of its options
            does not exist.
        StudyError: The folder is in use, holds another study, or cannot be written; no picture can be used; or every
            recognizer failed.
        LayerError: The layer choice does not fit one of the recognizers.
    """
    _check_versions(plan)
    _check_recognizers(plan, recognizers)
    make = ENGINES[engine]
    for recognizer in recognizers:
        explainer_of(recognizer, plan.settings)
    with folder.locked(), _one_thread():
        # A study that is resumed keeps its plan, also if its pictures have changed.
        plan = folder.start(plan, restart=restart, exclude_changed=exclude_changed).model_copy(
            update={"exclusions": plan.exclusions, "notes": plan.notes}
        )
        if is_finished(plan, folder):
            return False
        failed: dict[str, str] = {}
        while True:
            workers = make(plan, folder, recognizers, options or EngineOptions())
            try:
                _check_pairs(plan)
                if begin:
                    begin(plan)
                # Once is enough, also if pictures are lost.
                begin = None
                _do_all(plan, folder, workers, failed, progress)
                break
            except PicturesLostError as error:
                _exclude(plan, folder, error.pictures, progress)
            finally:
                workers.close()
        if len(failed) == len(plan.models):
            raise StudyError(
                f"every recognizer failed; {folder.path}/log.txt says why: {next(iter(failed.values()))}"
            )
        # Of workers that were killed.
        folder.clear_parts()
        write_faces_table(plan, folder)
        write_summary(plan, folder, failed, progress)
        return True


def is_finished(plan: Plan, folder: RunFolder) -> bool:
    """Whether all work of a study is done, its files are as they were written, and no recognizer failed."""
    try:
        folder.verify()
        summary = read_json(folder.path / "summary.json")
        failed, found = summary["failed"], (summary["exclusions"], summary["notes"])
        exclusions = [one.model_dump() for one in usable_images(plan, folder)[1]]
    except (StudyError, OSError, ValueError, LookupError, TypeError):
        return False
    # Other files may have come into the data set.
    if found != (exclusions, notes_of(plan, folder)):
        return False
    steps_with_shards = (step for step in steps(plan) if step.kind != SUMMARISE)
    return not failed and not any(
        next(_unfinished(plan, folder, step.jobs, {}, lambda _: None), None)
        for step in steps_with_shards
    )


def _check_versions(plan: Plan) -> None:
    """Reject a plan made with other versions, since the outputs would name the wrong ones."""
    planned, here = plan.versions | plan.plugins, installed_versions() | _plugins(plan)
    for name in {**planned, **here}:
        if planned.get(name) != here.get(name):
            raise InputError(
                f"{name}: version {here.get(name)}, but the plan has {planned.get(name)}; plan the study again"
            )


def _check_recognizers(plan: Plan, recognizers: Sequence[Recognizer]) -> None:
    """Reject recognizers that differ from the plan, since the outputs would name the wrong ones."""
    if [one.name for one in recognizers] != [model.card.name for model in plan.models]:
        raise InputError(
            f"recognizers {', '.join(one.name for one in recognizers)}: the plan has "
            f"{', '.join(model.card.name for model in plan.models)}, in this order"
        )
    for recognizer, model in zip(recognizers, plan.models, strict=True):
        if recognizer.card.public != model.card:
            raise InputError(
                f"{recognizer.name}: its card differs from the plan; plan the study again"
            )
        if recognizer.precision != model.precision:
            raise InputError(
                f"{recognizer.name}: computes with {recognizer.precision}, but the plan has "
                f"{model.precision}; plan the study again"
            )
        if recognizer.sha256 != model.sha256:
            raise InputError(
                f"{recognizer.name}: its weights have sha256 {recognizer.sha256}, but the plan has "
                f"{model.sha256}; plan the study again"
            )


@contextmanager
def _one_thread() -> Iterator[None]:
    """Use one thread inside the block, and restore the number of threads afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _do_all(
    plan: Plan, folder: RunFolder, engine: Engine, failed: dict[str, str], progress: Progress
) -> None:
    """Run all jobs that are not done yet, and add the reason for each failed recognizer.

    Raises:
        PicturesLostError: Pictures vanished or changed.
    """
    for step in steps(plan):
        todo = list(_unfinished(plan, folder, step.jobs, failed, folder.log))
        finished = len(step.jobs) - len(todo)
        progress(step.title, finished, len(step.jobs))
        for done in engine.run(job for job in todo if job.name not in failed):
            finished += 1
            progress(step.title, finished, len(step.jobs))
            if done.device:
                folder.add_device(done.job.name, done.device)
            if done.lost:
                raise PicturesLostError(done.lost)
            if done.fault:
                _note(folder, failed, done)
        progress(step.title, len(step.jobs), len(step.jobs))
        _check_people(plan, folder, step.kind)


def _exclude(
    plan: Plan, folder: RunFolder, pictures: Sequence[LostPicture], progress: Progress
) -> None:
    """Exclude lost pictures. All others are checked too, so that work is not repeated for each of many lost ones."""
    lost = {one.position: one for one in pictures}
    found = _hashed(plan.images, len(plan.images), progress)
    for position, (image, digest) in enumerate(found):
        if digest != image.sha256:
            reason = "vanished, or can no longer be read" if digest is None else CHANGED
            lost.setdefault(position, LostPicture(position, reason))
    folder.add_lost(plan, lost.values())


def _note(folder: RunFolder, failed: dict[str, str], done: Done) -> None:
    """Record the first failure of a recognizer."""
    if done.job.kind in {DETECT, PARSE}:
        raise StudyError(f"{done.job.shard}: {done.fault}")
    if done.job.name not in failed:
        failed[done.job.name] = f"{done.job.kind}: {done.fault}"
        folder.log(f"recognizer {done.job.name}: {failed[done.job.name]}; its figures are left out")


def _unfinished(
    plan: Plan,
    folder: RunFolder,
    jobs: Iterable[Job],
    failed: dict[str, str],
    log: Callable[[str], None],
) -> Iterator[Job]:
    """The parts of these jobs that are missing, damaged, or computed without a recognizer that now works."""
    working = [model.card.name for model in plan.models if model.card.name not in failed]
    stages = {stage.name: stage for stage in stages_of(plan)}
    for job in jobs:
        if job.name not in failed and (todo := missing(folder, job, stages, working, log)):
            yield todo


def _check_people(plan: Plan, folder: RunFolder, kind: Kind) -> None:
    """Stop the study if no usable person is left. Log the exclusions once they are known."""
    if kind not in {DETECT, PARSE}:
        return
    positions, exclusions = usable_images(plan, folder, parsed=kind == PARSE)
    if kind == PARSE or not positions:
        for one in exclusions:
            folder.log(f"picture {one.image}: {one.reason}")
    if not positions:
        reason, count = Counter(one.reason for one in exclusions).most_common(1)[0]
        raise StudyError(
            f"{plan.source}: no person with two usable pictures; {count} of {len(exclusions)}: {reason}; "
            f"{folder.path}/log.txt says why of each"
        )


def _check_pairs(plan: Plan) -> None:
    """Stop the study before it begins if nobody has two pictures."""
    if len({image.person for image in plan.images}) == len(plan.images):
        raise StudyError(
            f"{plan.source}: no person with two usable pictures; "
            "similarities are those of pictures of the same person"
        )


def _plugins(plan: Plan) -> dict[str, str]:
    """The plug-ins that a study uses, by what they add. Unknown names are rejected.

    Raises:
        InputError, ModelError: A setting names something that does not exist.
    """
    settings = plan.settings
    parsers = [settings.parser, *([settings.second_parser] if settings.second_parser else [])]
    used: list[tuple[Registry[object], str]] = [
        *_named(DETECTORS, [settings.detector]),
        *_named(PARSERS, parsers),
        *_named(METHODS, [settings.method]),
        *_named(WEIGHTINGS, {settings.weighting} - {DEFAULT_WEIGHTING}),
        *_named(AGGREGATES, [settings.aggregate]),
        *_named(BACKENDS, [settings.backend]),
        *_named(FILLS, [settings.fill, *settings.fills]),
        *_named(CONTROLS, [*settings.controls, *settings.curve_controls]),
        *_named(PERSON_MAPS, settings.person_maps),
        *_named(STAGES, [stage.name for stage in stages_of(plan)]),
    ]
    found = {f"{registry.kind} {name}": registry.origin(name) for registry, name in used}
    for model in plan.models:
        # A module in memory has no architecture to look up.
        if (name := model.card.architecture) in ARCHITECTURES:
            found[f"architecture {name}"] = ARCHITECTURES.origin(name)
    return {what: origin for what, origin in found.items() if origin != "leam"}


def _named(registry: Registry[T], names: Iterable[str]) -> Iterator[tuple[Registry[object], str]]:
    """Pair each name with its registry.

    Raises:
        LeamError: A name is unknown.
    """
    for name in names:
        if name not in registry:
            registry[name]
        yield cast("Registry[object]", registry), name


def _hashed(samples: Iterable[S], total: int, progress: Progress) -> Iterator[tuple[S, str | None]]:
    """Pictures with their SHA-256; None for those that cannot be read. Reading is faster in several threads."""
    each, done = iter(samples), 0
    waiting: deque[tuple[list[S], Future[list[str | None]]]] = deque()
    threads = ThreadPoolExecutor(_THREADS)
    try:
        while True:
            while len(waiting) < _BLOCKS and (block := list(islice(each, _BLOCK))):
                waiting.append((block, threads.submit(_hash, block)))
            if not waiting:
                return
            block, hashes = waiting.popleft()
            yield from zip(block, hashes.result(), strict=True)
            done += len(block)
            progress("reading pictures", done, total)
    finally:
        # Nobody waits for the other blocks if the user interrupts.
        threads.shutdown(cancel_futures=True)


def _hash(samples: Sequence[Sample | PlannedImage]) -> list[str | None]:
    hashes: list[str | None] = []
    for sample in samples:
        try:
            hashes.append(hash_picture(Path(sample.path), sample.member))
        except ImageError:
            hashes.append(None)
    return hashes

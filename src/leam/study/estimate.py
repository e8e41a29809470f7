"""What a study is going to do, and roughly how long it takes and how much it writes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from math import prod

import numpy as np

from leam.errors import LeamError
from leam.explain.methods import LEAM
from leam.recognizers.recognizer import Recognizer
from leam.study.plan import Plan
from leam.study.preparation import DETECT, PARSE
from leam.study.schedule import SUMMARISE, steps
from leam.study.stage import stages_of
from leam.study.store import RunFolder

# Measured in studies of 2 and 6 people with 2 pictures each (0.2 megapixels) by dlib_resnet, on one core: seconds to
# find and parse a face, and to write tables, figures and the report.
_FACE_SECONDS, _END_SECONDS = 0.1, 3.0
# In passes of one face through the network: the work for each picture, what ``effect`` adds to it, and the work for
# each person of the subset.
_PICTURE_PASSES, _EFFECT_PASSES, _SUBSET_PASSES = 6.0, 9.0, 140.0
# Bytes of shards and tables for each picture and recognizer, for each pixel of the aligned face; and of all else.
_PIXEL_BYTES, _OTHER_BYTES = 11.0, 2e6
_UNITS = ((3600.0, "h"), (60.0, "min"), (1.0, "s"))


def outline(plan: Plan) -> str:
    """One line that says what a study does: its people, pictures, recognizers and stages."""
    people = len({image.person for image in plan.images})
    names = ", ".join(model.card.name for model in plan.models)
    stages = ", ".join(stage.name for stage in stages_of(plan))
    return (
        f"people: {people}, pictures: {len(plan.images)}, recognizers: {len(plan.models)} ({names}); "
        f"stages: detect, parse, {stages}"
    )


def estimate(
    plan: Plan, recognizers: Sequence[Recognizer], processes: int, folder: RunFolder
) -> str:
    """One line that says roughly how long the rest of a study takes and how much it writes.

    Each network is timed on one blank face; the number of passes of each picture and the size of shards are constants
    that were measured once. The study may well take three times as long, or a third. Of a study that is resumed, the
    shards that are missing count, each as much as any other.

    Args:
        plan: The plan of the study.
        recognizers: Its recognizers.
        processes: Number of processes that share the work.
        folder: The run folder.
    """
    found, work = part_left(plan, folder, faces=True), part_left(plan, folder, faces=False)
    pixels = work * sum(prod(one.crop.size) for one in recognizers) * len(plan.images)
    disk = f"{(_PIXEL_BYTES * pixels + _OTHER_BYTES) / 1e6:.0f} MB"
    if plan.settings.method != LEAM:
        return f"estimate: {disk} of disk space; no estimate of the time for {plan.settings.method}"
    try:
        of_one_pass = sum(_pass_seconds(one) for one in recognizers)
        seconds = _seconds(plan, found, work * of_one_pass, processes)
    except (LeamError, RuntimeError):
        # It will be recorded as failed.
        return f"estimate: {disk} of disk space; no estimate of the time, since a recognizer failed"
    return (
        f"estimate: {_rounded(seconds)} and {disk} of disk space, from one timed pass of each network; "
        "the time may be three times as long, or a third"
    )


def part_left(plan: Plan, folder: RunFolder, *, faces: bool) -> float:
    """The part of a study's shards that are missing, 0-1.

    Args:
        plan: The plan of the study.
        folder: The run folder.
        faces: Of the shards of finding and parsing faces, instead of those of recognizers.
    """
    shards = [
        folder.shard(name, job.index).exists()
        for step in steps(plan)
        if step.kind != SUMMARISE and (step.kind in {DETECT, PARSE}) == faces
        for job in step.jobs
        for name in ([job.shard] if faces else [f"{stage}/{job.name}" for stage in job.stages])
    ]
    return 1 - sum(shards) / len(shards)


def _seconds(plan: Plan, faces: float, of_one_pass: float, processes: int) -> float:
    settings = plan.settings
    people = len({image.person for image in plan.images})
    passes = _PICTURE_PASSES + (_EFFECT_PASSES if settings.effect else 0)
    passes = passes * len(plan.images) + _SUBSET_PASSES * min(settings.subset, people)
    shared = min(processes, len(plan.slices))
    finding = faces * _FACE_SECONDS * len(plan.images)
    return (finding + passes * of_one_pass) / shared + _END_SECONDS


def _pass_seconds(recognizer: Recognizer) -> float:
    """Seconds of the second pass of a blank face; the first one may prepare the network."""
    blank = np.zeros((1, *recognizer.crop.size, 3), dtype=np.uint8)
    recognizer.embed(blank)
    began = time.perf_counter()
    recognizer.embed(blank)
    return time.perf_counter() - began


def _rounded(seconds: float) -> str:
    size, unit = next((one for one in _UNITS if seconds >= 2 * one[0]), _UNITS[-1])
    return f"about {max(seconds / size, 1):.0f} {unit}"

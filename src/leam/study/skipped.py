"""Which pictures a study can use, and why not the others."""

from __future__ import annotations

from dataclasses import dataclass

from leam.errors import StudyError
from leam.study.jobs import parsings
from leam.study.plan import Plan
from leam.study.store import RunFolder

FACES = "faces"
PARSING = "parsing"


@dataclass(frozen=True)
class Skipped:
    """A picture that a study could not use, and why."""

    image: str
    reason: str


def usable(
    plan: Plan, folder: RunFolder, *, parsed: bool = True
) -> tuple[list[int], list[Skipped]]:
    """Positions of the pictures a study can use, and the others with their reasons.

    Args:
        plan: The study.
        folder: Its folder.
        parsed: Leave out also what a parser failed on; without, only the search for faces counts.

    Raises:
        StudyError: The faces have not been searched, or not been parsed yet.
    """
    reasons = _reasons(plan, folder, FACES)
    _leave_alone(plan, reasons)
    if parsed:
        for name in parsings(plan):
            for position, reason in enumerate(_reasons(plan, folder, f"{PARSING}/{name}")):
                reasons[position] = reasons[position] or reason
        _leave_alone(plan, reasons)
    skipped = [
        Skipped(i.image, reason) for i, reason in zip(plan.images, reasons, strict=True) if reason
    ]
    return [position for position, reason in enumerate(reasons) if not reason], skipped


def _reasons(plan: Plan, folder: RunFolder, stage: str) -> list[str]:
    """For each picture why a stage could not use it, empty where it could."""
    reasons: list[str] = []
    for index, _ in enumerate(plan.slices):
        arrays = folder.read_shard(stage, index, ["reason"])
        if arrays is None:
            raise StudyError(
                f"{folder.path}: the study is not finished; run it again with the same command"
            )
        reasons.extend(str(reason) for reason in arrays["reason"])
    return reasons


def _leave_alone(plan: Plan, reasons: list[str]) -> None:
    """Leave out the pictures of people who have only one: nothing can be compared with it."""
    counts: dict[str, int] = {}
    for image, reason in zip(plan.images, reasons, strict=True):
        counts[image.person] = counts.get(image.person, 0) + (not reason)
    for position, image in enumerate(plan.images):
        if not reasons[position] and counts[image.person] == 1:
            reasons[position] = f"the only usable picture of {image.person}"

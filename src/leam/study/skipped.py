"""Which pictures a study can use, and why not the others."""

from __future__ import annotations

from dataclasses import dataclass

from leam.errors import StudyError
from leam.study.plan import Plan
from leam.study.store import RunFolder

FACES = "faces"


@dataclass(frozen=True)
class Skipped:
    """A picture that a study could not use, and why."""

    image: str
    reason: str


def usable(plan: Plan, folder: RunFolder) -> tuple[list[int], list[Skipped]]:
    """Positions of the pictures a study can use, and the others with their reasons.

    Raises:
        StudyError: The faces have not been searched yet.
    """
    reasons: list[str] = []
    for index, _ in enumerate(plan.slices):
        arrays = folder.read_shard(FACES, index)
        if arrays is None:
            raise StudyError(
                f"{folder.path}: the study is not finished; run it again with the same command"
            )
        reasons.extend(str(reason) for reason in arrays["reason"])
    counts: dict[str, int] = {}
    for image, reason in zip(plan.images, reasons, strict=True):
        counts[image.person] = counts.get(image.person, 0) + (not reason)
    for position, image in enumerate(plan.images):
        if not reasons[position] and counts[image.person] == 1:
            reasons[position] = f"the only usable picture of {image.person}"
    skipped = [
        Skipped(i.image, reason) for i, reason in zip(plan.images, reasons, strict=True) if reason
    ]
    return [position for position, reason in enumerate(reasons) if not reason], skipped

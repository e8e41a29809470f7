"""A face of a study and whose it is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Subject:
    """A face of the study.

    Attributes:
        position: Of its picture in the plan.
        person: Whose it is.
        image: The picture's name.
    """

    position: int
    person: str
    image: str

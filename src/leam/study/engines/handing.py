"""Slices handed out to processes that may die, and handed out again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Collection, Hashable, Iterable, Iterator
from itertools import groupby
from typing import ClassVar, Generic, TypeVar

from leam.study.engines.engine import Done
from leam.study.jobs import Job

Task = TypeVar("Task", bound=Hashable)
"""What an engine knows a slice by while it is being done."""


class HandingEngine(ABC, Generic[Task]):
    """Does jobs in other processes, a slice at a time each; what a process died over is handed out again, job by job.

    An engine of this kind says how a slice is handed out, how many may be, and what became of one.
    """

    tries: ClassVar[int]
    """How often a job is handed out before it counts as a fault."""

    def __init__(self) -> None:
        self._running: dict[Task, tuple[list[Job], int]] = {}

    def run(self, jobs: Iterable[Job]) -> Iterator[Done]:
        """Do the jobs; those of one slice by one process, so that its pictures are read once."""
        slices = ((list(group), 0) for _, group in groupby(jobs, key=lambda job: job.index))
        again: deque[tuple[list[Job], int]] = deque()
        while True:
            while len(self._running) < self._room():
                part, tries = again.popleft() if again else next(slices, ([], 0))
                if not part:
                    break
                self._running[self._submit(part)] = (part, tries + 1)
            if not self._running:
                return
            task = self._first(self._running)
            part, tries = self._running.pop(task)
            found = self._result(task)
            if isinstance(found, list):
                yield from found
            elif tries < self.tries:
                # Each job by itself, so that one that always kills its process takes no other with it.
                again.extend(([job], tries) for job in part)
            else:
                yield from (Done(job, f"{found}, {tries} times") for job in part)

    @abstractmethod
    def close(self) -> None:
        """Stop what still runs, and let go of what is held."""

    @abstractmethod
    def _room(self) -> int:
        """How many slices may be handed out now."""

    @abstractmethod
    def _submit(self, part: list[Job]) -> Task:
        """Hand out a slice's jobs."""

    @abstractmethod
    def _first(self, running: Collection[Task]) -> Task:
        """One of these that is over; wait for it."""

    @abstractmethod
    def _result(self, task: Task) -> list[Done] | str:
        """What became of a slice's jobs, or how the process was lost that did them.

        Raises:
            StudyError: The study must stop.
        """

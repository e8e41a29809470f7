"""Slices dispatched to processes that may die, and dispatched again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Collection, Hashable, Iterable, Iterator
from itertools import groupby
from typing import ClassVar, Generic, TypeVar

from leam.study.engine import Done
from leam.study.schedule import Job

Task = TypeVar("Task", bound=Hashable)
"""By what an engine knows a slice while it is being worked on."""


class DispatchEngine(ABC, Generic[Task]):
    """Does jobs in other processes, one slice at a time each; after a process has died, its jobs are dispatched again.

    A subclass says how a slice is dispatched, how many may be at once, and what became of one.
    """

    tries: ClassVar[int]
    """How often a job is dispatched before it counts as a fault."""

    def __init__(self) -> None:
        self._running: dict[Task, tuple[list[Job], int]] = {}

    def run(self, jobs: Iterable[Job]) -> Iterator[Done]:
        """Do the jobs; one process does those of one slice, so that its pictures are read once."""
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
                # Each job alone, so that one that always kills its process does not affect the others.
                again.extend(([job], tries) for job in part)
            else:
                yield from (Done(job, f"{found}, {tries} times") for job in part)

    @abstractmethod
    def close(self) -> None:
        """Stop what still runs, and release everything that is held."""

    @abstractmethod
    def _room(self) -> int:
        """How many slices may be dispatched now."""

    @abstractmethod
    def _submit(self, part: list[Job]) -> Task:
        """Dispatch a slice's jobs."""

    @abstractmethod
    def _first(self, running: Collection[Task]) -> Task:
        """Wait for one of these to be over."""

    @abstractmethod
    def _result(self, task: Task) -> list[Done] | str:
        """What became of a slice's jobs, or how their process was lost.

        Raises:
            StudyError: The study must stop.
        """

"""Dispatch of slices to processes. If a process dies, its jobs are dispatched again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Collection, Hashable, Iterable, Iterator
from itertools import groupby
from typing import ClassVar, Generic, TypeVar

from leam.study.engine import Done
from leam.study.schedule import Job

Task = TypeVar("Task", bound=Hashable)
"""Handle by which an engine identifies a running slice."""


class DispatchEngine(ABC, Generic[Task]):
    """Runs jobs in other processes, one slice at a time per process. If a process dies, its jobs are dispatched again.

    A subclass defines how a slice is dispatched, how many may run at once, and how results are collected.
    """

    tries: ClassVar[int]
    """Number of attempts before a job counts as failed."""

    def __init__(self) -> None:
        self._running: dict[Task, tuple[list[Job], int]] = {}

    def run(self, jobs: Iterable[Job]) -> Iterator[Done]:
        """Run the jobs. The jobs of a slice go to one process, so that its pictures are read once."""
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
                # Dispatch each job separately, so that a job that kills its process does not affect the others.
                again.extend(([job], tries) for job in part)
            else:
                yield from (Done(job, f"{found}, {tries} times") for job in part)

    @abstractmethod
    def close(self) -> None:
        """Stop running jobs and release all resources."""

    @abstractmethod
    def _room(self) -> int:
        """Maximum number of slices that may run at once."""

    @abstractmethod
    def _submit(self, part: list[Job]) -> Task:
        """Dispatch a slice's jobs."""

    @abstractmethod
    def _first(self, running: Collection[Task]) -> Task:
        """Wait until one of these tasks has ended, and return it."""

    @abstractmethod
    def _result(self, task: Task) -> list[Done] | str:
        """The results of a slice's jobs, or a description of how their process was lost.

        Raises:
            StudyError: The study must stop.
        """

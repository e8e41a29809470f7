"""What every engine can do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch

from leam.errors import LeamError, StudyError, first_line
from leam.explain.memory import keep_freed_memory
from leam.study.jobs import Job
from leam.study.worker import Worker


@dataclass(frozen=True)
class Done:
    """A job that is over.

    Attributes:
        job: The job.
        fault: Why it has no result; None where it has one.
    """

    job: Job
    fault: str | None = None


class Engine(Protocol):
    """Does jobs that do not depend on each other."""

    def run(self, jobs: Iterable[Job]) -> Iterator[Done]:
        """Do the jobs, in any order, and tell of each when it is over.

        Raises:
            StudyError: The run folder cannot be read or written.
        """
        ...

    def close(self) -> None:
        """Let go of what is held."""
        ...


def begin_process() -> None:
    """What a process of an engine's own begins with: one thread, so that no byte depends on how many there are."""
    torch.set_num_threads(1)
    keep_freed_memory()


def attempt(worker: Worker, job: Job) -> Done:
    """Do a job; a recognizer that cannot do it is a fault, not the end of the study.

    Raises:
        StudyError: The run folder cannot be read or written.
    """
    try:
        worker.do(job)
    except StudyError:
        raise
    except MemoryError:
        return Done(job, "not enough memory")
    except (LeamError, RuntimeError, ValueError, ArithmeticError) as error:
        return Done(job, first_line(error))
    return Done(job)

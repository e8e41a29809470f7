"""Where a study's jobs are done: in this process, in several, or on many machines. The shards are the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from leam.errors import LeamError, StudyError, first_line
from leam.plugins import Registry
from leam.recognizers.recognizer import Recognizer
from leam.study.plan import Plan
from leam.study.schedule import Job
from leam.study.store import RunFolder
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
        """Release everything that is held."""
        ...


@dataclass(frozen=True)
class EngineOptions:
    """What a user may say of an engine.

    Attributes:
        workers: Processes on this machine.
        address: Of a cluster.
    """

    workers: int = 1
    address: str | None = None


EngineMaker = Callable[[Plan, RunFolder, Sequence[Recognizer], EngineOptions], Engine]
"""Makes an engine for a study that has begun.

Raises an InputError for options that the engine does not have, or a package that is not installed.
"""

ENGINES: Registry[EngineMaker] = Registry("engine", "leam.engines", package="leam.study.engines")
"""Makers of engines, by name."""


def begin_process() -> None:
    """Prepare a process of an engine: one thread, so that no byte depends on the number of threads."""
    torch.set_num_threads(1)


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

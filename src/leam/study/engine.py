"""Engines run the jobs of a study: in this process, in several, or on many machines, with the same shards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from leam.errors import LeamError, StudyError, first_line
from leam.plugins import Registry
from leam.recognizers.recognizer import Recognizer
from leam.study.chips import PicturesLostError
from leam.study.plan import Plan
from leam.study.schedule import Job
from leam.study.store import LostPicture, RunFolder
from leam.study.worker import Worker


@dataclass(frozen=True)
class Done:
    """A completed or failed job.

    Attributes:
        job: The job.
        fault: Why the job failed; None if it succeeded.
        device: The device that the job's recognizer ran on; empty for a job without one.
        lost: Pictures that vanished or changed, so that the job could not be done. Not a fault of the recognizer.
    """

    job: Job
    fault: str | None = None
    device: str = ""
    lost: tuple[LostPicture, ...] = ()


class Engine(Protocol):
    """Runs jobs that do not depend on each other."""

    def run(self, jobs: Iterable[Job]) -> Iterator[Done]:
        """Run the jobs in any order and yield each one when it has ended.

        Raises:
            StudyError: The run folder cannot be read or written.
        """
        ...

    def close(self) -> None:
        """Release all resources."""
        ...


@dataclass(frozen=True)
class EngineOptions:
    """Options of an engine that a user can set.

    Attributes:
        workers: Number of processes on this machine.
        address: Address of a cluster.
        device: The device of recognizers and parsers: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``. Several
            processes take turns in choosing among all GPUs for ``auto`` and ``cuda``. None for the device on which the
            first recognizer is.
    """

    workers: int = 1
    address: str | None = None
    device: str | None = None


EngineMaker = Callable[[Plan, RunFolder, Sequence[Recognizer], EngineOptions], Engine]
"""Creates the engine of a study that has started.

Raises an InputError if the engine does not have one of the options, or if a package is not installed.
"""

ENGINES: Registry[EngineMaker] = Registry("engine", "leam.engines", package="leam.study.engines")
"""Engine factories by name."""


def begin_process() -> None:
    """Prepare a process of an engine: use one thread, so that results do not depend on the number of threads."""
    torch.set_num_threads(1)


def attempt(worker: Worker, job: Job) -> Done:
    """Run a job. If the recognizer fails, the fault is returned and the study goes on.

    Raises:
        StudyError: The run folder cannot be read or written.
    """
    try:
        worker.do(job)
    except StudyError:
        raise
    except PicturesLostError as error:
        return Done(job, lost=error.pictures)
    except MemoryError:
        return Done(job, "not enough memory")
    except (LeamError, RuntimeError, ValueError, ArithmeticError) as error:
        return Done(job, first_line(error))
    return Done(job, device=worker.device_of(job))

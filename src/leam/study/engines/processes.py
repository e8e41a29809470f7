"""Jobs done by several processes of this machine, a slice at a time each."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import groupby
from pathlib import Path

import torch

from leam.recognizers.recognizer import Recognizer
from leam.study.engines.engine import Done, attempt
from leam.study.jobs import Job
from leam.study.plan import Plan
from leam.study.store import RunFolder
from leam.study.worker import Worker

# How often a slice is tried again after a process died over it, before its jobs count as faults.
_TRIES = 2

_worker: Worker | None = None


class ProcessEngine:
    """Does jobs in processes of their own, one thread each; a process that dies is replaced.

    Args:
        plan: The study.
        folder: Its folder.
        recognizers: Those of the plan; each process gets a copy.
        processes: How many.
    """

    def __init__(
        self, plan: Plan, folder: RunFolder, recognizers: Sequence[Recognizer], processes: int
    ) -> None:
        self._started = (plan, folder.path, list(recognizers))
        self._processes = processes
        self._pool: ProcessPoolExecutor | None = None

    def run(self, jobs: Iterable[Job]) -> Iterator[Done]:
        """Do the jobs; those of one slice by one process, so that its pictures are read once."""
        slices = (list(group) for _, group in groupby(jobs, key=lambda job: job.index))
        again: deque[tuple[list[Job], int]] = deque()
        running: dict[Future[list[Done]], tuple[list[Job], int]] = {}
        exhausted = False
        while running or again or not exhausted:
            # As many slices are handed out as there are processes, so that a fault is heeded soon.
            while len(running) < self._processes and (again or not exhausted):
                part, tries = again.popleft() if again else (next(slices, []), 0)
                if not part:
                    exhausted = True
                    continue
                running[self._submit(part)] = (part, tries)
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                part, tries = running.pop(future)
                try:
                    yield from future.result()
                except BrokenProcessPool:
                    self._pool = None
                    if tries + 1 < _TRIES:
                        again.append((part, tries + 1))
                    else:
                        yield from (
                            Done(job, "the process died, perhaps for lack of memory")
                            for job in part
                        )

    def close(self) -> None:
        """End the processes."""
        if self._pool:
            self._pool.shutdown(cancel_futures=True)

    def _submit(self, part: list[Job]) -> Future[list[Done]]:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                self._processes,
                # A forked process would inherit the locks of torch's threads.
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_start,
                initargs=self._started,
            )
        try:
            return self._pool.submit(_work, part)
        except BrokenProcessPool:
            self._pool = None
            return self._submit(part)


def _start(plan: Plan, folder: Path, recognizers: Sequence[Recognizer]) -> None:
    global _worker  # noqa: PLW0603  the process's own state
    torch.set_num_threads(1)
    _worker = Worker(plan, RunFolder(folder), recognizers)


def _work(jobs: Sequence[Job]) -> list[Done]:
    if _worker is None:
        raise RuntimeError("the process was not started by its engine")
    return [attempt(_worker, job) for job in jobs]

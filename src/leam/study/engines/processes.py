"""Jobs done by several processes of this machine, a slice at a time each."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Collection, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from threading import Thread

from leam.recognizers.recognizer import Recognizer
from leam.study.engines.engine import Done, attempt, begin_process
from leam.study.engines.handing import HandingEngine
from leam.study.jobs import Job
from leam.study.plan import Plan
from leam.study.store import RunFolder
from leam.study.worker import Worker

_Task = Future[list[Done]]

_worker: Worker | None = None


class ProcessEngine(HandingEngine[_Task]):
    """Does jobs in processes of their own, one thread each; a process that dies is replaced.

    Args:
        plan: The study.
        folder: Its folder.
        recognizers: Those of the plan; each process gets a copy.
        processes: How many.
    """

    tries = 2

    def __init__(
        self, plan: Plan, folder: RunFolder, recognizers: Sequence[Recognizer], processes: int
    ) -> None:
        super().__init__()
        self._started = (plan, folder.path, list(recognizers))
        self._processes = processes
        # A pool for each process: where several share one, it breaks for all of them when one dies.
        self._idle: list[ProcessPoolExecutor] = []
        self._busy: dict[_Task, ProcessPoolExecutor] = {}

    def close(self) -> None:
        """End the processes."""
        for pool in (*self._idle, *self._busy.values()):
            pool.shutdown(cancel_futures=True)

    def _room(self) -> int:
        # No slice waits for a process, so that a fault is heeded soon.
        return self._processes

    def _submit(self, part: list[Job]) -> _Task:
        pool = self._idle.pop() if self._idle else self._new_pool()
        try:
            task = pool.submit(_work, part)
        except BrokenProcessPool:
            # It died while it waited.
            return self._submit(part)
        self._busy[task] = pool
        return task

    def _first(self, running: Collection[_Task]) -> _Task:
        return next(iter(wait(running, return_when=FIRST_COMPLETED).done))

    def _result(self, task: _Task) -> list[Done] | str:
        try:
            found = task.result()
        except BrokenProcessPool:
            del self._busy[task]
            return "the process died, perhaps for lack of memory"
        self._idle.append(self._busy.pop(task))
        return found

    def _new_pool(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            1,
            # A forked process would inherit the locks of torch's threads.
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start,
            initargs=self._started,
        )


def _start(plan: Plan, folder: Path, recognizers: Sequence[Recognizer]) -> None:
    global _worker  # noqa: PLW0603  the process's own state
    Thread(target=_end_with_parent, daemon=True).start()
    begin_process()
    _worker = Worker(plan, RunFolder(folder), recognizers)


def _end_with_parent() -> None:
    """End this process as soon as its parent is gone: killed without warning, that one could not say so."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(jobs: Sequence[Job]) -> list[Done]:
    if _worker is None:
        raise RuntimeError("the process was not started by its engine")
    return [attempt(_worker, job) for job in jobs]

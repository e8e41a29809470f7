"""Engine that runs jobs on this machine, in this process or in several."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import torch

from leam.devices import CPU, devices_of
from leam.errors import InputError
from leam.explain.memory import worker_environment
from leam.recognizers.recognizer import Recognizer
from leam.study.dispatch import DispatchEngine
from leam.study.engine import ENGINES, Done, Engine, EngineOptions, attempt, begin_process
from leam.study.plan import Plan
from leam.study.schedule import Job
from leam.study.store import RunFolder
from leam.study.worker import Worker

_Task = Future[list[Done]]

_worker: Worker | None = None


@ENGINES("local")
def local(
    plan: Plan, folder: RunFolder, recognizers: Sequence[Recognizer], options: EngineOptions
) -> Engine:
    """Run on this machine: in this process for one worker, otherwise in one process per worker.

    Raises:
        InputError: An address is given, or there is no such device.
    """
    if options.address:
        raise InputError("--address: only available with --engine ray")
    devices = devices_of(options.device or next((one.device for one in recognizers), CPU))
    if options.workers > 1:
        return ProcessEngine(plan, folder, recognizers, options.workers, devices)
    chosen = None if options.device is None else devices[0]
    return LocalEngine(Worker(plan, folder, recognizers, device=chosen, alone=True))


class LocalEngine:
    """Runs jobs in this process, in order."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def run(self, jobs: Iterable[Job]) -> Iterator[Done]:
        """Run the jobs in order."""
        for job in jobs:
            yield attempt(self._worker, job)

    def close(self) -> None:
        """Stop background loading."""
        self._worker.close()


class ProcessEngine(DispatchEngine[_Task]):
    """Runs jobs in several single-threaded processes. A process that dies is replaced.

    Args:
        plan: The plan of the study.
        folder: The run folder.
        recognizers: The recognizers of the plan; each process gets a copy.
        processes: Number of processes.
        devices: The devices that they use, shared evenly.
    """

    tries = 2

    def __init__(
        self,
        plan: Plan,
        folder: RunFolder,
        recognizers: Sequence[Recognizer],
        processes: int,
        devices: Sequence[torch.device] = (CPU,),
    ) -> None:
        super().__init__()
        self._started = (plan, folder.path, list(recognizers))
        self._processes = processes
        self._devices = devices
        self._places: dict[ProcessPoolExecutor, torch.device] = {}
        # One pool per process, since a pool breaks for all of its processes when one dies.
        self._idle: list[ProcessPoolExecutor] = []
        self._busy: dict[_Task, ProcessPoolExecutor] = {}

    def close(self) -> None:
        """Stop the processes at once. What they are still writing stays as it was."""
        for pool in (*self._idle, *self._busy.values()):
            for process in list((pool._processes or {}).values()):  # noqa: SLF001  public from Python 3.14 on
                process.kill()
        for pool in (*self._idle, *self._busy.values()):
            pool.shutdown(cancel_futures=True)

    def _room(self) -> int:
        # No slice waits for a process, so that no further jobs of a failed recognizer are queued.
        return self._processes

    def _submit(self, part: list[Job]) -> _Task:
        pool = self._idle.pop() if self._idle else self._new_pool()
        try:
            # A pool starts its process on the first submission.
            with _environment(worker_environment()), _uninterrupted():
                task = pool.submit(_work, part)
        except BrokenProcessPool:
            # The process died while idle.
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
            return "the process died, perhaps from lack of memory"
        self._idle.append(self._busy.pop(task))
        return found

    def _new_pool(self) -> ProcessPoolExecutor:
        used = [self._places[pool] for pool in (*self._idle, *self._busy.values())]
        device = min(self._devices, key=used.count)
        pool = ProcessPoolExecutor(
            1,
            # A forked process would inherit locks held by torch's threads.
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start,
            initargs=(*self._started, device),
        )
        self._places[pool] = device
        return pool


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for processes started inside the block. Existing values are kept."""
    added = {name: value for name, value in variables.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Processes started inside the block do not get the signal of Ctrl-C, which their parent handles for them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start(
    plan: Plan, folder: Path, recognizers: Sequence[Recognizer], device: torch.device
) -> None:
    global _worker  # noqa: PLW0603  the process's own state
    Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    begin_process()
    _worker = Worker(plan, RunFolder(folder), recognizers, device=device)


def _end_with_parent() -> None:
    """Exit when the parent process has ended, since a parent that is killed cannot stop its children."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(jobs: Sequence[Job]) -> list[Done]:
    if _worker is None:
        raise RuntimeError("the process was not started by its engine")
    return [attempt(_worker, job) for job in jobs]

"""Jobs done by the workers of a Ray cluster, a slice at a time each; needs the extra ``ray``."""

from __future__ import annotations

import importlib
import logging
import os
import socket
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from leam.errors import InputError, StudyError, first_line
from leam.files import sha256_of
from leam.recognizers.recognizer import Recognizer
from leam.study.dispatch import DispatchEngine
from leam.study.engine import ENGINES, Done, Engine, EngineOptions, attempt, begin_process
from leam.study.plan import Plan
from leam.study.schedule import Job
from leam.study.store import RunFolder
from leam.study.worker import Worker
from leam.version import installed_versions

# Slices dispatched for each processor: one at work, one waiting, so that nobody idles between two.
_AHEAD = 2
# Seconds that a cluster has to accept a connection, and workers to stop.
_PATIENCE = 10.0


@ENGINES("ray")
def ray(
    plan: Plan, folder: RunFolder, recognizers: Sequence[Recognizer], options: EngineOptions
) -> Engine:
    """A Ray cluster.

    Raises:
        InputError: Workers are given, Ray is not installed, or no cluster answers at the address.
    """
    if options.workers > 1:
        raise InputError("--workers: belongs to --engine local; a Ray cluster knows its own size")
    return RayEngine(plan, folder, recognizers, options.address)


@dataclass(frozen=True)
class Setup:
    """What a process needs before its first job.

    Attributes:
        plan: The study.
        folder: Its folder, an absolute path that means the same place on every machine.
        digest: SHA-256 of the folder's ``run.json``, by which a machine knows that it sees that place.
        recognizers: Those of the plan.
    """

    plan: Plan
    folder: Path
    digest: str
    recognizers: Sequence[Recognizer]


class RayEngine(DispatchEngine[Any]):
    """Does jobs on a Ray cluster, one thread each; the slice of a worker that dies is done by another.

    Args:
        plan: The study.
        folder: Its folder, begun, on storage that every machine sees under the same path.
        recognizers: Those of the plan; each process gets a copy.
        address: Of the cluster, ``HOST:PORT`` or ``auto``; by default that of ``RAY_ADDRESS``, else of the cluster
            that runs on this machine, else one that is started here for this study. Not used where Ray is already
            initialised.

    Raises:
        InputError: Ray is not installed, or no cluster answers at the address.
    """

    # Machines of a cluster come and go.
    tries = 4

    def __init__(
        self,
        plan: Plan,
        folder: RunFolder,
        recognizers: Sequence[Recognizer],
        address: str | None = None,
    ) -> None:
        super().__init__()
        path = folder.path.absolute()
        setup = Setup(plan, path, sha256_of(path / "run.json"), list(recognizers))
        self._ray = _load_ray()
        self._ours = not self._ray.is_initialized()
        if self._ours:
            _connect(self._ray, address)
        self._setup = self._ray.put(setup)
        # A worker that died is replaced here, since Ray would replace one that died for lack of memory for ever.
        self._work = self._ray.remote(num_cpus=1, max_retries=0)(_work)

    def close(self) -> None:
        """Stop what still runs, and let go of the cluster."""
        for task in self._running:
            self._ray.cancel(task)
        if self._running:
            tasks = list(self._running)
            self._ray.wait(tasks, num_returns=len(tasks), timeout=_PATIENCE)
            self._running.clear()
        if self._ours:
            self._ray.shutdown()

    def _room(self) -> int:
        """How many slices may be handed out now: a cluster may grow and shrink."""
        return _AHEAD * max(1, int(self._ray.cluster_resources().get("CPU", 0)))

    def _submit(self, part: list[Job]) -> object:
        # Within a list the setup is not unpacked for every slice, but once by each process.
        return self._work.remote([self._setup], part)

    def _first(self, running: Collection[object]) -> object:
        (task,), _ = self._ray.wait(list(running), num_returns=1)
        return task

    def _result(self, task: object) -> list[Done] | str:
        """What became of a slice's jobs, or how their worker was lost.

        Raises:
            StudyError: The run folder cannot be used on a worker, or a worker has other software.
        """
        errors = self._ray.exceptions
        try:
            found: list[Done] | StudyError = self._ray.get(task)
        except errors.RayTaskError as error:
            raise StudyError(
                f"a Ray worker failed ({first_line(error.cause)}); each needs the packages that this machine has"
            ) from error
        except errors.RayError as error:
            return f"the worker was lost ({type(error).__name__}), perhaps for lack of memory"
        if isinstance(found, StudyError):
            raise found
        return found


def _load_ray() -> ModuleType:
    """The package; it never reports how it is used, and prints nothing but errors.

    Raises:
        InputError: It is not installed.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # Else Ray announces a change of a default that does not matter here.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        return importlib.import_module("ray")
    except ImportError:
        raise InputError("--engine ray: needs ray; `pip install leam-xai[ray]`") from None


def _connect(ray: ModuleType, address: str | None) -> None:
    """Join a cluster, or start one on this machine.

    Raises:
        InputError: No cluster answers.
    """
    address = address or os.environ.get("RAY_ADDRESS")
    try:
        if address:
            _knock(address)
        ray.init(
            address=address,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        where = f"--address {address}: " if address else ""
        raise InputError(
            f"{where}no Ray cluster to work on ({' '.join(str(error).split())})"
        ) from error


def _knock(address: str) -> None:
    """See whether anything listens: Ray itself tries for minutes and then ends the process.

    Raises:
        OSError: Nothing does.
        ValueError: The address has another form.
    """
    if address in {"auto", "local"}:
        return
    parts = urlsplit(address if "://" in address else f"ray://{address}")
    if not parts.hostname or not parts.port:
        raise ValueError("expected HOST:PORT or auto")
    socket.create_connection((parts.hostname, parts.port), timeout=_PATIENCE).close()


_worker: tuple[Any, Worker] | None = None
"""What this process of the cluster works with, and the reference of the setup that it was made from."""


def _work(setup: list[Any], jobs: Sequence[Job]) -> list[Done] | StudyError:
    """Do jobs in a process of the cluster; what must stop the study is returned, since Ray rewords what is raised."""
    global _worker  # noqa: PLW0603  the process's own state
    (reference,) = setup
    try:
        if _worker is None or _worker[0] != reference:
            if _worker is not None:
                _worker[1].close()
            begin_process()
            _worker = (reference, start_worker(_load_ray().get(reference)))
        return [attempt(_worker[1], job) for job in jobs]
    except StudyError as error:
        return error


def start_worker(setup: Setup) -> Worker:
    """What a process of the cluster works with.

    Raises:
        StudyError: The machine does not see the run folder, or has other versions of what the figures depend on.
    """
    where = f"Ray worker on {socket.gethostname()}"
    try:
        seen = sha256_of(setup.folder / "run.json")
    except OSError:
        seen = ""
    if seen != setup.digest:
        raise StudyError(
            f"{setup.folder}: the {where} does not see this study there; "
            "choose an --out on storage that every machine has under the same path"
        )
    here = installed_versions()
    for name, wanted in setup.plan.versions.items():
        if here.get(name) != wanted:
            raise StudyError(
                f"the {where} has {name} {here.get(name)}, the study {wanted}; "
                "figures are the same only under the same versions"
            )
    return Worker(setup.plan, RunFolder(setup.folder), setup.recognizers)

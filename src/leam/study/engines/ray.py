"""Engine that runs jobs on a Ray cluster, one slice at a time per worker. Requires the extra ``ray``."""

from __future__ import annotations

import importlib
import logging
import os
import socket
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from leam.devices import AUTO, resolve
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

# Slices dispatched per CPU: one running and one waiting, so that no worker is idle between slices.
_AHEAD = 2
# Timeouts in seconds for connecting to a cluster and for stopping workers.
_PATIENCE, _STOPPING = 10.0, 1.0


@ENGINES("ray")
def ray(
    plan: Plan, folder: RunFolder, recognizers: Sequence[Recognizer], options: EngineOptions
) -> Engine:
    """Run on a Ray cluster.

    Raises:
        InputError: Workers or the number of a GPU are given, Ray is not installed, no cluster answers at the address,
            or the cluster has no GPU for ``cuda``.
    """
    device = options.device or next((one.device.type for one in recognizers), "cpu")
    if device.startswith("cuda:"):
        raise InputError(f"--device {device}: Ray assigns the GPUs; use --device cuda")
    if options.workers > 1:
        raise InputError(
            "--workers: only available with --engine local; Ray uses the whole cluster"
        )
    return RayEngine(plan, folder, recognizers, options.address, device)


@dataclass(frozen=True)
class Setup:
    """Data that a process needs before its first job.

    Attributes:
        plan: The plan of the study.
        folder: The run folder, as an absolute path that is valid on every machine.
        digest: SHA-256 of the folder's ``run.json``, with which a machine checks that it sees the same folder.
        recognizers: The recognizers of the plan.
        device: The device to use, by name: a process sees only the GPU that Ray has assigned to it.
    """

    plan: Plan
    folder: Path
    digest: str
    recognizers: Sequence[Recognizer]
    device: str = "cpu"


class RayEngine(DispatchEngine[Any]):
    """Runs jobs on a Ray cluster, with one thread per worker. If a worker dies, another one takes over its slice.

    On a cluster with GPUs, each worker is an actor that has one of them to itself (``num_gpus=1``). On other clusters,
    workers are tasks on one core each.

    Args:
        plan: The plan of the study.
        folder: The run folder of the started study, on storage that every machine sees under the same path.
        recognizers: The recognizers of the plan; each process gets a copy.
        address: Address of the cluster, ``HOST:PORT`` or ``auto``. By default, ``RAY_ADDRESS`` is used, then a cluster
            running on this machine, then a cluster started for this study. Ignored if Ray is already initialised.
        device: ``auto`` for the cluster's GPUs, if it has any; or ``cuda``, ``cpu`` or ``mps``.

    Raises:
        InputError: Ray is not installed, no cluster answers at the address, or it has no GPU for ``cuda``.
    """

    # Machines may join and leave a cluster at any time.
    tries = 4

    def __init__(
        self,
        plan: Plan,
        folder: RunFolder,
        recognizers: Sequence[Recognizer],
        address: str | None = None,
        device: str = "cpu",
    ) -> None:
        super().__init__()
        path = folder.path.absolute()
        setup = Setup(plan, path, sha256_of(path / "run.json"), list(recognizers), device)
        self._ray = _load_ray()
        self._ours = not self._ray.is_initialized()
        # The actors of this study, by the task that they run.
        self._idle: list[Any] = []
        self._busy: dict[Any, Any] = {}
        if self._ours:
            _connect(self._ray, address)
        self._on_gpus = device in {AUTO, "cuda"} and self._count("GPU") > 0
        if device == "cuda" and not self._on_gpus:
            self.close()
            raise InputError("--device cuda: the Ray cluster has no GPU")
        self._setup = self._ray.put(setup)
        # Lost workers are handled by this class, since Ray would retry one that ran out of memory forever.
        self._work = self._ray.remote(num_cpus=1, max_retries=0)(_work)
        self._actor = self._ray.remote(num_cpus=1, num_gpus=1, max_restarts=0)(_Actor)

    def close(self) -> None:
        """Stop running jobs, at once, and disconnect from the cluster. What they are writing stays as it was."""
        for task in self._running.keys() - self._busy.keys():
            self._ray.cancel(task, force=True)
        for actor in (*self._idle, *self._busy.values()):
            self._ray.kill(actor)
        if self._running:
            tasks = list(self._running)
            self._ray.wait(tasks, num_returns=len(tasks), timeout=_STOPPING)
            self._running.clear()
        if self._ours:
            self._ray.shutdown()

    def _room(self) -> int:
        """Maximum number of slices that may run or wait; changes with the size of the cluster."""
        if self._on_gpus:
            return max(1, self._count("GPU"))
        return _AHEAD * max(1, self._count("CPU"))

    def _count(self, resource: str) -> int:
        return int(self._ray.cluster_resources().get(resource, 0))

    def _submit(self, part: list[Job]) -> object:
        # Inside a list, Ray passes the reference itself, so that each process fetches the setup only once.
        if not self._on_gpus:
            return self._work.remote([self._setup], part)
        # A task would end its process, so that its GPU can be assigned anew; an actor keeps both.
        actor = self._idle.pop() if self._idle else self._actor.remote()
        task = actor.work.remote([self._setup], part)
        self._busy[task] = actor
        return task

    def _first(self, running: Collection[object]) -> object:
        (task,), _ = self._ray.wait(list(running), num_returns=1)
        return task

    def _result(self, task: object) -> list[Done] | str:
        """The results of a slice's jobs, or a description of how their worker was lost.

        Raises:
            StudyError: The run folder cannot be used on a worker, or a worker has other package versions.
        """
        errors, actor = self._ray.exceptions, self._busy.pop(task, None)
        try:
            found: list[Done] | StudyError = self._ray.get(task)
        except errors.RayTaskError as error:
            raise StudyError(
                f"a Ray worker failed ({first_line(error.cause)}); "
                "every worker needs the same packages as this machine"
            ) from error
        except errors.RayError as error:
            return f"the worker was lost ({type(error).__name__}), perhaps from lack of memory"
        if actor is not None:
            self._idle.append(actor)
        if isinstance(found, StudyError):
            raise found
        return found


def _load_ray() -> ModuleType:
    """Import Ray, with usage reports disabled.

    Raises:
        InputError: Ray is not installed.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # Otherwise Ray warns about a changed default that is irrelevant here.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        return importlib.import_module("ray")
    except ImportError:
        raise InputError("--engine ray: needs ray; `pip install leam-xai[ray]`") from None


def _connect(ray: ModuleType, address: str | None) -> None:
    """Connect to a cluster, or start one on this machine.

    Raises:
        InputError: No cluster answers.
    """
    address = address or os.environ.get("RAY_ADDRESS")
    try:
        if address:
            _knock(address)
        try:
            _init(ray, address or "auto")
        except ConnectionError:
            if address:
                raise
            with _only_this_machine():
                _init(ray, "local")
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        where = f"--address {address}: " if address else ""
        raise InputError(
            f"{where}no Ray cluster available ({' '.join(str(error).split())})"
        ) from error


def _init(ray: ModuleType, address: str) -> None:
    ray.init(
        address=address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR
    )


@contextmanager
def _only_this_machine() -> Iterator[None]:
    """A cluster started inside the block binds to the loopback interface, as Ray does by default on macOS and Windows.

    Ray reads the variable when it is imported, and so do the processes that it starts.
    """
    constants: Any = importlib.import_module("ray._private.ray_constants")
    name, before = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", constants.ENABLE_RAY_CLUSTER
    set_before = os.environ.get(name)
    os.environ[name], constants.ENABLE_RAY_CLUSTER = "0", False
    try:
        yield
    finally:
        constants.ENABLE_RAY_CLUSTER = before
        del os.environ[name]
        if set_before is not None:
            os.environ[name] = set_before


def _knock(address: str) -> None:
    """Check that something listens at the address, since Ray retries for minutes and then exits the process.

    Raises:
        OSError: Nothing listens there.
        ValueError: The address is malformed.
    """
    if address in {"auto", "local"}:
        return
    parts = urlsplit(address if "://" in address else f"ray://{address}")
    if not parts.hostname or not parts.port:
        raise ValueError("expected HOST:PORT or auto")
    socket.create_connection((parts.hostname, parts.port), timeout=_PATIENCE).close()


_worker: tuple[Any, Worker] | None = None
"""The worker of this process, and the reference of the setup that it was created from."""


class _Actor:
    """A worker that has a GPU to itself."""

    def work(self, setup: list[Any], jobs: Sequence[Job]) -> list[Done] | StudyError:
        """Run jobs."""
        return _work(setup, jobs)


def _work(setup: list[Any], jobs: Sequence[Job]) -> list[Done] | StudyError:
    """Run jobs in a process of the cluster. A StudyError is returned, since Ray would change a raised error."""
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
    """Create the worker of a process of the cluster.

    Raises:
        StudyError: The machine does not see the run folder or lacks the device, or its package versions differ from the
            plan.
    """
    where = f"Ray worker on {socket.gethostname()}"
    try:
        seen = sha256_of(setup.folder / "run.json")
    except OSError:
        seen = ""
    if seen != setup.digest:
        raise StudyError(
            f"{setup.folder}: the {where} does not see this study; "
            "choose an --out on storage that every machine sees under the same path"
        )
    here = installed_versions()
    for name, version in setup.plan.versions.items():
        if here.get(name) != version:
            raise StudyError(
                f"the {where} has {name} {here.get(name)}, but the study uses {version}; "
                "install the same versions on every machine"
            )
    try:
        device = resolve(setup.device)
    except InputError as error:
        raise StudyError(f"the {where}: {error}") from None
    return Worker(setup.plan, RunFolder(setup.folder), setup.recognizers, device=device)

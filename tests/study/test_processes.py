"""Studies by two processes, of which one or the other is killed without warning."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch

from leam.faces.people import read_people
from leam.recognizers.card import Card
from leam.recognizers.recognizer import Recognizer
from leam.study.dispatch import DispatchEngine
from leam.study.engine import Done, EngineOptions
from leam.study.engines.local import ProcessEngine
from leam.study.plan import Plan
from leam.study.run import plan_study, run_study
from leam.study.schedule import Job
from leam.study.store import RunFolder
from mortal import Mortal
from small import SIDE, digests, log_of, recognizer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("processes"),
    pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="needs /proc"),
]
TWO = EngineOptions(workers=2)
# The command with a person a slice, so that few pictures keep two processes busy.
COMMAND = """
from leam.cli import main
from leam.study import run
plan_study = run.plan_study
run.plan_study = lambda *args, **more: plan_study(*args, **more).model_copy(update={"people_per_slice": 1})
if __name__ == "__main__":
    main()
"""


@pytest.fixture(scope="module")
def faces(views, tmp_path_factory) -> Path:
    """Four people with two views each, in fact two people under four names."""
    folder = tmp_path_factory.mktemp("people")
    for i, picture in enumerate(sorted(views.glob("*/view [1-4].png"))):
        (folder / f"{i // 2}").mkdir(exist_ok=True)
        shutil.copy(picture, folder / f"{i // 2}" / picture.name)
    return folder


def plan_of(faces: Path, models: Sequence[Recognizer]) -> Plan:
    """A person a slice."""
    plan = plan_study(str(faces), read_people(faces), models)
    return plan.model_copy(update={"people_per_slice": 1})


@pytest.fixture(scope="module")
def undisturbed(faces, dlib_resnet, tmp_path_factory) -> dict[str, str]:
    """Digests of the tables, summary and plan of a run in this process."""
    folder = RunFolder(tmp_path_factory.mktemp("runs") / "run")
    run_study(plan_of(faces, [dlib_resnet]), [dlib_resnet], folder)
    return digests(folder.path)


def workers_of(process: int) -> Iterator[int]:
    """The numbers of the processes that work for another one."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == process and b"spawn_main" in (entry / "cmdline").read_bytes():
                yield int(entry.name)
        except (FileNotFoundError, ProcessLookupError):
            continue


def ended(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"  # nobody has waited for it yet


def test_a_killed_worker_changes_no_byte(faces, undisturbed, dlib_resnet, tmp_path):
    folder = RunFolder(tmp_path / "run")
    killed = []

    def kill(what: str, done: int, _all: int) -> None:
        if what == "explaining" and done == 1:
            killed.append(max(workers_of(os.getpid())))
            os.kill(killed[0], signal.SIGKILL)

    run_study(plan_of(faces, [dlib_resnet]), [dlib_resnet], folder, options=TWO, progress=kill)
    assert len(killed) == 1
    assert digests(folder.path) == undisturbed
    assert not log_of(folder.path)
    assert not list(workers_of(os.getpid())), "all are gone in the end"


def test_workers_end_with_a_killed_parent_and_the_same_command_goes_on(
    faces, undisturbed, tmp_path
):
    run = tmp_path / "run"
    (tmp_path / "leam1.py").write_text(COMMAND)
    command = [sys.executable, str(tmp_path / "leam1.py"), "study", str(faces), "--out", str(run)]
    command += ["--workers", "2"]
    with subprocess.Popen(command) as process:
        while not list(run.glob("shards/parse/*/*/*.npz")):
            assert process.poll() is None, "it ended before it was killed"
            time.sleep(0.01)
        workers = list(workers_of(process.pid))
        process.kill()
    assert len(workers) == 2
    end = time.monotonic() + 10
    while (left := [worker for worker in workers if not ended(worker)]) and time.monotonic() < end:
        time.sleep(0.01)
    for worker in left:
        os.kill(worker, signal.SIGKILL)
    assert not left, "workers go on without their parent"
    assert not (run / "summary.json").exists(), "it was killed too late"
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert digests(run) == undisturbed
    assert not list(run.rglob(".part-*"))


def test_a_recognizer_that_kills_every_worker_takes_nothing_with_it(faces, tmp_path):
    mortal = Recognizer(Mortal(SIDE, None), Card(name="mortal", input_size=(SIDE, SIDE)))
    sound = recognizer("sound")
    samples = [sample for sample in read_people(faces) if sample.person in {"0", "3"}]
    with_it, without = tmp_path / "with", tmp_path / "without"
    both = [mortal, sound]
    run_study(plan_study("faces", samples, both), both, RunFolder(with_it), options=TWO)
    run_study(plan_study("faces", samples, [sound]), [sound], RunFolder(without))
    why = "explain: the process died, perhaps from lack of memory, 2 times"
    assert log_of(with_it) == [f"recognizer mortal: {why}; its figures are left out"]
    found, wanted = (json.loads((run / "summary.json").read_text()) for run in (with_it, without))
    assert found["failed"] == [{"recognizer": "mortal", "reason": why}]
    assert found | {"failed": []} == wanted
    found, wanted = digests(with_it), digests(without)
    tables = {name for name in found | wanted if name.startswith("tables")}
    assert "tables/regions/sound.parquet" in tables
    assert all(found[name] == wanted[name] for name in tables)


class Fragile(DispatchEngine[int]):
    """Does nothing, and loses every part that has a certain job in it."""

    tries = 3

    def __init__(self, fatal: Job) -> None:
        super().__init__()
        self.fatal, self.parts = fatal, []

    def close(self) -> None:
        pass

    def _room(self) -> int:
        return 2

    def _submit(self, part):
        self.parts.append(part)
        return len(self.parts) - 1

    def _first(self, running):
        return min(running)

    def _result(self, task):
        part = self.parts[task]
        return "lost" if self.fatal in part else [Done(job) for job in part]


def test_what_was_lost_is_dispatched_again_job_by_job():
    jobs = [Job("explain", name, index) for index in range(3) for name in "ab"]
    engine = Fragile(jobs[1])
    done = list(engine.run(iter(jobs)))
    assert sorted(engine.parts, key=str) == sorted(
        [jobs[:2], jobs[2:4], jobs[4:], [jobs[0]], [jobs[1]], [jobs[1]]], key=str
    )
    assert [one for one in done if one.fault] == [Done(jobs[1], "lost, 3 times")]
    assert {one.job for one in done} == set(jobs)
    assert len(done) == len(jobs)


def test_processes_share_the_devices_evenly(faces, dlib_resnet, tmp_path):
    devices = [torch.device("cuda:0"), torch.device("cuda:1")]
    plan = plan_of(faces, [dlib_resnet])
    engine = ProcessEngine(plan, RunFolder(tmp_path), [dlib_resnet], 4, devices)
    for _ in range(4):
        engine._idle.append(engine._new_pool())
    placed = [str(engine._places[pool]) for pool in engine._idle]
    assert sorted(placed) == ["cuda:0", "cuda:0", "cuda:1", "cuda:1"]
    lost = engine._idle.pop(1)
    assert engine._places[engine._new_pool()] == engine._places[lost]
    engine.close()

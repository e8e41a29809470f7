"""Ctrl-C in every phase of a study: soon, with what is kept and how to go on, and nobody is left behind."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from leam.demo import write_views

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("processes"),
    pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="needs /proc"),
]
MOST_SECONDS = 3.0
DATE = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d UTC")
# The command with a person a slice, so that few pictures keep two processes busy.
COMMAND = """
from leam.cli import main
from leam.study import run
plan_study = run.plan_study
run.plan_study = lambda *args, **more: plan_study(*args, **more).model_copy(update={"people_per_slice": 1})
if __name__ == "__main__":
    main()
"""
PHASES = {
    "parsing": "shards/detect",
    "explaining": "shards/parse/*/*/00001.npz",
    "comparing": "shards/explain/*/00002.npz",
    "computing figures": "tables",
    "rendering": "summary.json",
}


@pytest.fixture(scope="module")
def people(tmp_path_factory) -> Path:
    """Six people with two pictures each, in fact two people under six names."""
    folder = tmp_path_factory.mktemp("interrupted")
    write_views(folder / "views")
    for i, picture in enumerate(sorted((folder / "views").glob("*/*.png"))):
        (folder / "faces" / f"{i // 2}").mkdir(parents=True, exist_ok=True)
        shutil.copy(picture, folder / "faces" / f"{i // 2}" / picture.name)
    (folder / "command.py").write_text(COMMAND)
    return folder


def began(people: Path, *options: str) -> subprocess.Popen[str]:
    """A study in a process group of its own, as in a terminal."""
    return subprocess.Popen(
        [sys.executable, "command.py", "study", "faces", "--out", "run", *options],
        cwd=people, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip


def wait_for(process: subprocess.Popen[str], folder: Path, place: str) -> None:
    while not list(folder.glob(place)):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def left_of(group: int) -> list[int]:
    """The processes of a group that have not ended."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            state, _parent, of, *_ = (entry / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(of) == group and state != "Z":
            found.append(int(entry.name))
    return found


def all_end(group: int, seconds: float) -> bool:
    """Whether all processes of a group end, also those that first finish their imports."""
    end = time.monotonic() + seconds
    while left_of(group) and time.monotonic() < end:
        time.sleep(0.01)
    return not left_of(group)


def digests(run: Path) -> dict[str, str]:
    """Of the results; the report says when its figures were written."""
    files = [*run.glob("tables/**/*.parquet"), run / "summary.json", run / "report.html"]
    contents = {f.name: DATE.sub(b"", f.read_bytes()) for f in sorted(files)}
    return {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}


def test_each_phase_with_two_workers(people):
    run = people / "run"
    with began(people, "--workers", "2", "--restart") as process:
        _, told = process.communicate()
    assert process.returncode == 0, told
    assert "people: 6, pictures: 12, recognizers: 1 (dlib_resnet); stages: detect, parse" in told
    assert re.search(r"estimate: about \d+ (s|min) and \d+ MB of disk space", told)
    expected = digests(run)
    shutil.rmtree(run)
    for phase, place in PHASES.items():
        with began(people, "--workers", "2") as process:
            wait_for(process, run, place)
            start = time.monotonic()
            os.killpg(process.pid, signal.SIGINT)
            _, told = process.communicate()
        assert time.monotonic() - start < MOST_SECONDS, phase
        assert process.returncode == 130
        lines = told.splitlines()
        assert "Traceback" not in told
        assert re.fullmatch(r"leam: interrupted while .* \(\d+ of \d+ done\); .*", lines[-1]), told
        assert "all finished work is kept in run; go on with: " in lines[-1]
        command = shlex.split(lines[-1].rpartition(": ")[2])
        assert command == ["leam", "study", "faces", "--out", "run", "--workers", "2"]
        assert all_end(process.pid, 5), phase
    with began(people, *command[5:]) as process:
        process.communicate()
    assert digests(run) == expected
    # A finished study says so, and neither is work done nor is anything written.
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    with began(people) as process:
        out, told = process.communicate()
    assert "run: this study is finished, nothing to do" in told
    assert "estimate" not in told
    assert out.splitlines()[-1] == "report: run/report.html"
    after = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    assert {path for path in after if after[path] != before.get(path)} <= {run / ".lock"}


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_second_one_ends_it_at_once(people, workers):
    shutil.rmtree(people / "run", ignore_errors=True)
    with began(people, "--workers", workers) as process:
        wait_for(process, people / "run", "shards/detect/*.npz")
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.02)
        start = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        _, told = process.communicate()
    assert time.monotonic() - start < 2
    # The second one may reach an interpreter that is just ending; a shell shows 130 for both.
    assert process.returncode in (130, -signal.SIGINT)
    assert "Traceback" not in told
    assert all_end(process.pid, 5)

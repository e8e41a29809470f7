"""A real study, killed without warning again and again, ends as if nothing had happened."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

KILLS = 20
# Imports the package once, then runs the command in a fork of itself for each line it reads: a process like any other
# that the command is run in, except that it need not wait seconds for its imports.
SERVER = """
import os, sys
from leam.cli import main
import leam.parsers.builtin.landmarks, leam.recognizers.architectures.dlib_resnet, leam.study.run, leam.report.page
print("ready", flush=True)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        quiet = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1):
            os.dup2(quiet, stream)
        os.dup2(os.open("errors.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
        sys.argv = ["leam", *line.split()]
        main()
        os._exit(0)
    print(child, flush=True)
    sys.stdin.readline()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Runs:
    """Runs of ``leam study`` in one folder."""

    def __init__(self, server: subprocess.Popen[str]) -> None:
        self.server = server
        assert self._answer() == "ready"

    def run(self, out: str, kill_after: float | None = None) -> int:
        """Run to the end, or kill on the way; the exit status, -9 for a run that was killed."""
        self._ask(f"study faces --out {out} --images 2")
        process = int(self._answer())
        if kill_after is not None:
            # One that has ended by then is not waited for yet, so that nobody else has its number.
            time.sleep(kill_after)
            os.kill(process, signal.SIGKILL)
        self._ask("wait")
        return int(self._answer())

    def _ask(self, line: str) -> None:
        self.server.stdin.write(f"{line}\n")
        self.server.stdin.flush()

    def _answer(self) -> str:
        return self.server.stdout.readline().strip()


@contextmanager
def runs_in(folder: Path) -> Iterator[Runs]:
    with subprocess.Popen(
        [sys.executable, "-c", SERVER],
        cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as server:  # fmt: skip
        try:
            yield Runs(server)
        finally:
            server.stdin.close()
            server.wait(timeout=60)


def digests(run: Path) -> dict[str, str]:
    names = ("summary.json", "run.json", "report.html")
    files = sorted([*run.glob("tables/**/*.parquet"), *(run / name for name in names)])
    return {str(f.relative_to(run)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_study_survives_twenty_kills(views, tmp_path):
    shutil.copytree(views, tmp_path / "faces")
    generator = random.Random(0)
    with runs_in(tmp_path) as runs:
        began = time.monotonic()
        assert runs.run("whole") == 0, (tmp_path / "errors.txt").read_text()
        whole = time.monotonic() - began
        expected = digests(tmp_path / "whole")
        killed = finished = 0
        while killed < KILLS:
            # A run that is taken up again is shorter: this reaches its tables, summary and report.
            status = runs.run(f"killed-{finished}", generator.uniform(0, 0.7 * whole))
            assert status in {0, -signal.SIGKILL}, (tmp_path / "errors.txt").read_text()
            killed += status != 0
            if status == 0:
                assert digests(tmp_path / f"killed-{finished}") == expected
                finished += 1
        assert runs.run(f"killed-{finished}") == 0
        assert digests(tmp_path / f"killed-{finished}") == expected
        assert not list((tmp_path / f"killed-{finished}").rglob(".part-*"))

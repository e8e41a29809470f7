"""Kill studies without warning in every phase, and compare their results with those of undisturbed ones.

    python scripts/kill.py                             # 60 kills
    python scripts/kill.py --kills 6 --seed 1
    python scripts/kill.py --out benchmarks/kill.json

There are three kinds of kills, side by side: of the only process of a study with the preset quick, of the main process
of a study with the preset paper and two workers, and of single workers of such a study. After each kill the same
command is repeated until it ends. Its tables, summary, plan and report must then be the same, byte by byte, as those of
a study that nobody disturbed, and no process and no temporary file may be left. The exit code is 1 otherwise.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from leam.demo import write_views
from leam.version import installed_versions

# Imports the package once, then runs the command in a fork of itself for each line that it reads, so that runs need not
# wait seconds for its imports. A person a slice, so that few pictures keep two workers busy.
SERVER = """
import os, sys
from leam.cli import main
import leam.parsers.builtin.landmarks, leam.recognizers.architectures.dlib_resnet, leam.study.run, leam.report.page
from leam.study import run
plan_study = run.plan_study
run.plan_study = lambda *args, **more: plan_study(*args, **more).model_copy(update={"people_per_slice": 1})
print("ready", flush=True)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        quiet = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1):
            os.dup2(quiet, stream)
        os.dup2(os.open("errors.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
        sys.argv = ["leam", *line.split()]
        try:
            main()
        except SystemExit as ended:
            os._exit(ended.code)
        os._exit(0)
    print(child, flush=True)
    sys.stdin.readline()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
# A folder of the run that shows that a phase has begun, the last phase first.
PHASES = {
    "report": "summary.json",
    "figures": "tables",
    "compare": "shards/occlusion",
    "explain": "shards/explain",
    "embed": "shards/templates",
    "parse": "shards/parse",
    "detect": "shards/detect",
}
ORDER = ["start", *reversed(PHASES)]
# A report says when its figures were written.
DATE = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d UTC")


@dataclass(frozen=True)
class Kind:
    """A study, and which of its processes are killed.

    Attributes:
        name: Name of the kind in the counts.
        options: Options of ``leam study``.
        share: Part of all kills.
        worker: Kill workers instead of the main process.
    """

    name: str
    options: str
    share: float
    worker: bool = False


KINDS = (
    Kind("quick, only process", "", 0.5),
    Kind("paper, main process", "--preset paper --subset 1 --workers 2", 0.15),
    Kind("paper, one worker", "--preset paper --subset 1 --workers 2", 0.35, worker=True),
)


class Runs:
    """Runs of ``leam study`` with the faces of one folder."""

    def __init__(self, server: subprocess.Popen[str], folder: Path) -> None:
        self.server, self.folder = server, folder
        if self._answer() != "ready":
            raise RuntimeError("the server did not start")

    def run(
        self, kind: Kind, out: str, moments: Iterable[tuple[str, float]] = ()
    ) -> tuple[int, list[str]]:
        """Run a study to its end, and kill it or some of its workers on the way.

        Args:
            kind: The study.
            out: Its run folder.
            moments: For each kill, the phase and the seconds after it was reached. A main process is killed only once.

        Returns:
            The exit status, and the phase of each kill.
        """
        self._ask(f"study faces --out {out} --images 2 {kind.options}")
        process = int(self._answer())
        # A process that has ended is not waited for before it is asked for, so that nobody else has its number.
        phases = []
        for begun, seconds in moments:
            if phase := self._kill(kind, process, self.folder / out, begun, seconds):
                phases.append(phase)
            if not kind.worker or has_ended(process):
                break
        self._ask("wait")
        return int(self._answer()), phases

    def _kill(self, kind: Kind, process: int, run: Path, begun: str, after: float) -> str:
        """Kill a process some seconds after a phase has begun.

        Returns:
            The phase that was reached then, or nothing if the study ended before.
        """
        end = None
        while (
            end is None or time.monotonic() < end or (kind.worker and not any(workers_of(process)))
        ):
            if has_ended(process):
                return ""
            if end is None and ORDER.index(phase_of(run)) >= ORDER.index(begun):
                end = time.monotonic() + after
            time.sleep(0.01)
        victims = list(workers_of(process)) if kind.worker else [process]
        phase = phase_of(run)
        if not victims or has_ended(victim := victims[int(1000 * after) % len(victims)]):
            return ""
        os.kill(victim, signal.SIGKILL)
        return phase

    def _ask(self, line: str) -> None:
        if self.server.stdin:
            self.server.stdin.write(f"{line}\n")
            self.server.stdin.flush()

    def _answer(self) -> str:
        return self.server.stdout.readline().strip() if self.server.stdout else ""


@contextmanager
def runs_in(folder: Path) -> Iterator[Runs]:
    """Start the process that runs the studies. ``folder`` has the folder ``faces``."""
    with subprocess.Popen(  # noqa: S603  our own command
        [sys.executable, "-c", SERVER],
        cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as server:  # fmt: skip
        try:
            yield Runs(server, folder)
        finally:
            if server.stdin:
                server.stdin.close()
            server.wait(timeout=120)


def workers_of(process: int) -> Iterator[int]:
    """The numbers of the processes that work for another one."""
    with suppress(psutil.NoSuchProcess):
        for child in psutil.Process(process).children():
            with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                if any("spawn_main" in part for part in child.cmdline()):
                    yield child.pid


def has_ended(process: int) -> bool:
    """Whether a process has ended, also if nobody has waited for it yet."""
    try:
        return psutil.Process(process).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def is_in(process: Path, folder: Path) -> bool:
    """Whether a process, named by its folder in ``/proc``, works in a folder or below it."""
    try:
        return (process / "cwd").readlink().is_relative_to(folder)
    except OSError:
        return False


def phase_of(run: Path) -> str:
    """The phase that a study has reached."""
    return next((phase for phase, place in PHASES.items() if (run / place).exists()), "start")


def digests(run: Path) -> dict[str, str]:
    """SHA-256 of everything that must be the same whatever happened on the way; reports without their date."""
    names = ("summary.json", "run.json", "report.html")
    files = sorted([*run.glob("tables/**/*.parquet"), *(run / name for name in names)])
    contents = {str(f.relative_to(run)): DATE.sub(b"", f.read_bytes()) for f in files}
    return {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}


def write_faces(folder: Path, people: int) -> None:
    """Two pictures each of people, in fact of two people under several names."""
    write_views(folder / "views")
    for number, picture in enumerate(sorted((folder / "views").glob("*/*.png"))[: 2 * people]):
        target = folder / "faces" / str(number // 2)
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(picture, target / picture.name)


def kill_studies(
    runs: Runs, kind: Kind, kills: int, end: float, generator: random.Random
) -> dict[str, object]:
    """Kill studies of one kind, and count.

    Returns:
        The counts: kills by phase, studies that were finished, and faults by what they are.
    """
    name, faults = kind.name.replace(" ", "-").replace(",", ""), Counter[str]()
    began = time.monotonic()
    if runs.run(kind, f"{name}-whole")[0] != 0:
        raise RuntimeError((runs.folder / "errors.txt").read_text())
    whole = time.monotonic() - began
    expected = digests(runs.folder / f"{name}-whole")
    phases, finished, status = Counter[str](), 0, 0
    ahead = iter(ORDER)
    while (phases.total() < kills and time.monotonic() < end) or status != 0:
        out = f"{name}-{finished}"
        # One kill in each phase, so that none is left out; a study that is resumed goes on with the next one.
        moments = (
            (phase, generator.uniform(0, whole / len(ORDER)))
            for phase in ahead
            if time.monotonic() < end
        )
        status, killed = runs.run(kind, out, moments)
        phases.update(killed)
        # With one recognizer, a job whose worker is killed twice ends the study; the next run does it again.
        if status not in {0, -signal.SIGKILL} and not (kind.worker and killed):
            faults[f"exit status {status}"] += 1
        if status == 0:
            run = runs.folder / out
            faults["other results"] += digests(run) != expected
            faults["temporary files"] += len(list(run.rglob(".part-*")))
            shutil.rmtree(run)
            finished += 1
            ahead = iter(ORDER)
        print(f"{kind.name}: {phases.total()} of {kills} kills", file=sys.stderr, flush=True)
    return {
        "kills": phases.total(),
        "phases": dict(sorted(phases.items())),
        "studies": finished,
        "seconds_undisturbed": round(whole, 1),
        "faults": dict(+faults),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Kill studies and print the counts as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=60, help="number of kills")
    parser.add_argument("--minutes", type=float, default=600, help="no kills after this time")
    parser.add_argument("--people", type=int, default=3, help="people of each study, at most 6")
    parser.add_argument("--seed", type=int, default=0, help="random seed")
    parser.add_argument("--out", type=Path, help="JSON file for the counts")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_faces(folder, options.people)
        end = time.monotonic() + 60 * options.minutes

        def one(kind: Kind) -> dict[str, object]:
            generator = random.Random(f"{options.seed} {kind.name}")  # noqa: S311  no secret
            with runs_in(folder) as runs:
                return kill_studies(runs, kind, round(kind.share * options.kills), end, generator)

        with ThreadPoolExecutor(len(KINDS)) as threads:
            kinds = dict(zip([kind.name for kind in KINDS], threads.map(one, KINDS), strict=True))
        time.sleep(5)
        left = [entry.name for entry in Path("/proc").glob("[0-9]*") if is_in(entry, folder)]
    faults = any(one["faults"] for one in kinds.values()) or bool(left)
    record = {
        "people": options.people,
        "seed": options.seed,
        "kills": sum(int(str(one["kills"])) for one in kinds.values()),
        "kinds": kinds,
        "processes_left": len(left),
        "machine": platform.platform(),
        "versions": installed_versions(),
    }
    text = json.dumps(record, indent=2) + "\n"
    if options.out:
        options.out.write_text(text)
    print(text)
    return int(faults)


if __name__ == "__main__":
    sys.exit(main())

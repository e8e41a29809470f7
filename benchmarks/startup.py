"""Processor time until a command answers: python benchmarks/startup.py --runs 5.

The time is the user and system time of the whole process, which depends little on other programs. The minimum of
several runs is printed. ``--imports`` also lists the modules that take longest to import.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys

# Limits in seconds of processor time.
LIMIT = 0.6
COMMANDS = (
    "", "--help", "--version", "stduy", "explain --nonsense", "models", "models --json",
    "parse --help", "explain --help", "study --help", "models layers --help",
)  # fmt: skip
IMPORT_LIMIT = 1.1


def seconds(*arguments: str) -> float:
    """Processor time of a Python process with these arguments."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], capture_output=True, check=False)  # noqa: S603
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def least(runs: int, *arguments: str) -> float:
    """Minimum processor time of several runs."""
    return min(seconds(*arguments) for _ in range(runs))


def slowest_imports(command: str, count: int) -> list[tuple[float, str]]:
    """The modules with the longest import times, in milliseconds, without the modules that they import."""
    process = subprocess.run(  # noqa: S603
        [sys.executable, "-X", "importtime", "-m", "leam", *command.split()],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    rows = [line.removeprefix("import time:").split("|") for line in process.stderr.splitlines()]
    times = [
        (int(row[0]) / 1000, row[2].strip())
        for row in rows
        if len(row) == 3 and row[0].strip().isdecimal()
    ]
    return sorted(times, reverse=True)[:count]


def main() -> None:
    """Print one line per command, and compare ``import leam`` with ``import torch``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="runs of each command")
    parser.add_argument(
        "--imports", type=int, default=0, metavar="N", help="list the N slowest imports"
    )
    options = parser.parse_args()
    least(1, "-m", "leam")  # writes bytecode files
    slow = []
    for command in COMMANDS:
        took = least(options.runs, "-m", "leam", *command.split())
        print(f"{took:.2f} of {LIMIT:.1f} s  leam {command}")
        if took > LIMIT:
            slow.append(f"leam {command}")
        for milliseconds, module in slowest_imports(command, options.imports):
            print(f"        {milliseconds:6.1f} ms  {module}")
    torch, leam = (least(options.runs, "-c", f"import {name}") for name in ("torch", "leam"))
    print(f"{leam:.2f} s  import leam, {leam / torch:.2f} times import torch ({torch:.2f} s)")
    if leam > IMPORT_LIMIT * torch:
        slow.append("import leam")
    if slow:
        sys.exit(f"too slow: {', '.join(slow)}")


if __name__ == "__main__":
    main()

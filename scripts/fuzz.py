"""Try many damaged and hostile inputs, and count what became of them by kind.

    python scripts/fuzz.py                         # 200,000 inputs
    python scripts/fuzz.py --inputs 5000           # fewer
    python scripts/fuzz.py onnx                    # tests whose name contains this
    python scripts/fuzz.py --out benchmarks/fuzz.json

The inputs are random examples of the tests in ``tests/fuzz``. Each test runs in a process of its own. An input must be
accepted, or refused in one line, within 20 s; a process must stay below 2 GB, the libraries that it imports included.
The exit code is 1 if any of this fails.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import multiprocessing
import os
import platform
import resource
import subprocess
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from leam.version import installed_versions

ROOT = Path(__file__).resolve().parents[1]
PYTEST = [
    "-q",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:randomly",
    "--numprocesses=0",
    "--no-header",
    "--show-capture=no",
]
MEMORY = 2 * 10**9
# Tests whose inputs take seconds each, since they run a study, a report or onnxruntime, with their share of inputs.
COSTLY = {
    "test_a_report_of_changed_files": 0.05,
    "test_a_study_with_changed_files_is_resumed": 0.05,
    "test_quantised_graphs": 0.05,
}
OUTCOMES = ("accepted", "refused", "traceback", "hang")


@dataclass(frozen=True)
class Outcome:
    """What became of the inputs of one test.

    Attributes:
        test: Its name.
        kind: What is read: ``onnx``, ``pictures``, ...
        counts: Inputs by outcome.
        slowest: The longest time of one input, in seconds.
        memory: The largest resident memory of its process, in bytes.
        failure: The end of pytest's output if the test failed, else "".
    """

    test: str
    kind: str
    counts: dict[str, int]
    slowest: float
    memory: int
    failure: str


def tests(part: str) -> list[str]:
    """The tests that draw random inputs and whose name contains ``part``."""
    command = [sys.executable, "-m", "pytest", *PYTEST, "--collect-only", "-m", "hypothesis"]
    listed = subprocess.run(  # noqa: S603  our own command
        [*command, "tests/fuzz"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [line for line in listed.stdout.splitlines() if "::" in line and part in line]


def share(test: str) -> float:
    """The part of the inputs of an ordinary test that this one gets."""
    return COSTLY.get(test.partition("::")[2], 1.0)


def fuzz(test: str, inputs: int) -> Outcome:
    """Run one test with this many inputs, in this process."""
    os.chdir(ROOT)
    os.environ["LEAM_FUZZ"] = str(inputs)
    import pytest  # noqa: PLC0415  after the variable is set

    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        code = pytest.main([*PYTEST, test])
    from hostile import TALLIES  # noqa: PLC0415  pytest has put its folder on the path

    tally = TALLIES[test]
    return Outcome(
        test=test,
        kind=Path(test.partition("::")[0]).stem.removeprefix("test_"),
        counts={outcome: tally[outcome] for outcome in OUTCOMES},
        slowest=round(tally.slowest, 3),
        memory=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        failure=said.getvalue()[-3000:] if code else "",
    )


def by_kind(outcomes: list[Outcome]) -> dict[str, dict[str, float]]:
    """Counts, longest time in seconds and largest memory in bytes of each kind of input."""
    kinds: dict[str, dict[str, float]] = {}
    for kind in sorted({outcome.kind for outcome in outcomes}):
        of_kind = [outcome for outcome in outcomes if outcome.kind == kind]
        counts = sum((Counter(outcome.counts) for outcome in of_kind), Counter[str]())
        kinds[kind] = {
            "inputs": counts.total(),
            **{outcome: counts[outcome] for outcome in OUTCOMES},
            "slowest_seconds": max(outcome.slowest for outcome in of_kind),
            "peak_memory_bytes": max(outcome.memory for outcome in of_kind),
        }
    return kinds


def main() -> int:
    """Run all tests and print the counts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("part", nargs="?", default="", help="tests whose name contains this")
    parser.add_argument("--inputs", type=int, default=200_000, help="inputs in total, at least")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, help="JSON file for the counts")
    options = parser.parse_args()
    names = tests(options.part)
    each = math.ceil(options.inputs / sum(map(share, names)))
    outcomes = []
    with ProcessPoolExecutor(
        options.processes, multiprocessing.get_context("spawn"), max_tasks_per_child=1
    ) as pool:
        for done in as_completed(
            [pool.submit(fuzz, name, math.ceil(share(name) * each)) for name in names]
        ):
            outcome = done.result()
            outcomes.append(outcome)
            print(f"{outcome.test}: {outcome.counts}, slowest {outcome.slowest} s", flush=True)
            if outcome.failure:
                print(outcome.failure)
    kinds = by_kind(outcomes)
    total = sum(kind["inputs"] for kind in kinds.values())
    failed = [outcome.test for outcome in outcomes if outcome.failure]
    large = [outcome.test for outcome in outcomes if outcome.memory > MEMORY]
    print(json.dumps(kinds, indent=2))
    print(f"{total} inputs; failed: {failed or 'none'}; over 2 GB: {large or 'none'}")
    if options.out:
        found = {
            "inputs": total,
            "kinds": kinds,
            "failed": failed,
            "over_2_gb": large,
            "machine": platform.machine(),
            "versions": installed_versions(),
        }
        options.out.write_text(json.dumps(found, indent=2) + "\n")
    return 1 if failed or large else 0


if __name__ == "__main__":
    sys.exit(main())

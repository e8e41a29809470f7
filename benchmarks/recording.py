"""Record the figures of benchmarks in a JSON file, with the machine and the versions used."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from leam.explain.memory import worker_environment
from leam.recognizers.catalogue import load_recognizer
from leam.recognizers.recognizer import Recognizer
from leam.version import installed_versions

Runs = Mapping[str, Callable[[], object]]


def arguments(description: str | None) -> argparse.ArgumentParser:
    """An argument parser with ``--out`` and ``--page``. Its help shows the first line of the description."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    parser.add_argument("--page", type=Path, help="Markdown page to insert the table into")
    return parser


def as_worker() -> None:
    """Restart this program with the environment variables of a study's worker processes."""
    if not worker_environment().items() <= os.environ.items():
        environment = {**os.environ, **worker_environment()}
        os.execve(sys.executable, sys.orig_argv, environment)  # noqa: S606  our own command


def asked(description: str | None, **switches: str) -> argparse.Namespace:
    """Parse the command line of a benchmark of recognizers.

    The options are ``models``, ``rounds``, ``out``, ``page``, and switches.

    Args:
        description: Description of the benchmark; its first line is shown.
        switches: Help texts of switches by name.
    """
    parser = arguments(description)
    parser.add_argument("--models", default="dlib_resnet", help="comma-separated, or all")
    parser.add_argument("--rounds", type=int, default=7)
    for name, does in switches.items():
        parser.add_argument(f"--{name.replace('_', '-')}", action="store_true", help=does)
    options = parser.parse_args()
    as_worker()
    return options


def all_models() -> list[str]:
    """The default recognizer and the example cards."""
    return ["dlib_resnet", *map(str, sorted(Path("examples/cards").glob("*.toml")))]


def load(names: str) -> list[Recognizer]:
    """The recognizers of a comma-separated list; ``all`` for all eleven."""
    wanted = all_models() if names == "all" else names.split(",")
    return [load_recognizer(name) for name in wanted]


def noise(recognizer: Recognizer, count: int) -> torch.Tensor:
    """Random chips ``(count, h, w, 3)`` uint8 of a recognizer's size, with a fixed seed."""
    generator = torch.Generator().manual_seed(0)
    size = (count, *recognizer.card.input_size, 3)
    return torch.randint(0, 256, size, generator=generator, dtype=torch.uint8)


def interleaved(
    runs: Runs, rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Seconds of each run in each round. Runs are interleaved, so that load from outside affects all alike."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name, run in runs.items():
            start = clock()
            run()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if turn:  # the first round is a warm-up
                times[name].append(clock() - start)
    return times


def ratio(times: Mapping[str, list[float]], name: str, over: str) -> float:
    """Median over rounds of the ratio between the times of two runs in the same round."""
    pairs = zip(times[name], times[over], strict=True)
    return statistics.median(a / b for a, b in pairs)


def record(path: Path | None, key: str, found: object) -> None:
    """Write the figures of one benchmark under its key, and keep those of others."""
    if path is None:
        return
    content: dict[str, Any] = {}
    if path.is_file():
        content = json.loads(path.read_text(encoding="utf-8"))
    content[key] = found
    content.setdefault("machines", {})[key] = machine()
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def machine() -> dict[str, Any]:
    """Description of the machine: processor, cores, load, and versions."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "versions": installed_versions(),
    }


def _processor() -> str:
    table = Path("/proc/cpuinfo")
    if table.is_file():
        for line in table.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()

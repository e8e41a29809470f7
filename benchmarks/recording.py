"""Put a benchmark's figures into one JSON file, beside the machine and the versions that gave them."""

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
    """A command line with ``--out`` and ``--page``; the first line of the description is shown."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    parser.add_argument("--page", type=Path, help="a Markdown page that takes the table")
    return parser


def as_worker() -> None:
    """Start this program again with the environment variables of a study's worker processes."""
    if not worker_environment().items() <= os.environ.items():
        environment = {**os.environ, **worker_environment()}
        os.execve(sys.executable, sys.orig_argv, environment)  # noqa: S606  our own command


def asked(description: str | None, **switches: str) -> argparse.Namespace:
    """What the command line asks of a benchmark of recognizers.

    These are ``models``, ``rounds``, ``out``, ``page``, and switches.

    Args:
        description: The benchmark's own; its first line is shown.
        switches: What each does, by name.
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
    """The built-in recognizer, and the cards of the examples."""
    return ["dlib_resnet", *map(str, sorted(Path("examples/cards").glob("*.toml")))]


def load(names: str) -> list[Recognizer]:
    """The recognizers of a comma-separated list; ``all`` for the ten."""
    wanted = all_models() if names == "all" else names.split(",")
    return [load_recognizer(name) for name in wanted]


def noise(recognizer: Recognizer, count: int) -> torch.Tensor:
    """Seeded chips ``(count, h, w, 3)`` uint8 of a recognizer's size."""
    generator = torch.Generator().manual_seed(0)
    size = (count, *recognizer.card.input_size, 3)
    return torch.randint(0, 256, size, generator=generator, dtype=torch.uint8)


def interleaved(
    runs: Runs, rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Seconds of every run in every round, one after another, so that a slow moment slows all alike."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name, run in runs.items():
            start = clock()
            run()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if turn:  # the first round warms up
                times[name].append(clock() - start)
    return times


def ratio(times: Mapping[str, list[float]], name: str, over: str) -> float:
    """The median over rounds of one run's time over another's in the same round."""
    pairs = zip(times[name], times[over], strict=True)
    return statistics.median(a / b for a, b in pairs)


def record(path: Path | None, key: str, found: object) -> None:
    """Write the figures of one benchmark under its key, and leave those of others."""
    if path is None:
        return
    content: dict[str, Any] = {}
    if path.is_file():
        content = json.loads(path.read_text(encoding="utf-8"))
    content[key] = found
    content.setdefault("machines", {})[key] = machine()
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def machine() -> dict[str, Any]:
    """What ran the benchmark: processor, cores, load of others, and versions."""
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

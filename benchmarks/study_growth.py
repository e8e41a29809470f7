"""How a study's time grows with its people and with its recognizers, by the command that users run.

    python benchmarks/study_growth.py FACES --people 2,4,8 --models dlib_resnet,CARD,CARD --out benchmarks/results.json

``growth`` is the exponent b of the fit time = a n^b, least squares on logarithms: 1 is linear, less where a fixed part
(start, loading) still counts.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from recording import record


def seconds(faces: Path, people: int, models: Sequence[str]) -> float:
    """Wall time of one study, start of the process included."""
    names = [name for name in models if not name.endswith(".toml")]
    cards = [part for name in models if name.endswith(".toml") for part in ("--card", name)]
    wanted = ",".join([*names, *(Path(name).stem for name in models if name.endswith(".toml"))])
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable, "-m", "leam", "study", str(faces), "--out", f"{folder}/run",
            "--people", str(people), "--images", "2", "--models", wanted, *cards,
        ]  # fmt: skip
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603  our own command
        return time.perf_counter() - start


def growth(counts: Sequence[int], times: Sequence[float]) -> float | None:
    """The exponent of a power fitted to times; None for a single count."""
    if len(counts) < 2:
        return None
    slope, _ = np.polyfit([math.log(n) for n in counts], [math.log(t) for t in times], 1)
    return float(slope)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("faces", type=Path)
    parser.add_argument("--people", default="2,4,8")
    parser.add_argument("--models", default="dlib_resnet")
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    options = parser.parse_args()
    people = [int(n) for n in options.people.split(",")]
    models = options.models.split(",")
    by_people = [seconds(options.faces, n, models[:1]) for n in people]
    counts = list(range(1, len(models) + 1))
    by_models = [by_people[0], *(seconds(options.faces, people[0], models[:n]) for n in counts[1:])]
    found = {
        "people": dict(zip(map(str, people), by_people, strict=True)),
        "people_growth": growth(people, by_people),
        "models": dict(zip(map(str, counts), by_models, strict=True)),
        "models_growth": growth(counts, by_models),
    }
    print(found)
    record(options.out, "study", found)


if __name__ == "__main__":
    main()

r"""How a study's time grows with its people and with its recognizers, by the command that users run.

    python benchmarks/study_growth.py FACES --people 16,32,64,128 --models dlib_resnet,CARD,CARD \
        --out benchmarks/results.json --page docs/performance.md --figure docs/images/growth.png

The growth is the exponent b of the fit time = a n^b, least squares on logarithms: 1 is linear, less where a fixed part
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
from typing import Any

import matplotlib as mpl
import numpy as np
from markdown import show
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from recording import record

from leam.report.drawing import INK, SERIES
from leam.report.plotting import STYLE

Times = dict[str, float]
"""Seconds, by how many there were."""


def seconds(faces: Path, people: int, models: Sequence[str]) -> float:
    """Wall time of one study, start of the process included."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable, "-m", "leam", "study", str(faces), "--out", f"{folder}/run",
            "--people", str(people), "--images", "2", "--models", ",".join(models),
        ]  # fmt: skip
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603  our own command
        return time.perf_counter() - start


def growth(times: Times) -> float | None:
    """The exponent of a power fitted to times; None for a single one."""
    return _fit(times)[0] if len(times) > 1 else None


def _fit(times: Times) -> tuple[float, float]:
    """Slope and offset of a line through the logarithms."""
    counts, values = [math.log(int(n)) for n in times], [math.log(t) for t in times.values()]
    slope, offset = np.polyfit(counts, values, 1)
    return float(slope), float(offset)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("faces", type=Path)
    parser.add_argument("--people", default="16,32,64,128")
    parser.add_argument("--models", default="dlib_resnet")
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    parser.add_argument("--page", type=Path, help="a Markdown page that takes the table")
    parser.add_argument("--figure", type=Path, help="a PNG file for the picture")
    options = parser.parse_args()
    people = [int(n) for n in options.people.split(",")]
    models = options.models.split(",")
    by_people = {str(n): seconds(options.faces, n, models[:1]) for n in people}
    by_models = {"1": by_people[str(people[0])]}
    for n in range(2, len(models) + 1):
        by_models[str(n)] = seconds(options.faces, people[0], models[:n])
    found = {
        "people": by_people,
        "people_growth": growth(by_people),
        "models": by_models,
        "models_growth": growth(by_models),
    }
    show(table(found), options.page, "growth")
    record(options.out, "study", found)
    if options.figure:
        draw(found, options.figure)


def table(found: dict[str, Any]) -> str:
    """Every study's time, and the growths, as Markdown."""
    people, models = found["people"], found["models"]
    lines = ["| people | recognizers | seconds | images a second |", "|---|---|---|---|"]
    few = next(iter(people))
    rows = [(n, "1", s) for n, s in people.items()]
    rows += [(few, n, s) for n, s in models.items() if n != "1"]
    lines += [f"| {n} | {m} | {s:.1f} | {2 * int(n) * int(m) / s:.1f} |" for n, m, s in rows]
    exponents = ", ".join(
        f"{found[f'{name}_growth']:.2f} with {what}"
        for name, what in (("people", "people"), ("models", "recognizers"))
        if found[f"{name}_growth"] is not None
    )
    return "\n".join([*lines, "", f"Growth: {exponents}."])


def draw(found: dict[str, Any], path: Path) -> None:
    """Time over people and over recognizers, with the fits."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 2.8), layout="constrained")
        left, right = figure.subplots(1, 2)
        _curve(left, found["people"], found["people_growth"], "people, two pictures each")
        _curve(right, found["models"], found["models_growth"], "recognizers")
        left.set_ylabel("seconds")
        figure.savefig(path, dpi=150)


def _curve(axes: Axes, times: Times, exponent: float | None, name: str) -> None:
    counts = [int(n) for n in times]
    axes.plot(counts, list(times.values()), "o", color=SERIES[0])
    if exponent is not None:
        slope, offset = _fit(times)
        along = np.linspace(counts[0], counts[-1], 50)
        axes.plot(along, math.exp(offset) * along**slope, color=SERIES[0], linewidth=1)
        axes.set_title(f"grows with the power {exponent:.2f}", fontsize=9, color=INK, loc="left")
    axes.set_xticks(counts)
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.set_xlabel(name)


if __name__ == "__main__":
    main()

r"""How the time of a study grows with the number of people and of recognizers, measured with ``leam study``.

    python benchmarks/study_growth.py FACES --people 32,64,128,256,512 --models dlib_resnet,CARD,CARD \
        --out benchmarks/results.json --page docs/appendices/performance.md --figure docs/images/growth.png

Two fits by least squares: time = fixed + each n, where the fixed part is start-up, loading and report; and the power b
of time = a n^b on logarithms, which is 1 if time is linear, and lower if the fixed part is still significant.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markdown import show
from recording import arguments, record

from leam.report.charts import SERIES, Line, LinePanel, Lines
from leam.report.drawing import figure_files

Times = dict[str, float]
"""Seconds by number of people or recognizers."""


def seconds(faces: Path, people: int, models: Sequence[str]) -> float:
    """Wall time of one study, including the start of the process."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable, "-m", "leam", "study", str(faces), "--out", f"{folder}/run",
            "--people", str(people), "--images", "2", "--models", ",".join(models),
        ]  # fmt: skip
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603  our own command
        return time.perf_counter() - start


def fits(times: Times) -> dict[str, float]:
    """Fit ``fixed`` and ``each`` in seconds, and ``power``, to at least two times."""
    counts, values = np.array([int(n) for n in times]), np.array(list(times.values()))
    each, fixed = np.polyfit(counts, values, 1)
    power, _ = np.polyfit(np.log(counts), np.log(values), 1)
    return {"fixed": float(fixed), "each": float(each), "power": float(power)}


def main() -> None:
    """Run from the command line."""
    parser = arguments(__doc__)
    parser.add_argument("faces", type=Path)
    parser.add_argument("--people", default="32,64,128,256,512")
    parser.add_argument("--models", default="dlib_resnet")
    parser.add_argument("--figure", type=Path, help="PNG file for the figure")
    options = parser.parse_args()
    people = [int(n) for n in options.people.split(",")]
    models = options.models.split(",")
    by_people = {str(n): seconds(options.faces, n, models[:1]) for n in people}
    middle = people[len(people) // 2]
    by_models = {"1": by_people[str(middle)]}
    for n in range(2, len(models) + 1):
        by_models[str(n)] = seconds(options.faces, middle, models[:n])
    found = {
        "people_of_models": middle,
        "people": by_people,
        "models": by_models,
        "growth": {"people": fits(by_people), "models": fits(by_models)},
    }
    show(table(found), options.page, "growth")
    record(options.out, "study", found)
    if options.figure:
        draw(found, options.figure)


def table(found: dict[str, Any]) -> str:
    """Markdown table of the times and the fits."""
    people, models = found["people"], found["models"]
    lines = ["| people | recognizers | seconds | images a second |", "|---|---|---|---|"]
    middle = found["people_of_models"]
    rows = [(n, "1", s) for n, s in people.items()]
    rows += [(middle, n, s) for n, s in models.items() if n != "1"]
    lines += [f"| {n} | {m} | {s:.1f} | {2 * int(n) * int(m) / s:.1f} |" for n, m, s in rows]
    growths = "; ".join(
        f"{fit['fixed']:.1f} s and {fit['each']:.3f} s for each {what}, power {fit['power']:.2f}"
        for what, fit in zip(("person", "recognizer"), found["growth"].values(), strict=True)
    )
    return "\n".join([*lines, "", f"Fits: {growths}."])


def draw(found: dict[str, Any], path: Path) -> None:
    """Plot time by number of people and by number of recognizers, with the fits."""
    growths = found["growth"]
    panels = [
        _panel(found["people"], growths["people"], "people, two pictures each", "a person"),
        _panel(found["models"], growths["models"], "recognizers", "a recognizer"),
    ]
    path.write_bytes(figure_files(Lines(panels, "seconds"), wide=True)["png"])


def _panel(times: Times, fit: dict[str, float], name: str, one: str) -> LinePanel:
    counts = [float(n) for n in times]
    along = [0.0, max(counts)]
    title = f"{fit['fixed']:.0f} s and {fit['each']:.2g} s {one}"
    fitted = [fit["fixed"] + fit["each"] * count for count in along]
    lines = [
        Line("measured", counts, list(times.values()), SERIES[0], width=0),
        Line("fit", along, fitted, SERIES[1], dots=False),
    ]
    return LinePanel(title, lines, name, zero=True)


if __name__ == "__main__":
    main()

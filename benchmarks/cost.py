"""What all layer maps cost over one inference forward pass of the same recognizer and batch.

    python benchmarks/cost.py --models dlib_resnet,examples/cards/mobileface_v2.toml --page docs/performance.md

Runs are interleaved in one process, and the ratio of medians is reported, since machines are noisy. The floor is two
passes: one forward, one backward to the activations.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from markdown import write_between

from leam.mapping import Explainer
from leam.recognizers import load_recognizer
from leam.study.plan import installed_versions

BATCH = 16


def seconds(run: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def measure(name: str, rounds: int) -> dict[str, Any]:
    """Medians of a forward pass, of a plain forward and backward pass, and of all maps, and their ratios."""
    recognizer = load_recognizer(name)
    explainer = Explainer(recognizer)
    height, width = recognizer.card.input_size
    generator = torch.Generator().manual_seed(0)
    chips = torch.randint(0, 256, (BATCH, height, width, 3), generator=generator, dtype=torch.uint8)
    kinds: dict[str, Callable[[], object]] = {
        "forward": lambda: recognizer.embed(chips),
        "passes": lambda: explainer.differentiate(chips),
        "maps": lambda: explainer.explain(chips),
    }
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    for turn in range(rounds + 1):
        for kind, run in kinds.items():
            taken = seconds(run)
            if turn:  # the first round warms up
                times[kind].append(taken)
    median = {kind: statistics.median(values) for kind, values in times.items()}
    return {
        "name": recognizer.name,
        "layers": len(explainer.layers),
        "forward_ms": 1000 * median["forward"] / BATCH,
        "passes_ratio": median["passes"] / median["forward"],
        "ratio": median["maps"] / median["forward"],
    }


def table(rows: list[dict[str, Any]]) -> str:
    """One row a recognizer, as Markdown."""
    lines = [
        "| recognizer | layers | forward, ms a face | both passes | all maps |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {r['name']} | {r['layers']} | {r['forward_ms']:.1f} | {r['passes_ratio']:.2f} | {r['ratio']:.2f} |"
        for r in rows
    ]
    return "\n".join(lines)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--models", default="dlib_resnet")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    parser.add_argument("--page", type=Path, help="a Markdown page that takes the table")
    options = parser.parse_args()
    rows = [measure(name, options.rounds) for name in options.models.split(",")]
    print(table(rows))
    if options.out:
        machine = {"processor": platform.processor(), "threads": torch.get_num_threads()}
        found = {"machine": machine, "versions": installed_versions(), "cost": rows}
        options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if options.page:
        write_between(options.page, "cost", table(rows))


if __name__ == "__main__":
    main()

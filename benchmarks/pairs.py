"""Cost of the statistics by number of people: overlaps of pairs, their intervals, and figures of layers.

    python benchmarks/pairs.py --people 1000,8000,32000 --out benchmarks/results.json \
        --page docs/appendices/performance.md

Maps are seeded random numbers, two per person, in groups like those of a study. All genuine pairs are computed, and all
impostor pairs within a group, of which a sample is kept. The times do not include the creation of the random maps.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from markdown import show
from memory import resident
from recording import arguments, record
from torch import Tensor

from leam.explain.masks import critical_mask
from leam.metrics.overlap import bhattacharyya_matrix
from leam.metrics.specificity import Block, Pool
from leam.metrics.statistics import bootstrap_means

PICTURES = 2
SIZE = (112, 112)
# People per group, and figures of 48 layers, as in a study.
GROUP = 64
FIGURES = 816


def measure(people: int) -> dict[str, Any]:
    """Seconds, pairs per second, and bytes held at the end, for a number of people."""
    before = resident()
    pool, overlaps = Pool(people), 0.0
    for masks, person in groups(people):
        start = time.perf_counter()
        found = bhattacharyya_matrix(masks, masks).numpy().astype(np.float64)
        pool.add(Block(found, person))
        overlaps += time.perf_counter() - start
    result = pool.found()
    pairs = len(result.same) + int(result.counts.sum() / 2)
    start = time.perf_counter()
    result.estimates(seed=0)
    intervals = time.perf_counter() - start
    values = np.random.default_rng(0).random((people * PICTURES, FIGURES), dtype=np.float32)
    start = time.perf_counter()
    bootstrap_means(values, np.repeat(np.arange(people), PICTURES), seed=0)
    figures = time.perf_counter() - start
    return {
        "pairs": pairs,
        "pairs_per_second": pairs / overlaps,
        "overlap_seconds": overlaps,
        "interval_seconds": intervals,
        "figure_seconds": figures,
        "resident_bytes": resident() - before - values.nbytes,
    }


def groups(people: int) -> Iterator[tuple[Tensor, np.ndarray]]:
    """Critical masks ``(n, h, w)`` of a group, and their person numbers."""
    generator = torch.Generator().manual_seed(0)
    for first in range(0, people, GROUP):
        person = np.repeat(np.arange(first, min(first + GROUP, people)), PICTURES)
        yield critical_mask(torch.rand(len(person), *SIZE, generator=generator)), person


def table(found: dict[str, dict[str, Any]]) -> str:
    """Markdown table with one row per number of people."""
    lines = [
        f"| people | pairs | pairs a second | overlaps, s | their intervals, s | {FIGURES} figures, s | MB |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {people} | {r['pairs']} | {r['pairs_per_second']:.0f} | {r['overlap_seconds']:.1f} | "
        f"{r['interval_seconds']:.1f} | {r['figure_seconds']:.1f} | {r['resident_bytes'] / 1e6:.0f} |"
        for people, r in found.items()
    ]
    return "\n".join(lines)


def main() -> None:
    """Run from the command line."""
    parser = arguments(__doc__)
    parser.add_argument("--people", default="1000,8000,32000", help="comma-separated numbers")
    options = parser.parse_args()
    torch.set_num_threads(1)  # as in a study
    found = {people: measure(int(people)) for people in options.people.split(",")}
    record(options.out, "pairs", found)
    show(table(found), options.page, "pairs")


if __name__ == "__main__":
    main()

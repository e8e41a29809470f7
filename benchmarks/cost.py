"""What all layer maps cost over one inference forward pass of the same recognizer and batch.

    python benchmarks/cost.py --models all --out benchmarks/results.json --page docs/performance.md

Runs are interleaved in one process, and the median of the rounds' ratios is reported, since machines are noisy. The
forward pass is the module's own, as given. ``plain`` is both passes by the plain definition, which holds all
activations and gradients; ``difference`` is the largest of overall maps from those, over their largest value. All is
on as many threads as torch takes by itself, and with ``--one-thread`` on one, too. Where there is a GPU, IResNet-50 and
100 with seeded random weights are measured too.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from markdown import show
from recording import asked, interleaved, load, noise, ratio, record
from torch import Tensor

from leam.explain.aggregates import AGGREGATES, distribution, distributions
from leam.explain.backends import kernels as loops
from leam.explain.explainer import Explainer
from leam.explain.weightings import WEIGHTINGS
from leam.recognizers.architectures.iresnet import IResNet
from leam.recognizers.card import Card
from leam.recognizers.recognizer import Recognizer

BATCH = 32
GPU_BATCH = 256


def measure(recognizer: Recognizer, rounds: int, batch: int = BATCH) -> dict[str, Any]:
    """Medians of a forward pass, of the plain definition and of all maps, and their ratios."""
    explainer = Explainer(recognizer)
    chips = noise(recognizer, batch)
    times = interleaved(
        {
            "forward": lambda: recognizer.embed(chips, batch),
            "plain": lambda: explainer.differentiate(chips),
            "steps": lambda: explain_without_loops(explainer, chips),
            "maps": lambda: explainer.explain(chips),
        },
        rounds,
    )
    return {
        "layers": len(explainer.layers),
        "forward_ms": 1000 * statistics.median(times["forward"]) / batch,
        "plain_ratio": ratio(times, "plain", "forward"),
        "ratio_without_loops": ratio(times, "steps", "forward"),
        "ratio": ratio(times, "maps", "forward"),
        "images_per_second": batch / statistics.median(times["maps"]),
        "difference": difference(explainer, chips),
    }


def difference(explainer: Explainer, chips: Tensor) -> float:
    """The largest difference of overall maps from the plain definition's, over the largest value of those."""
    activations, gradients, _, _ = explainer.differentiate(chips)
    weigh, join = WEIGHTINGS[explainer.weighting], AGGREGATES[explainer.aggregate]
    with without_loops():
        maps, _ = distributions(list(map(weigh, activations, gradients)))
        plain = distribution(join(maps, explainer.recognizer.card.input_size))
    return float((explainer.explain(chips).overall - plain).abs().max() / plain.max())


def explain_without_loops(explainer: Explainer, chips: Tensor) -> None:
    """All maps by torch's own steps, as without the extra ``fast``."""
    with without_loops():
        explainer.explain(chips)


@contextmanager
def without_loops() -> Iterator[None]:
    """Take torch's own steps inside the block."""
    installed = loops.INSTALLED
    loops.INSTALLED = False
    try:
        yield
    finally:
        loops.INSTALLED = installed


def measure_gpu(rounds: int) -> dict[str, dict[str, Any]]:
    """IResNet-50 and 100 on a GPU, at a batch of 256; empty, and said so, without one."""
    if not torch.cuda.is_available():
        print("GPU: skipped, torch sees none")
        return {}
    found = {}
    for name, depth in {"iresnet50": 50, "iresnet100": 100}.items():
        torch.manual_seed(0)
        module = IResNet(depth).eval()
        recognizer = Recognizer(module, Card(name=name, input_size=(112, 112)), "cuda")
        found[name] = measure(recognizer, rounds, GPU_BATCH)
        del module, recognizer
        torch.cuda.empty_cache()
    return found


def table(found: dict[str, dict[str, Any]]) -> str:
    """One row a recognizer, as Markdown."""
    lines = [
        "| recognizer | layers | forward, ms a face | plain definition | maps without loops | all maps | difference |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {r['layers']} | {r['forward_ms']:.2f} | {r['plain_ratio']:.2f} | "
        f"{r['ratio_without_loops']:.2f} | {r['ratio']:.2f} | {r['difference']:.0e} |"
        for name, r in found.items()
    ]
    return "\n".join(lines)


def main() -> None:
    """Run from the command line."""
    options = asked(__doc__, one_thread="measure on one thread, too")
    if not loops.ready(BATCH):
        print(
            "compiled loops: none; they need the extra fast (numba), and on several threads Linux"
        )
    recognizers = load(options.models)
    found = {r.name: measure(r, options.rounds) for r in recognizers}
    found |= measure_gpu(options.rounds)
    record(options.out, "cost", found)
    show(table(found), options.page, "cost")
    if options.one_thread:
        torch.set_num_threads(1)
        alone = {r.name: measure(r, options.rounds) for r in recognizers}
        record(options.out, "cost_one_thread", alone)
        show(table(alone), options.page, "cost_one_thread")


if __name__ == "__main__":
    main()

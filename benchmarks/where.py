"""Profile of `Explainer.explain` by recognizer.

    python benchmarks/where.py --models all --out benchmarks/results.json --page docs/appendices/performance.md

torch.profiler's events form a tree. The self time of an event is assigned to the outermost event among itself and its
ancestors that ``KINDS`` names. The rest is the kernel, pooling, sums of branches, the normalisation of maps, and
Python. It runs on one thread, since times only add up then. The weighting is measured in torch's operations; if the
kernel computes it, it is part of the kernel's time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from markdown import show
from recording import asked, load, noise, record
from torch import Tensor
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile, record_function

from leam.explain.aggregates import AGGREGATES
from leam.explain.explainer import DEFAULT_AGGREGATE, DEFAULT_WEIGHTING, Explainer
from leam.explain.weightings import WEIGHTINGS
from leam.recognizers.recognizer import Recognizer

BATCH = 16
WHOLE = "explain"
KINDS = {
    "forward convolutions": ("aten::conv2d", "aten::convolution"),
    "backward convolutions": ("aten::convolution_backward",),
    "matrix products": ("aten::linear", "aten::matmul", "aten::addmm", "aten::mm", "aten::bmm"),
    "activations": (
        "aten::relu", "aten::relu_", "aten::prelu", "aten::clamp", "aten::clamp_", "aten::hardtanh",
        "aten::hardtanh_", "aten::gelu", "aten::silu", "aten::sigmoid", "aten::threshold_backward",
        "aten::hardtanh_backward", "aten::lerp_", "aten::gelu_backward", "aten::silu_backward",
        "aten::sigmoid_backward", "aten::erf", "ErfBackward0",
    ),
    "normalisation": (
        "aten::batch_norm", "aten::layer_norm", "aten::native_batch_norm_backward",
        "aten::native_layer_norm_backward",
    ),
    "weighting": (),
    "upsampling": (),
}  # fmt: skip
KIND_OF = {name: kind for kind, names in KINDS.items() for name in names}
# Within a fused operation, products and sums belong to a normalisation.
FUSED = ("Function", "FunctionBackward")
OF_FUSED = ("aten::mul", "aten::mul_", "aten::add_")

Result = TypeVar("Result")


def labelled(label: str, function: Callable[..., Result]) -> Callable[..., Result]:
    """Wrap a function so that the profiler records its time under a label."""

    def run(*args: object) -> Result:
        with record_function(label):
            return function(*args)

    return run


def kind_of(event: FunctionEvent) -> str | None:
    """The kind of an event's self time; None for the rest."""
    kind: str | None = None
    parent: FunctionEvent | None = event
    while parent is not None:
        name = parent.name
        if kind is None and name in FUSED and event.name in OF_FUSED:
            kind = "normalisation"
        kind = name if name in KINDS else KIND_OF.get(name, kind)
        parent = parent.cpu_parent
    return kind


def measure(recognizer: Recognizer, rounds: int) -> dict[str, Any]:
    """Time per face under the profiler and its shares, from the fastest round, which was disturbed least."""
    chips = noise(recognizer, BATCH)
    WEIGHTINGS("labelled")(labelled("weighting", WEIGHTINGS[DEFAULT_WEIGHTING]))
    AGGREGATES("labelled")(labelled("upsampling", AGGREGATES[DEFAULT_AGGREGATE]))
    explainer = Explainer(recognizer, weighting="labelled", aggregate="labelled")
    explainer.explain(chips)
    run = labelled(WHOLE, explainer.explain)
    whole, spent = min((profiled(run, chips) for _ in range(rounds)), key=lambda found: found[0])
    shares = {kind: spent[kind] / whole for kind in KINDS}
    return {
        "ms_per_face": whole / 1000 / BATCH,
        "shares": shares | {"rest": 1 - sum(shares.values())},
    }


def profiled(run: Callable[[Tensor], object], chips: Tensor) -> tuple[float, Counter[str]]:
    """Microseconds of a run in total and by kind."""
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        run(chips)
    spent: Counter[str] = Counter()
    whole = 0.0
    for event in profiler.events() or []:
        if event.name == WHOLE:
            whole += event.cpu_time_total
        elif kind := kind_of(event):
            spent[kind] += event.self_cpu_time_total
    return whole, spent


def table(found: dict[str, dict[str, Any]]) -> str:
    """Markdown table with one row per recognizer; shares in percent."""
    kinds = list(next(iter(found.values()))["shares"])
    lines = [
        f"| recognizer | ms a face | {' | '.join(kinds)} |",
        "|---" * (2 + len(kinds)) + "|",
    ]
    for name, r in found.items():
        shares = " | ".join(f"{100 * r['shares'][kind]:.0f}" for kind in kinds)
        lines.append(f"| {name} | {r['ms_per_face']:.1f} | {shares} |")
    return "\n".join(lines)


def main() -> None:
    """Run from the command line."""
    options = asked(__doc__)
    torch.set_num_threads(1)
    found = {r.name: measure(r, options.rounds) for r in load(options.models)}
    record(options.out, "profile", found)
    show(table(found), options.page, "profile")


if __name__ == "__main__":
    main()

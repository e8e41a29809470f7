"""The cost of all layer maps, relative to one forward pass of the same recognizer and batch.

    python benchmarks/cost.py --models all --out benchmarks/results.json --page docs/appendices/performance.md

Everything runs on one thread, like each process of a study, and is measured in processor time, which depends least on
other programs. ``--all-threads`` measures wall time with torch's default number of threads instead. Runs are
interleaved in one process, and the median of the rounds' ratios is reported. The forward pass is that of the module
itself. ``plain`` is the plain backend, which holds all activations and gradients; it is slow and runs once. Each
kernel of the fused backend is disabled in turn; there is only one, so this is also the cost without numba.
``onnxruntime`` is the cost relative to that library's forward pass of the same file, with the same number of threads.
``difference`` is the largest difference between the overall maps of both backends, relative to their largest value.
With a GPU, IResNet-50 and 100 with random weights are measured as well.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any
from unittest import mock

import torch
from markdown import show
from recording import asked, interleaved, load, noise, ratio, record
from torch import Tensor

from leam.explain.backends import _operations
from leam.explain.explainer import Explainer
from leam.recognizers.architectures.iresnet import IResNet
from leam.recognizers.card import Card
from leam.recognizers.catalogue import locate
from leam.recognizers.recognizer import Recognizer

BATCH = 32
GPU_BATCH = 256


def measure(
    recognizer: Recognizer, rounds: int, clock: Callable[[], float], batch: int = BATCH
) -> dict[str, Any]:
    """Median times of a forward pass and of all maps with both backends, and their ratios."""
    explainer, plain = Explainer(recognizer), Explainer(recognizer, backend="plain")
    chips = noise(recognizer, batch)
    runs: dict[str, Callable[[], object]] = {
        "forward": lambda: recognizer.embed(chips, batch),
        "without": lambda: without_kernel(explainer, chips),
        "fused": lambda: explainer.explain(chips),
    }
    if session := onnx_forward(recognizer, chips):
        runs["onnx"] = session
    times = interleaved(runs, rounds, clock)
    start = clock()
    expected = plain.explain(chips).overall
    forward = statistics.median(times["forward"])
    return {
        "layers": len(explainer.layers),
        "forward_ms": 1000 * forward / batch,
        "plain_ratio": (clock() - start) / forward,
        "ratio_without_kernel": ratio(times, "without", "forward"),
        "ratio": ratio(times, "fused", "forward"),
        "kernel_gain": ratio(times, "without", "fused") - 1,
        "ratio_onnxruntime": ratio(times, "fused", "onnx") if session else None,
        "difference": float(
            (explainer.explain(chips).overall - expected).abs().max() / expected.max()
        ),
    }


def without_kernel(explainer: Explainer, chips: Tensor) -> None:
    """Compute all maps with torch's operations only, as without numba."""
    with mock.patch.object(_operations, "kernel", return_value=None):
        explainer.explain(chips)


def onnx_forward(recognizer: Recognizer, chips: Tensor) -> Callable[[], object] | None:
    """The forward pass of onnxruntime; None for a recognizer that is not an ONNX file, or without onnxruntime."""
    if recognizer.card.architecture != "onnx" or find_spec("onnxruntime") is None:
        return None
    import onnxruntime  # noqa: PLC0415

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    path = str(locate(recognizer.card))
    session = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])
    (source,) = session.get_inputs()
    # Some files require a batch size of one, or pictures with channels last.
    single = isinstance(source.shape[0], int)
    last = source.shape[-1] == 3

    def run() -> object:
        inputs = recognizer.preprocess(chips)
        batch = (inputs.permute(0, 2, 3, 1) if last else inputs).contiguous().numpy()
        faces = [batch[i : i + 1] for i in range(len(batch))] if single else [batch]
        return [session.run(None, {source.name: face}) for face in faces]

    return run


def measure_gpu(rounds: int) -> dict[str, dict[str, Any]]:
    """Measure IResNet-50 and 100 on a GPU with a batch size of 256; empty without a GPU."""
    if not torch.cuda.is_available():
        print("GPU: skipped, not available to torch")
        return {}
    found = {}
    for name, depth in {"iresnet50": 50, "iresnet100": 100}.items():
        torch.manual_seed(0)
        module = IResNet(depth).eval()
        recognizer = Recognizer(module, Card(name=name, input_size=(112, 112)), "cuda")
        found[name] = measure(recognizer, rounds, time.perf_counter, GPU_BATCH)
        del module, recognizer
        torch.cuda.empty_cache()
    return found


def table(found: dict[str, dict[str, Any]]) -> str:
    """Markdown table with one row per recognizer."""
    columns = (
        "recognizer", "layers", "forward, ms a face", "plain", "fused without numba", "fused", "gain of the kernel",
        "fused over onnxruntime", "difference",
    )  # fmt: skip
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for name, r in found.items():
        onnx = f"{r['ratio_onnxruntime']:.2f}" if r["ratio_onnxruntime"] else "–"
        lines.append(
            f"| {name} | {r['layers']} | {r['forward_ms']:.2f} | {r['plain_ratio']:.2f} | "
            f"{r['ratio_without_kernel']:.2f} | {r['ratio']:.2f} | {r['kernel_gain']:.0%} | "
            f"{onnx} | {r['difference']:.0e} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Run from the command line."""
    options = asked(__doc__, all_threads="measure wall time on several threads")
    clock = time.perf_counter if options.all_threads else time.process_time
    if not options.all_threads:
        torch.set_num_threads(1)
    found = {r.name: measure(r, options.rounds, clock) for r in load(options.models)}
    found |= measure_gpu(options.rounds)
    key = "cost_all_threads" if options.all_threads else "cost"
    record(options.out, key, found)
    show(table(found), options.page, key)


if __name__ == "__main__":
    main()

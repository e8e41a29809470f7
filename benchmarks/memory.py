"""Resident memory while many faces are explained, which must not grow with their number, and bytes kept per face.

python benchmarks/memory.py --faces 10000 --out benchmarks/results.json --page docs/appendices/performance.md
"""

from __future__ import annotations

from typing import Any

import psutil
import torch
from markdown import show
from peers_cost import Run, Score, kept_bytes, torch_cam
from recording import arguments, as_worker, load, noise, record

from leam.explain.explainer import Explainer
from leam.explain.memory import batch_size
from leam.recognizers.recognizer import Recognizer, evaluating

BATCH = 16
SAMPLES = 10
# The kernel is only used for four or more faces.
KEPT_BATCH = 4
KEPT = "dlib_resnet,examples/cards/mobilefacenet_caffe.toml,examples/cards/mobileface_v2.toml"


def resident() -> int:
    """Resident memory of this process in bytes."""
    return int(psutil.Process().memory_info().rss)


def measure(model: str, faces: int) -> dict[str, Any]:
    """Resident bytes after each tenth of the faces. The first tenth fills caches."""
    (recognizer,) = load(model)
    explainer = Explainer(recognizer)
    chips = noise(recognizer, BATCH)
    samples = []
    for _ in range(SAMPLES):
        for _ in range(max(1, faces // (SAMPLES * BATCH))):
            explainer.explain(chips)
        samples.append(resident())
    return {
        "recognizer": recognizer.name,
        "faces": faces,
        "resident_bytes": samples,
        "growth": samples[-1] / samples[0] - 1,
        "batch_size": batch_size(recognizer, explainer.layers),
    }


def kept(recognizer: Recognizer) -> dict[str, int]:
    """Bytes kept for the backward pass per face, including parameters; also for torch-cam if it is installed."""
    explainer = Explainer(recognizer)
    chips = noise(recognizer, KEPT_BATCH)
    runs: dict[str, Run] = {
        "leam": lambda: explainer.explain(chips),
        "plain": lambda: explainer.differentiate(chips),
    }
    with evaluating(recognizer.module):
        score = Score(recognizer.module).eval()
        names = [layer.module for layer in explainer.layers]
        inputs = recognizer.preprocess(chips)
        runs["torch_cam"] = lambda: torch_cam(score, names, inputs)()  # noqa: PLW0108  may fail to import
        found = {}
        for name, run in runs.items():
            try:
                found[name] = kept_bytes(run) // KEPT_BATCH
            except ImportError as error:
                print(f"{name}: skipped, {error}")
    return found


def table(found: dict[str, dict[str, int]]) -> str:
    """Markdown table of the bytes kept, with one row per recognizer."""
    lines = [
        "| recognizer | LEAM | plain definition | torch-cam | LEAM under torch-cam |",
        "|---|---|---|---|---|",
    ]
    for name, r in found.items():
        cells = [
            f"{r[who] / 1e6:.1f}" if who in r else "–" for who in ("leam", "plain", "torch_cam")
        ]
        less = f"{1 - r['leam'] / r['torch_cam']:.0%}" if "torch_cam" in r else "–"
        lines.append(f"| {name} | {' | '.join(cells)} | {less} |")
    return "\n".join(lines)


def main() -> None:
    """Run from the command line."""
    parser = arguments(__doc__)
    parser.add_argument("--model", default="examples/cards/mobileface_v3.toml")
    parser.add_argument("--faces", type=int, default=10000)
    parser.add_argument("--kept", default=KEPT, help="recognizers for which kept bytes are counted")
    options = parser.parse_args()
    as_worker()
    torch.set_num_threads(1)  # as in a study
    found = measure(options.model, options.faces)
    print(found)
    found["kept_bytes_per_face"] = {r.name: kept(r) for r in load(options.kept)}
    record(options.out, "memory", found)
    show(table(found["kept_bytes_per_face"]), options.page, "kept")


if __name__ == "__main__":
    main()

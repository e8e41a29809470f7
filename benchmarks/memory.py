"""Resident memory while many faces are explained: it must not grow with their number.

python benchmarks/memory.py --faces 10000 --out benchmarks/results.json
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from recording import load, noise, record

from leam.mapping import Explainer
from leam.mapping.memory import batch_size

BATCH = 16
SAMPLES = 10


def resident() -> int:
    """Bytes of this process in memory (Linux)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmRSS:")[2].split()[0]) << 10


def measure(model: str, faces: int) -> dict[str, Any]:
    """Resident bytes after each tenth of the faces, the first of which fills caches."""
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


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", default="examples/cards/mobileface_v3.toml")
    parser.add_argument("--faces", type=int, default=10000)
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    options = parser.parse_args()
    found = measure(options.model, options.faces)
    print(found)
    record(options.out, "memory", found)


if __name__ == "__main__":
    main()

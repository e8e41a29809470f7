"""Convert trained weights to the file in the package: float16, with metadata.

python training/export.py RUN_FOLDER/weights.pt src/leam/parsers/builtin/weights/compact.safetensors
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from compact import STAGES
from safetensors.torch import save_file

from leam.parsers.regions import ORDERS

METADATA = {
    "name": "compact",
    "classes": " ".join(ORDERS["celebamask"]),
    "side": str(STAGES[-1][1]),
    "input": "RGB, 0-255, a head view (leam.parsers.head.head_matrix)",
    "data": "CelebAMask-HQ, 800 images; non-commercial research",
    "card": "docs/models/compact.md",
}


def main() -> None:
    """Read the weights, convert them to float16, and write them."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("weights", type=Path)
    arguments.add_argument("out", type=Path)
    given = arguments.parse_args()
    state = torch.load(given.weights, weights_only=True)
    halved = {
        name: value.half().contiguous()
        for name, value in state.items()
        # Not needed for inference.
        if not name.endswith("num_batches_tracked")
    }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    save_file(halved, given.out, METADATA)
    print(f"{given.out}: {given.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()

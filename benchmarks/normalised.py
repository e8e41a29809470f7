"""Weightings on networks that normalise the sum of their blocks: python benchmarks/normalised.py --page docs/method.md.

The embedding is read from one quarter of the face, and attention has the strength of published networks. For each
network, seed and corner, the mass of the overall map in that quarter is measured; by chance it is 0.25. The rule: the
default is the weighting with the highest smallest mass on ViT and Swin.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from markdown import show

import leam

# The networks are those of the tests.
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
layouts: Any = import_module("layouts")

NAMES = {
    "ViT": "vit",
    "ViT with a class token": "vit, class token",
    "Swin, tokens": "swin (B,N,C)",
    "Swin, channels last": "swin (B,H,W,C)",
    "DaViT": "davit",
    "ConvNeXt": "convnext",
    "ConvNeXt, channels last": "convnext (B,H,W,C)",
    "EdgeNeXt": "edgenext",
    "CvT": "cvt",
}
WEIGHTINGS = ("signed", "positive", "absolute")
SEEDS = 5


def main() -> None:
    """Print the smallest and the mean mass of each network and weighting."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", type=Path, help="a page with the markers of the table")
    options = parser.parse_args()
    layouts.SCALE = 1.0
    head = f"| network | {' | '.join(f'`{one}`' for one in WEIGHTINGS)} | input gradient | `auto` |"
    rows = [head, "|---" * head.count(" | ") + "|---|"]
    for title, name in NAMES.items():
        found, chosen = masses(name)
        cells = [f"{one.min():.2f}, {one.mean():.2f}" for one in found.values()]
        rows.append(f"| {title} | {' | '.join(cells)} | {' or '.join(sorted(chosen))} |")
    show("\n".join(rows), options.page, "normalised")


def masses(name: str) -> tuple[dict[str, np.ndarray], set[str]]:
    """The masses of all faces, seeds and corners by weighting, with those of the input gradient, and auto's choices."""
    shape = (2, *layouts.SIZE, 3)
    chips = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    found: dict[str, list[float]] = {one: [] for one in (*WEIGHTINGS, "gradient")}
    chosen = set()
    for seed in range(SEEDS):
        for corner in layouts.CORNERS:
            torch.manual_seed(seed)
            module = layouts.NETWORKS[name](corner)
            module.head = layouts.Normalised(module.head)
            recognizer = leam.Recognizer(
                module.eval(), leam.Card(name="planted", input_size=layouts.SIZE)
            )
            for one in WEIGHTINGS:
                maps = leam.Explainer(recognizer, weighting=one).explain(chips)
                found[one] += layouts.mass(maps.overall, corner).tolist()
            faces = recognizer.preprocess(chips).requires_grad_()
            (gradient,) = torch.autograd.grad(recognizer.forward(faces).square().sum(), faces)
            found["gradient"] += layouts.mass(gradient.abs().sum(dim=1), corner).tolist()
            chosen.add(leam.Explainer(recognizer).weighting)
    return {one: np.array(values) for one, values in found.items()}, chosen


if __name__ == "__main__":
    main()

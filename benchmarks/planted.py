"""Measure the planted share, with a known truth, of every weighting and attribution method.

    python benchmarks/planted.py --out planted.json

Trains one small recognizer per region on faces whose identity lies only in that region. Prints a table
of the fraction of each method's critical 1 % inside the region, with the controls, and writes the same
figures with intervals. It takes minutes per region, mostly for the perturbation methods.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch
from markdown import write_between

from leam.explain.explainer import Explainer
from leam.explain.methods import LEAM, METHODS, MateMaps, create_method, explained
from leam.explain.weightings import WEIGHTINGS
from leam.planted import REGIONS, plant, planted_shares
from leam.recognizers.recognizer import Recognizer


def methods(recognizer: Recognizer) -> dict[str, MateMaps]:
    """LEAM's weightings with both targets of a pair, and all other attribution methods."""
    own = {name: Explainer(recognizer, weighting=name) for name in WEIGHTINGS}
    return {
        **{f"self/{name}": explained(explainer, alone=True) for name, explainer in own.items()},
        **{f"template/{name}": explained(explainer) for name, explainer in own.items()},
        **{name: explained(create_method(name, recognizer)) for name in METHODS if name != LEAM},
    }


def measure(region: str, people: int, steps: int, seed: int) -> dict[str, Any]:
    """The planted shares for one region, and the accuracy of its recognizer."""
    planted = plant(region, people=people, steps=steps, seed=seed)
    shares = planted_shares(planted, methods(planted.recognizer), seed=seed)
    return {
        "accuracy": planted.accuracy,
        "area": float(planted.faces.region.mean()),
        "shares": {name: share.as_dict() for name, share in shares.items()},
    }


def table(found: dict[str, dict[str, Any]]) -> str:
    """Markdown table with one row per method and one column per region."""
    lines = [f"| method | {' | '.join(found)} |", "|---" * (len(found) + 1) + "|"]
    for name in next(iter(found.values()))["shares"]:
        row = " | ".join(f"{one['shares'][name]['mean']:.3f}" for one in found.values())
        lines.append(f"| {name} | {row} |")
    return "\n".join(lines)


def main() -> None:
    """Measure the requested regions."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--regions", default=",".join(REGIONS))
    parser.add_argument("--people", type=int, default=40)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--page", type=Path, help="Markdown page to insert the table into")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = {}
    for region in options.regions.split(","):
        found[region] = measure(region, options.people, options.steps, options.seed)
        options.out.write_text(json.dumps(found, indent=1), encoding="utf-8")
    sys.stdout.write(table(found) + "\n")
    if options.page:
        write_between(options.page, "planted", table(found))


if __name__ == "__main__":
    main()

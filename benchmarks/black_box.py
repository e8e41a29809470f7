r"""Compare the methods for black boxes by their number of calls, on real faces.

    python benchmarks/black_box.py FACES --models dlib_resnet,examples/cards/mobileface_v3.toml \
        --people 32 --work black_box.work --out benchmarks/black_box.json --page docs/howto/your-black-box.md

Each person's first picture is compared with the person's second picture (a genuine pair) and with another
person's (an impostor pair), as in benchmarks/methods.py. The deletion score is the area under the curve of
verification accuracy as pixels are deleted in the order of the map; lower is better. The rule, stated before
measuring: the hierarchical search with 125 calls reaches CorrRISE with 501 calls on a recognizer if its deletion
score is at most as large. The interval is that of the difference between the two areas, from resampled people.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench import Bench, find_faces, write_whole
from markdown import write_between
from methods import in_batches, pairs_of
from numpy.typing import NDArray
from torch import Tensor

from leam.explain.methods import MethodSettings, create_method, explained
from leam.metrics.verification import Pairs, best_threshold, deletion, insertion
from leam.recognizers.catalogue import load_recognizer

RUNS = {
    "hierarchical, 125 calls": ("hierarchical", 125),
    "CorrRISE, 125 calls": ("corrrise", 125),
    "occlusion, 125 calls": ("occlusion", 125),
    "CorrRISE, 501 calls": ("corrrise", 501),
}
OWN, RIVAL = "hierarchical, 125 calls", "CorrRISE, 501 calls"
DRAWS = 1000


def measure(bench: Bench, impostors: Tensor, name: str, calls: int) -> dict[str, Any]:
    """The areas of a method, and for each pair whether it is decided rightly at each deleted fraction."""
    recognizer, chips = bench.recognizer, bench.chips
    method = explained(create_method(name, recognizer, MethodSettings(calls=calls)))
    maps = torch.cat([in_batches(method, chips, mates) for mates in (bench.mate, impostors)])
    both, mates = np.concatenate([chips, chips]), torch.cat([bench.mate, impostors])
    truth = np.repeat([True, False], len(chips))
    whole = recognizer.similarity(torch.cat([bench.clean, bench.clean]), mates).double().numpy()
    threshold = best_threshold(whole, truth)
    pairs = Pairs(mates, truth, threshold, recognizer.card.similarity)
    # The accuracy is a mean over pairs, so the area of each pair alone is its part of the whole.
    alone = [
        deletion(
            both[row : row + 1],
            maps[row : row + 1],
            Pairs(mates[row : row + 1], truth[row : row + 1], threshold, pairs.kind),
            recognizer.embed,
        ).area
        for row in range(len(both))
    ]
    return {
        "deletion": float(np.mean(alone)),
        "insertion": insertion(both, maps, pairs, recognizer.embed).area,
        "each": alone,
    }


def difference(rows: dict[str, Any]) -> dict[str, float]:
    """The deletion score of the hierarchical search minus CorrRISE's, with its 95 % interval over people."""
    own, rival = (np.array(rows[name]["each"]).reshape(2, -1).mean(axis=0) for name in (OWN, RIVAL))
    gaps: NDArray[np.float64] = own - rival
    drawn = np.random.default_rng(0).integers(0, len(gaps), (DRAWS, len(gaps)))
    low, high = np.quantile(gaps[drawn].mean(axis=1), [0.025, 0.975])
    return {"mean": float(gaps.mean()), "low": float(low), "high": float(high)}


def table(found: dict[str, Any]) -> str:
    """Markdown table with one row per recognizer and method."""
    lines = [
        "| recognizer | method | deletion | insertion | difference in deletion |",
        "|---" * 5 + "|",
    ]
    for model, rows in found["models"].items():
        gap = difference(rows)
        for name in RUNS:
            shown = (
                f"{gap['mean']:.3f} ({gap['low']:.3f} to {gap['high']:.3f})" if name == OWN else ""
            )
            row = rows[name]
            lines.append(
                f"| {model} | {name} | {row['deletion']:.3f} | {row['insertion']:.3f} | {shown} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("faces", type=Path)
    parser.add_argument("--models", required=True)
    parser.add_argument("--people", type=int, default=32)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--work", type=Path, required=True, help="folder for partial results")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--page", type=Path, help="Markdown page to insert the table into")
    options = parser.parse_args()
    torch.set_num_threads(1)
    faces, people = find_faces(options.faces, options.people, 2, options.seed)
    found: dict[str, Any] = {"people": len(faces) // 2, "seed": options.seed, "models": {}}
    for source in options.models.split(","):
        recognizer = load_recognizer(source)
        bench, impostors = pairs_of(recognizer, faces, people)
        rows: dict[str, Any] = {}
        for name, (method, calls) in RUNS.items():
            path = options.work / f"{recognizer.name}-{method}-{calls}.json"
            if not path.is_file():
                write_whole(path, measure(bench, impostors, method, calls))
                print(path.name, flush=True)
            rows[name] = json.loads(path.read_text(encoding="utf-8"))
        found["models"][recognizer.name] = rows
        write_whole(options.out, found)
    print(table(found))
    if options.page:
        write_between(options.page, "black boxes", table(found))


if __name__ == "__main__":
    main()

r"""Compare LEAM and other attribution methods on the same real faces with the same metrics.

    python benchmarks/methods.py FACES --models dlib_resnet,examples/cards/mobileface_v3.toml \
        --work methods.work --out benchmarks/methods.json --page docs/appendices/methods.md

Each person's first picture is compared with the person's second picture (a genuine pair) and with
another person's second picture (an impostor pair). Every method maps both pairs. The figures are:
the similarity drop of genuine pairs when the critical 1 % is blackened, compared with scattered
pixels and with the moved blobs of the mask; the area under the curve of verification accuracy as
pixels are deleted or inserted (at the threshold for whole faces); and the processor time of a map
divided by that of a forward pass on one thread. The figures of each method are kept in the work
folder, so that the command can be resumed.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from bench import Bench, find_faces, make_bench, write_whole
from markdown import write_between
from numpy.typing import NDArray
from torch import Tensor

from leam.explain.explainer import Explainer
from leam.explain.masks import critical_mask
from leam.explain.methods import MateMaps, create_method, explained
from leam.faces.face import Face
from leam.metrics.controls import CONTROLS, ControlInput
from leam.metrics.statistics import bootstrap_mean
from leam.metrics.verification import Pairs, best_threshold, deletion, insertion
from leam.recognizers.catalogue import load_recognizer
from leam.recognizers.recognizer import Recognizer

Result = TypeVar("Result")

TOP = 0.01
BATCH = 16
OWN = ("leam self", "leam template")
RANDOM = "random order"
# The cheap methods come first; those with one backward pass per dimension or 500 forward passes come last.
COMPARED = (
    *OWN,
    "grad-cam",
    "hires-cam",
    "layer-cam",
    "input-gradients",
    "gradient-input",
    "xssab",
    RANDOM,
    "occlusion",
    "corrrise",
    "fggb",
)
PLANTED = {"leam self": "self/signed", "leam template": "template/signed", RANDOM: "scattered"}


def method_of(name: str, recognizer: Recognizer) -> MateMaps:
    """Create a method from its name in the table."""
    if name in OWN:
        return explained(Explainer(recognizer), alone=name == "leam self")
    if name == RANDOM:
        size = recognizer.card.input_size
        return lambda chips, _: torch.rand(
            len(chips), *size, generator=torch.Generator().manual_seed(0)
        )
    return explained(create_method(name, recognizer))


def in_batches(method: MateMaps, chips: NDArray[np.uint8], mates: Tensor) -> Tensor:
    """Maps of many pairs, computed in batches."""
    starts = range(0, len(chips), BATCH)
    return torch.cat([method(chips[i : i + BATCH], mates[i : i + BATCH]) for i in starts])


def processor_seconds(run: Callable[[], Result]) -> tuple[Result, float]:
    """The result of a call, and its processor time, which does not depend on other programs."""
    start = time.process_time()
    found = run()
    return found, time.process_time() - start


def drops_of(bench: Bench, maps: Tensor) -> dict[str, NDArray[np.float64]]:
    """Drops for the critical mask, for scattered pixels, and for the moved blobs of the mask, ``(n,)``."""
    own = critical_mask(maps, TOP).numpy()
    found = {"critical": bench.drops(own)}
    for name in ("scattered", "moved"):
        generator = np.random.default_rng(0)
        masks = [
            CONTROLS[name](ControlInput(mask, values, face, np.zeros_like(mask), generator))
            for mask, values, face in zip(own, maps.numpy(), bench.on_face, strict=True)
        ]
        found[name] = bench.drops(np.stack(masks))
    return found


def judge(bench: Bench, impostors: Tensor, method: MateMaps) -> dict[str, Any]:
    """The figures of a method.

    Args:
        bench: One face per person, with the mate's embedding.
        impostors: For each face, the embedding of an impostor, ``(n, D)``.
        method: The method.
    """
    recognizer, chips = bench.recognizer, bench.chips
    _, forward = processor_seconds(lambda: [recognizer.embed(chips, BATCH) for _ in range(3)])
    same = in_batches(method, chips, bench.mate)
    # The second call is timed, since the first one may compile kernels.
    other, taken = processor_seconds(lambda: in_batches(method, chips, impostors))
    mates = torch.cat([bench.mate, impostors])
    truth = np.repeat([True, False], len(chips))
    whole = recognizer.similarity(torch.cat([bench.clean, bench.clean]), mates).double().numpy()
    kind = recognizer.card.similarity
    pairs = Pairs(mates, truth, best_threshold(whole, truth), kind)
    both, maps = np.concatenate([chips, chips]), torch.cat([same, other])
    people = np.arange(len(chips))
    drops = drops_of(bench, same)
    own = drops["critical"]
    return {
        "drop": bootstrap_mean(own, people, 0).as_dict(),
        **{
            f"over_{name}": bootstrap_mean(own - drops[name], people, 0).as_dict()
            for name in ("scattered", "moved")
        },
        "deletion": deletion(both, maps, pairs, recognizer.embed).area,
        "insertion": insertion(both, maps, pairs, recognizer.embed).area,
        "cost": taken / (forward / 3),
    }


def pairs_of(
    recognizer: Recognizer, faces: list[Face], people: NDArray[np.str_]
) -> tuple[Bench, Tensor]:
    """Each person's first face with its mate, and for each the mate of the person half the list away."""
    bench = make_bench(recognizer, faces, people)
    first = bench.part(np.arange(0, len(faces), 2))
    return first, torch.roll(first.mate, len(first.chips) // 2, dims=0)


def table(found: dict[str, Any]) -> str:
    """Markdown table with one row per recognizer and method."""
    heads = ["recognizer", "method", "drop at 1 %", "over scattered", "over moved"]
    heads += ["deletion", "insertion", "cost"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for model, rows in found["models"].items():
        for name in sorted(rows, key=lambda name: -rows[name]["drop"]["mean"]):
            row = rows[name]
            cells = [
                model,
                name,
                *(ranged(row[k]) for k in ("drop", "over_scattered", "over_moved")),
            ]
            cells += [f"{row['deletion']:.3f}", f"{row['insertion']:.3f}", f"{row['cost']:.1f}"]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def overview(found: dict[str, Any], planted: dict[str, Any]) -> str:
    """Markdown table with one row per method, over the recognizers on which it was run, by descending drop.

    The relative drop is the drop divided by that of LEAM's default on the same recognizer.
    """
    models = list(found["models"].values())
    heads = ["method", "relative drop", "beats scattered", "beats moved", "deletion", "insertion"]
    heads += ["cost", *(f"planted {region}" for region in planted)]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]

    def relative(name: str) -> float:
        having = [rows for rows in models if name in rows]
        ratios = [rows[name]["drop"]["mean"] / rows[OWN[0]]["drop"]["mean"] for rows in having]
        return float(np.mean(ratios))

    run = [name for name in COMPARED if any(name in rows for rows in models)]
    for name in sorted(run, key=relative, reverse=True):
        own = [rows[name] for rows in models if name in rows]
        cells = [name, f"{relative(name):.2f}"]
        for key in ("over_scattered", "over_moved"):
            wins, clear = (sum(row[key][side] > 0 for row in own) for side in ("mean", "low"))
            cells.append(f"{wins} ({clear}) of {len(own)}")
        cells += [f"{np.mean([row[key] for row in own]):.3f}" for key in ("deletion", "insertion")]
        cells.append(f"{np.median([row['cost'] for row in own]):.1f}")
        for one in planted.values():
            share = one["shares"].get(PLANTED.get(name, name))
            cells.append(f"{share['mean']:.2f}" if share else "–")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def ranged(found: dict[str, Any]) -> str:
    """Format a mean with its interval."""
    low, mean, high = (f"{found[name]:.3f}" for name in ("low", "mean", "high"))
    return f"{mean} ({low} to {high})"


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("faces", type=Path)
    parser.add_argument("--models", required=True)
    parser.add_argument("--people", type=int, default=16)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--methods", default=",".join(COMPARED))
    parser.add_argument("--planted", type=Path, help="output of benchmarks/planted.py")
    parser.add_argument("--work", type=Path, required=True, help="folder for partial results")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--page", type=Path, help="Markdown page to insert the tables into")
    options = parser.parse_args()
    torch.set_num_threads(1)  # processor time equals wall time only with one thread
    faces, people = find_faces(options.faces, options.people, 2, options.seed)
    found: dict[str, Any] = {"people": len(faces) // 2, "seed": options.seed, "models": {}}
    for name in options.models.split(","):
        recognizer = load_recognizer(name)
        bench, impostors = pairs_of(recognizer, faces, people)
        rows: dict[str, Any] = {}
        for method in COMPARED:
            path = options.work / f"{recognizer.name}-{method.replace(' ', '_')}.json"
            if method in options.methods.split(",") and not path.is_file():
                write_whole(path, judge(bench, impostors, method_of(method, recognizer)))
                print(path.name, flush=True)
            if path.is_file():
                rows[method] = json.loads(path.read_text(encoding="utf-8"))
        found["models"][recognizer.name] = rows
        write_whole(options.out, found)
    planted = json.loads(options.planted.read_text("utf-8")) if options.planted else {}
    print(overview(found, planted), table(found), sep="\n\n")
    if options.page:
        write_between(options.page, "methods", overview(found, planted))
        write_between(options.page, "each recognizer", table(found))


if __name__ == "__main__":
    main()

r"""Whether maps depend on a network's function alone: the same network, written in other ways, is explained again.

Each recognizer is rewritten as exporters and graph optimisers do it: batch normalisations folded or inserted, biases as
separate additions, PReLUs as elementary operations, onnxruntime's optimiser at two levels, and torch's exporter. Maps
of layers at the convolutions' own outputs (``raw_convolutions``) are compared beside the default.

    python benchmarks/invariance.py $LEAM_ASSETS/lfw/people --models all \
        --out benchmarks/invariance.json --page docs/method.md --appendix docs/appendices/invariance.md
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from bench import find_faces
from markdown import show
from numpy.typing import NDArray
from recording import all_models, arguments, record
from rewriting import REWRITINGS, exported

from leam.errors import first_line
from leam.explain.explainer import Explainer, Maps
from leam.explain.layers import CONVOLUTIONS, RAW_CONVOLUTIONS
from leam.explain.masks import critical_mask
from leam.recognizers.card import Card
from leam.recognizers.catalogue import load_recognizer, locate
from leam.recognizers.recognizer import Recognizer

FACES = 16
CHOICES = (CONVOLUTIONS, RAW_CONVOLUTIONS)
Row = dict[str, Any]


def main() -> None:
    """Rewrite each recognizer, compare the maps, and write the table."""
    parser = arguments(__doc__)
    parser.add_argument("faces", type=Path)
    parser.add_argument("--models", default="all", help="comma-separated, or all")
    parser.add_argument("--appendix", type=Path, help="Markdown page for all recognizers")
    options = parser.parse_args()
    torch.set_num_threads(1)
    faces, _ = find_faces(options.faces, FACES, 1, seed=0, first=4 * FACES)
    rows: list[Row] = []
    for name in all_models() if options.models == "all" else options.models.split(","):
        recognizer = load_recognizer(name)
        chips = np.stack([recognizer.crop.align(face).image for face in faces])
        rows += compare(recognizer, name, chips)
    record(options.out, "invariance", rows)
    show(details(rows), options.appendix, "invariance")
    show(as_table(rows), options.page, "invariance")


def compare(recognizer: Recognizer, source: str, chips: NDArray[np.uint8]) -> list[Row]:
    """One row for each rewriting that changes the graph of a recognizer, whose name or card file is ``source``."""
    before = {choice: Explainer(recognizer, layers=choice).explain(chips) for choice in CHOICES}
    rows = []
    for rewriting, other in rewritten(recognizer, source):
        after = {choice: Explainer(other, layers=choice).explain(chips) for choice in CHOICES}
        default, raw = (difference(before[choice], after[choice]) for choice in CHOICES)
        cosine = torch.cosine_similarity(
            before[CONVOLUTIONS].embeddings, after[CONVOLUTIONS].embeddings
        )
        rows.append(
            {
                "recognizer": recognizer.name,
                "rewriting": rewriting,
                "embedding": round(float(cosine.min()), 8),
                **default,
                "raw_overlap": raw["overlap"],
            }
        )
        print(rows[-1])
    return rows


def difference(before: Maps, after: Maps) -> Row:
    """How far two computations of the same maps differ."""
    masks = [critical_mask(maps.overall) for maps in (before, after)]
    overlap = (masks[0] & masks[1]).sum(dim=(1, 2)) / masks[0].sum(dim=(1, 2))
    largest = before.overall.amax(dim=(1, 2))
    apart = (before.overall - after.overall).abs().amax(dim=(1, 2)) / largest
    return {
        "overlap": round(float(overlap.mean()), 4),
        "least_overlap": round(float(overlap.min()), 4),
        "map": float(f"{float(apart.median()):.1e}"),
        "largest_map": float(f"{float(apart.max()):.1e}"),
    }


def rewritten(recognizer: Recognizer, source: str) -> Iterator[tuple[str, Recognizer]]:
    """The recognizer as it is written otherwise; rewritings that leave the graph as it is are left out."""
    card = recognizer.card
    export = exported(recognizer.module, card.input_size, traced=True)
    yield "torch's exporter, traced", loaded(card, export)
    try:
        program = exported(recognizer.module, card.input_size, traced=False)
        yield "torch's exporter, captured", loaded(card, program)
    except torch.onnx.OnnxExporterError as error:
        print(f"{card.name}: not captured ({first_line(error)})")
    # A native module is rewritten after its export.
    onnx_file = locate(card, Path(source).parent) if card.architecture == "onnx" else None
    model = onnx.load(onnx_file) if onnx_file else export
    for name, rewrite in REWRITINGS.items():
        other = rewrite(model)
        if operators(other) != operators(model):
            yield name, loaded(card, other)


def operators(model: onnx.ModelProto) -> list[str]:
    """The operators of a graph in order."""
    return [node.op_type for node in model.graph.node]


def loaded(card: Card, model: onnx.ModelProto) -> Recognizer:
    """A recognizer of an ONNX model in memory, with the preprocessing of a card."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(model.SerializeToString())
        unchecked = {"architecture": "onnx", "file": str(path), "options": {}}
        return load_recognizer(card.model_copy(update={**unchecked, "sha256": None, "bytes": None}))


def details(rows: list[Row]) -> str:
    """One line for each recognizer and rewriting."""
    lines = [
        "| recognizer | written as | critical masks overlap, mean (least) | maps differ, median (largest) | raw |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {r['recognizer']} | {r['rewriting']} | {r['overlap']:.4f} ({r['least_overlap']:.3f}) "
        f"| {r['map']:.0e} ({r['largest_map']:.0e}) | {r['raw_overlap']:.2f} |"
        for r in rows
    ]
    return "\n".join(lines)


def as_table(rows: list[Row]) -> str:
    """One line for each rewriting, over the recognizers that it changes."""
    lines = [
        "| written as | recognizers | critical masks overlap, mean (least) | maps differ, median (largest) | raw |",
        "|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(row["rewriting"] for row in rows):
        found = [row for row in rows if row["rewriting"] == name]
        mean = np.mean([row["overlap"] for row in found])
        raw = [row["raw_overlap"] for row in found]
        lines.append(
            f"| {name} | {len(found)} | {mean:.4f} ({min(r['least_overlap'] for r in found):.3f}) "
            f"| {np.median([r['map'] for r in found]):.0e} ({max(r['largest_map'] for r in found):.0e}) "
            f"| {min(raw):.2f} – {max(raw):.2f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()

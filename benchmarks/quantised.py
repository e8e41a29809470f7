"""Quantise ONNX recognizers with onnxruntime, and compare embeddings and critical masks.

    python benchmarks/quantised.py ../shared/lfw/people --models mobileface_v3,mobilefacenet_insightface_y1

The embeddings of the imported quantised graph are compared with those of onnxruntime's int8 kernels, which run with
all graph optimisations; its critical masks (1 % of the pixels) with those of the floating-point graph.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnxruntime
import torch
from bench import find_faces
from markdown import show
from numpy.typing import NDArray
from onnxruntime import quantization
from recording import arguments, record

from leam.explain.explainer import Explainer
from leam.explain.masks import critical_mask
from leam.recognizers.catalogue import load_recognizer, locate, read_catalogue
from leam.recognizers.recognizer import Recognizer

FACES = 8
FORMS = ("QDQ", "QOperator", "dynamic")
Row = dict[str, Any]


class Calibration(quantization.CalibrationDataReader):  # type: ignore[misc]
    """Gives the quantiser one face after another."""

    def __init__(self, name: str, inputs: NDArray[np.float32]) -> None:
        self._faces = iter([{name: face[None]} for face in inputs])

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """The next face, or None."""
        return next(self._faces, None)


def main() -> None:
    """Quantise each recognizer in each form, and write the table."""
    parser = arguments(__doc__)
    parser.add_argument("faces", type=Path)
    parser.add_argument("--models", required=True, help="comma-separated cards of the examples")
    options = parser.parse_args()
    torch.set_num_threads(1)
    faces, _ = find_faces(options.faces, 2 * FACES, 1, seed=0, first=4 * FACES)
    cards = read_catalogue(folders=[Path("examples/cards")])
    rows: list[Row] = []
    for name in options.models.split(","):
        recognizer = cards[name].load()
        chips = np.stack([recognizer.crop.align(face).image for face in faces])
        source = locate(recognizer.card, Path("examples/cards"))
        rows += [compare(recognizer, source, chips, form) for form in FORMS]
    record(options.out, "quantised", rows)
    show(as_table(rows), options.page, "quantised")


def compare(recognizer: Recognizer, source: Path, chips: NDArray[np.uint8], form: str) -> Row:
    """Quantise a recognizer on the first faces, and compare on the others."""
    with torch.no_grad():
        inputs = recognizer.preprocess(chips).numpy()
    with TemporaryDirectory() as folder:
        target = Path(folder) / "quantised.onnx"
        quantise(source, target, inputs[:FACES], form)
        session = onnxruntime.InferenceSession(target, providers=["CPUExecutionProvider"])
        given = session.get_inputs()[0].name
        theirs = np.concatenate(
            [session.run(None, {given: face[None]})[0].reshape(1, -1) for face in inputs[FACES:]]
        )
        unchecked = {"file": str(target), "url": None, "sha256": None, "bytes": None}
        other = load_recognizer(recognizer.card.model_copy(update=unchecked))
        before, after = (Explainer(one).explain(chips[FACES:]) for one in (recognizer, other))
    ours = after.embeddings.detach()
    cosines = torch.cosine_similarity(ours, torch.from_numpy(theirs))
    masks = [critical_mask(maps.overall) for maps in (before, after)]
    shared = (masks[0] & masks[1]).sum((1, 2)) / masks[0].sum((1, 2))
    return {
        "recognizer": recognizer.name,
        "form": form,
        "onnxruntime": round(float(cosines.min()), 5),
        "float": round(float(torch.cosine_similarity(ours, before.embeddings).mean()), 4),
        "overlap": round(float(shared.mean()), 3),
    }


def quantise(source: Path, target: Path, inputs: NDArray[np.float32], form: str) -> None:
    """Write the quantised file."""
    logging.disable()
    if form == "dynamic":
        unsigned = quantization.QuantType.QUInt8
        quantization.quantize_dynamic(source, target, weight_type=unsigned)
        return
    session = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
    reader = Calibration(session.get_inputs()[0].name, inputs)
    kind = quantization.QuantFormat[form]
    quantization.quantize_static(source, target, reader, quant_format=kind)


def as_table(rows: list[Row]) -> str:
    """One line for each recognizer and form."""
    return "\n".join(_lines(rows))


def _lines(rows: list[Row]) -> Iterator[str]:
    cells = (
        "recognizer",
        "form",
        "least cosine with onnxruntime's int8 run",
        "mean cosine with the float graph",
    )
    yield f"| {' | '.join(cells)} | part of the critical masks shared with the float graph |"
    yield "|---|---|---|---|---|"
    for row in rows:
        yield "| " + " | ".join(str(value) for value in row.values()) + " |"


if __name__ == "__main__":
    main()

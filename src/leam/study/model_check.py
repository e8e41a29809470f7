"""Check a recognizer before use: whether it loads and embeds, its speed, and its verification accuracy."""

from __future__ import annotations

import csv
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from leam.errors import FaceError, ImageError, InputError
from leam.explain.layers import CONVOLUTIONS, Layer, check_module, choose_layers
from leam.faces.alignment import Crop
from leam.faces.detection import Detector, find_face
from leam.faces.reading import Picture
from leam.metrics.verification import best_threshold
from leam.progress import Progress, silent
from leam.recognizers.recognizer import Recognizer, evaluating

_BATCH = 16
_RUNS = 5
_MILLISECONDS = 1000


@dataclass(frozen=True)
class Pair:
    """Two pictures, and whether they show the same person."""

    left: str
    right: str
    same: bool


@dataclass(frozen=True)
class Verification:
    """Verification accuracy of a recognizer.

    Attributes:
        accuracy: Fraction of the pairs decided correctly at the best threshold, in [0, 1].
        threshold: The best similarity threshold.
        pairs: Number of pairs.
        exclusions: Reasons for pictures without a usable face, whose pairs are left out.
    """

    accuracy: float
    threshold: float
    pairs: int
    exclusions: dict[str, str]


@dataclass(frozen=True)
class ModelCheck:
    """Result of a check.

    Attributes:
        name: Name of the recognizer.
        parameters: Number of parameters.
        embedding_size: Length of the embedding.
        milliseconds: Time to embed one face in a batch of 16; median of five runs.
        layers: Convolutions with a spatial output that contributes to the embedding, in order of execution.
        warnings: Information missing from the card.
        verification: Verification accuracy, if pairs were given.
    """

    name: str
    parameters: int
    embedding_size: int
    milliseconds: float
    layers: tuple[Layer, ...]
    warnings: tuple[str, ...]
    verification: Verification | None = None


def check_model(recognizer: Recognizer, verification: Verification | None = None) -> ModelCheck:
    """Check a loaded recognizer: embed faces, measure the time, and list its layers.

    Raises:
        ModelError: The recognizer cannot embed, or its module cannot be explained.
        LayerError: The recognizer has no layer to explain.
    """
    height, width = recognizer.card.input_size
    noise = np.random.default_rng(0).integers(0, 256, (_BATCH, height, width, 3), dtype=np.uint8)
    size = recognizer.embed(noise).shape[1]
    seconds = []
    for _ in range(_RUNS):
        start = time.perf_counter()
        recognizer.embed(noise)
        seconds.append(time.perf_counter() - start)
    with evaluating(recognizer.module):
        blank = recognizer.preprocess(torch.zeros(1, height, width, 3))
        check_module(recognizer, blank)
        layers = choose_layers(recognizer.module, blank, CONVOLUTIONS)
    return ModelCheck(
        recognizer.name,
        sum(parameter.numel() for parameter in recognizer.module.parameters()),
        size,
        float(np.median(seconds)) / _BATCH * _MILLISECONDS,
        layers,
        recognizer.card.warnings,
        verification,
    )


def read_pairs(path: Path) -> list[Pair]:
    """Read pairs from a CSV file with the columns left, right (pictures) and same (1 or 0).

    Raises:
        InputError: The file cannot be read, lacks a column, or holds no pairs.
    """
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    pairs = []
    for line, row in enumerate(rows, 2):
        left, right, same = (row.get(column) for column in ("left", "right", "same"))
        if not left or not right or same not in {"0", "1"}:
            raise InputError(f"{path}: line {line} lacks left, right, or a same of 1 or 0")
        pairs.append(Pair(left, right, same == "1"))
    if not pairs:
        raise InputError(f"{path}: holds no pairs")
    return pairs


def verify(
    recognizers: Sequence[Recognizer],
    pairs: Sequence[Pair],
    folder: Path,
    detector: Detector,
    progress: Progress = silent,
) -> list[Verification]:
    """Measure the verification accuracy of recognizers on pairs of pictures.

    Each picture is read, and its face detected, once for all recognizers.

    Args:
        recognizers: The recognizers to test.
        pairs: Pairs of pictures in the folder.
        folder: Folder that the paths of the pictures are relative to.
        detector: The face detector.
        progress: Progress callback.

    Returns:
        One result per recognizer, in order.

    Raises:
        InputError: No pair has a face in both pictures.
    """
    names = sorted({name for pair in pairs for name in (pair.left, pair.right)})
    crops = list(dict.fromkeys(recognizer.crop for recognizer in recognizers))
    chips: dict[Crop, list[Picture]] = {crop: [] for crop in crops}
    found: dict[str, int] = {}
    exclusions: dict[str, str] = {}
    for done, name in enumerate(names, 1):
        try:
            face = find_face(folder / name, detector)
        except (FaceError, ImageError) as error:
            exclusions[name] = str(error)
        else:
            found[name] = len(found)
            for crop in crops:
                chips[crop].append(crop.align(face).image)
        progress("finding faces", done, len(names))
    usable = [pair for pair in pairs if pair.left in found and pair.right in found]
    if not usable:
        raise InputError(f"{folder}: no pair has a face in both pictures")
    left, right = [found[one.left] for one in usable], [found[one.right] for one in usable]
    same = np.array([pair.same for pair in usable])
    results = []
    for recognizer in recognizers:
        embeddings = recognizer.embed(np.stack(chips[recognizer.crop])).cpu()
        scores = recognizer.similarity(embeddings[left], embeddings[right]).double().numpy()
        threshold = best_threshold(scores, same)
        accuracy = float(((scores >= threshold) == same).mean())
        results.append(Verification(accuracy, threshold, len(usable), exclusions))
    return results

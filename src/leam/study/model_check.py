"""Check a recognizer before use: whether it loads and embeds, its speed, and its verification accuracy."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leam.errors import FaceError, ImageError, InputError
from leam.explain.layers import CONVOLUTIONS, Layer, check_module, choose_layers
from leam.faces.detection import Detector, find_face
from leam.faces.face import Face
from leam.faces.people import Dataset, Pair, Sample, read_dataset
from leam.metrics.verification import best_threshold
from leam.progress import Progress, silent
from leam.recognizers.recognizer import Recognizer, evaluating

_BATCH = 16
_RUNS = 5
_MILLISECONDS = 1000
# Faces that are aligned and embedded together.
_FACES = 256


@dataclass(frozen=True)
class Verification:
    """Verification accuracy of a recognizer.

    Attributes:
        accuracy: Fraction of the pairs decided correctly at the best threshold, in [0, 1].
        threshold: The best similarity threshold.
        pairs: Number of pairs.
        exclusions: Reasons for pictures without a usable face, whose pairs are left out.
        folds: The accuracy on each fold at the best threshold of the other folds, which is how accuracies on
            published sets are stated; empty if the pairs have no folds.
    """

    accuracy: float
    threshold: float
    pairs: int
    exclusions: dict[str, str]
    folds: tuple[float, ...] = ()


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


def read_pairs(source: Path, folder: Path | None = None) -> Dataset:
    """Read a data set that has pairs; see :func:`leam.faces.people.read_dataset`.

    Raises:
        InputError: The source cannot be read, or holds no pairs.
    """
    dataset = read_dataset(source, folder)
    if not dataset.pairs:
        raise InputError(
            f"{source}: holds no pairs; expected LFW's pairs.txt, RFW, the table of BFW, a .bin of InsightFace, or a "
            "CSV file with the columns left, right and same"
        )
    return dataset


def verify(
    recognizers: Sequence[Recognizer],
    dataset: Dataset,
    detector: Detector,
    progress: Progress = silent,
) -> list[Verification]:
    """Measure the verification accuracy of recognizers on the pairs of a data set.

    Each picture is read, and its face detected, once for all recognizers.

    Args:
        recognizers: The recognizers to test.
        dataset: A data set with pairs.
        detector: The face detector.
        progress: Progress callback.

    Returns:
        One result per recognizer, in order.

    Raises:
        InputError: No pair has a face in both pictures.
    """
    samples = {sample.image: sample for sample in dataset.samples}
    names = sorted({name for pair in dataset.pairs for name in (pair.left, pair.right)})
    embeddings: list[list[Tensor]] = [[] for _ in recognizers]
    found: dict[str, int] = {}
    exclusions: dict[str, str] = {}
    faces: list[Face] = []
    for done, name in enumerate(names, 1):
        try:
            faces.append(_face(samples, name, detector))
        except (FaceError, ImageError) as error:
            exclusions[name] = str(error)
        else:
            found[name] = len(found)
        if faces and (len(faces) == _FACES or done == len(names)):
            _embed(recognizers, faces, embeddings)
            faces.clear()
        progress("finding faces", done, len(names))
    usable = [pair for pair in dataset.pairs if pair.left in found and pair.right in found]
    if not usable:
        raise InputError("no pair has a face in both pictures")
    left, right = [found[one.left] for one in usable], [found[one.right] for one in usable]
    results = []
    for recognizer, parts in zip(recognizers, embeddings, strict=True):
        one = torch.cat(parts)
        scores = recognizer.similarity(one[left], one[right]).double().numpy()
        results.append(_verification(scores, usable, exclusions))
    return results


def _face(samples: Mapping[str, Sample], name: str, detector: Detector) -> Face:
    if name not in samples:
        raise ImageError(f"{name}: no such picture in the data set")
    return find_face(samples[name].path, detector, samples[name].member)


def _embed(
    recognizers: Sequence[Recognizer], faces: Sequence[Face], embeddings: list[list[Tensor]]
) -> None:
    """Append the embeddings of some faces to those of each recognizer."""
    crops = dict.fromkeys(recognizer.crop for recognizer in recognizers)
    chips = {crop: np.stack([crop.align(face).image for face in faces]) for crop in crops}
    for recognizer, parts in zip(recognizers, embeddings, strict=True):
        parts.append(recognizer.embed(chips[recognizer.crop]).cpu())


def _verification(
    scores: NDArray[np.float64], pairs: Sequence[Pair], exclusions: dict[str, str]
) -> Verification:
    same = np.array([pair.same for pair in pairs])
    threshold = best_threshold(scores, same)
    accuracy = float(((scores >= threshold) == same).mean())
    folds = _fold_accuracies(scores, same, [pair.fold for pair in pairs])
    return Verification(accuracy, threshold, len(pairs), exclusions, folds)


def _fold_accuracies(
    scores: NDArray[np.float64], same: NDArray[np.bool_], folds: Sequence[int | None]
) -> tuple[float, ...]:
    """The accuracy on each fold at the best threshold of the others; empty unless there are several folds."""
    numbers = np.array([-1 if fold is None else fold for fold in folds])
    names = np.unique(numbers)
    if len(names) == 1 or -1 in names:
        return ()
    accuracies = []
    for name in names:
        here = numbers == name
        threshold = best_threshold(scores[~here], same[~here])
        accuracies.append(float(((scores[here] >= threshold) == same[here]).mean()))
    return tuple(accuracies)

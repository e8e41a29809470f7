"""Check a recognizer before use: whether it loads and embeds, its speed, and its verification accuracy."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from leam.errors import FaceError, ImageError, InputError, LeamWarning, ModelError
from leam.explain.explainer import Explainer
from leam.explain.layers import Layer
from leam.faces.detection import Detector, find_face
from leam.faces.face import Face
from leam.faces.people import Dataset, Pair, Sample, read_dataset
from leam.metrics.verification import best_threshold
from leam.progress import Progress, silent
from leam.recognizers.recognizer import Recognizer

_BATCH = 16
# Pictures whose embeddings and maps in a batch are compared with those alone.
_MAPPED = 2
# Largest relative difference of two results that should be equal, and of embeddings that are the same.
_TOLERANCES = {"float32": 1e-3, "bfloat16": 0.1}
_SAME = 1e-6
_NEARLY_ONE = 0.999
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
        warnings: Information missing from the card, and what makes the network doubtful.
        verification: Verification accuracy, if pairs were given.
        reference: How the network compares with another implementation of its file; empty if there is none.
    """

    name: str
    parameters: int
    embedding_size: int
    milliseconds: float
    layers: tuple[Layer, ...]
    warnings: tuple[str, ...]
    verification: Verification | None = None
    reference: str = ""


def check_model(recognizer: Recognizer, verification: Verification | None = None) -> ModelCheck:
    """Check a loaded recognizer: embed pictures, compare batches with single pictures, and list the layers.

    Raises:
        ModelError: The recognizer cannot embed, or its module cannot be explained. Or an embedding is zero or not
            finite, two different pictures give one embedding, one picture gives two, or an embedding or a map depends
            on the other pictures of the batch.
        LayerError: The recognizer has no layer to explain.
    """
    pictures = _pictures(recognizer.card.input_size)
    with warnings.catch_warnings():
        # What is warned of elsewhere is an error here.
        warnings.simplefilter("ignore", LeamWarning)
        embeddings = _check_embeddings(recognizer, pictures)
    seconds = []
    for _ in range(_RUNS):
        start = time.perf_counter()
        recognizer.embed(pictures)
        seconds.append(time.perf_counter() - start)
    explainer = Explainer(recognizer)
    _check_maps(explainer, pictures[:_MAPPED])
    return ModelCheck(
        recognizer.name,
        sum(parameter.numel() for parameter in recognizer.module.parameters()),
        embeddings.shape[1],
        float(np.median(seconds)) / _BATCH * _MILLISECONDS,
        explainer.layers,
        (*recognizer.card.warnings, *_doubts(recognizer, embeddings)),
        verification,
        recognizer.reference,
    )


def _pictures(size: tuple[int, int]) -> NDArray[np.uint8]:
    """Smooth random pictures ``(16, h, w, 3)``."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand((_BATCH, 3, 8, 8), generator=generator)
    smooth = functional.interpolate(coarse, size, mode="bicubic").clamp(0, 1) * 223
    noise = torch.rand(smooth.shape, generator=generator) * 32
    found: NDArray[np.uint8] = (smooth + noise).to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return found


def _check_embeddings(recognizer: Recognizer, pictures: NDArray[np.uint8]) -> Tensor:
    """The pictures' embeddings ``(16, D)``, if they depend on the picture and on nothing else."""
    name, tolerance = recognizer.name, _TOLERANCES[recognizer.precision]
    together = recognizer.embed(pictures).cpu()
    if not torch.isfinite(together).all():
        raise ModelError(f"{name}: embeddings are not finite; check the card's mean and std")
    if _difference(together[:1].expand_as(together), together) < _SAME:
        raise ModelError(
            f"{name}: two different pictures give one embedding; check the card's mean and std, and the weights"
        )
    if not together.any(dim=1).all():
        raise ModelError(
            f"{name}: the embedding of a picture is zero; check the card's mean and std, and the weights"
        )
    if _difference(together, recognizer.embed(pictures).cpu()) > tolerance:
        raise ModelError(
            f"{name}: one picture gives different embeddings: the network is random; export it in evaluation mode"
        )
    alone = torch.cat([recognizer.embed(picture[None]).cpu() for picture in pictures[:_MAPPED]])
    if _difference(alone, together[:_MAPPED]) > tolerance:
        raise ModelError(f"{name}: the embedding of a picture depends on the others in its batch")
    return together


def _check_maps(explainer: Explainer, pictures: NDArray[np.uint8]) -> None:
    """Check that pictures have the same maps in a batch as alone."""
    recognizer = explainer.recognizer
    together = explainer.explain(pictures).overall.cpu()
    alone = torch.cat([explainer.explain(picture[None]).overall.cpu() for picture in pictures])
    if _difference(alone, together) > _TOLERANCES[recognizer.precision]:
        raise ModelError(
            f"{recognizer.name}: the map of a picture depends on the others in its batch"
        )


def _difference(a: Tensor, b: Tensor) -> float:
    """The largest difference, relative to the largest value."""
    scale = a.abs().max().clamp_min(torch.finfo(torch.float32).tiny)
    return float((a - b).abs().max() / scale)


def _doubts(recognizer: Recognizer, embeddings: Tensor) -> Iterator[str]:
    """What suggests that a network was never trained.

    Similarities alone do not tell: those of different pictures were 0.16 to 0.96 for trained networks, and 0.52 to 1
    for networks with drawn weights.
    """
    unit = functional.normalize(embeddings, dim=1)
    cosines = (unit @ unit.T)[~torch.eye(len(unit), dtype=torch.bool)]
    if cosines.mean() > _NEARLY_ONE:
        yield (
            f"different pictures have a mean cosine of {cosines.mean():.4f}: the network may be untrained; "
            "measure its accuracy on pairs"
        )
    norms = [m for m in recognizer.module.modules() if isinstance(m, _BatchNorm)]
    tracked = [m for m in norms if m.running_mean is not None and m.running_var is not None]
    if tracked and all(_is_initial(norm) for norm in tracked):
        yield (
            "every batch normalisation has the statistics that it starts with (mean 0, variance 1): "
            "the network looks untrained"
        )
    if recognizer.reference.startswith("not compared"):
        yield recognizer.reference


def _is_initial(norm: _BatchNorm) -> bool:
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None and variance is not None  # noqa: S101, PT018
    return not mean.any() and bool((variance == 1).all())


def read_pairs(source: Path, folder: Path | None = None, progress: Progress = silent) -> Dataset:
    """Read a data set that has pairs; see :func:`leam.faces.people.read_dataset`.

    Raises:
        InputError: The source cannot be read, or holds no pairs.
    """
    dataset = read_dataset(source, folder, progress)
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
    """The accuracy on each fold at the best threshold of the others.

    Empty unless there are several folds, and each lies beside genuine and impostor pairs in the others.
    """
    numbers = np.array([-1 if fold is None else fold for fold in folds])
    names = np.unique(numbers)
    if len(names) == 1 or -1 in names:
        return ()
    accuracies = []
    for name in names:
        here = numbers == name
        if same[~here].all() or not same[~here].any():
            return ()
        threshold = best_threshold(scores[~here], same[~here])
        accuracies.append(float(((scores[here] >= threshold) == same[here]).mean()))
    return tuple(accuracies)

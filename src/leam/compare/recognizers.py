"""The same faces through several recognizers: their maps in one geometry, and how alike these are.

Recognizers align faces differently. The overall map of each is resampled to the aligned face of the first one; what
lies outside that picture is lost. Two maps are compared there by their Bhattacharyya coefficient (bc), and two critical
masks by that of the masks, which is the part of the pixels that they share: two random masks share the critical
fraction, so that is what chance gives. Regions are counted in each recognizer's own aligned face.

These are measurements of single pictures, without intervals: whether recognizers agree on people in general is a
question for a study (``leam study --models``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from leam.compare import Comparison
from leam.errors import InputError
from leam.explain.explanation import Explanation, RegionRecord, explain_faces
from leam.explain.masks import critical_mask
from leam.explain.methods import Method
from leam.faces.face import Face
from leam.faces.reading import Picture
from leam.metrics.geometry import carry_maps
from leam.metrics.overlap import bhattacharyya_matrix
from leam.parsers.parsing import Parser
from leam.progress import Progress, silent
from leam.results.figures import Model

FEWEST_RECOGNIZERS: Final = 2
"""Fewest recognizers that can be compared."""


class ComparedRecognizer(Model):
    """What one recognizer relies on in one face."""

    sha256: str
    """SHA-256 of the weights."""
    regions: dict[str, RegionRecord]
    """Shares by region, the largest share of the critical pixels first."""


class FaceComparison(Model):
    """One face through several recognizers."""

    image: str | None
    """The picture's file; null for an array."""
    recognizers: dict[str, ComparedRecognizer]
    """What each recognizer relies on."""
    critical: list[list[float | None]]
    """Bhattacharyya coefficient of every two critical masks, in the order of ``recognizers``; null where a map has no
    pixel in the first recognizer's picture."""
    maps: list[list[float | None]]
    """The same of every two overall maps."""


class RecognizerComparison(Comparison):
    """Faces through several recognizers, side by side."""

    kind: Literal["recognizers"] = "recognizers"
    """What is compared."""
    method: str
    """The attribution method."""
    parser: str
    """The parser of regions."""
    top: float
    """The critical fraction of the pixels: the coefficient of two random masks."""
    recognizers: list[str]
    """Names of the recognizers."""
    faces: list[FaceComparison]
    """The faces."""


@dataclass(frozen=True)
class ComparedFace:
    """A face and its maps by several recognizers.

    Attributes:
        name: The name of the picture.
        chip: The face as aligned for the first recognizer, ``(h, w, 3)``.
        maps: The overall map of each recognizer on it, ``(M, h, w)``, each summing to 1 or empty.
        record: The figures.
    """

    name: str
    chip: Picture
    maps: NDArray[np.float32]
    record: FaceComparison


def compare_recognizers(
    faces: Sequence[Face],
    methods: Sequence[Method],
    parser: Parser,
    *,
    top: float = 0.01,
    progress: Progress = silent,
) -> Iterator[ComparedFace]:
    """Explain each face by each recognizer, and compare the maps.

    Args:
        faces: The faces.
        methods: What explains each recognizer, at least two.
        parser: Finds the regions.
        top: The critical fraction of the pixels, in (0, 1].
        progress: Progress callback.

    Raises:
        InputError: There are fewer than two recognizers, or two of the same name.
        ModelError: A recognizer has no map of a face.
    """
    names = [method.recognizer.name for method in methods]
    if len(names) < FEWEST_RECOGNIZERS:
        raise InputError("one recognizer cannot be compared; name several with --models A,B")
    if len(set(names)) < len(names):
        raise InputError(f"two recognizers of the same name: {', '.join(names)}; give each another")
    for done, face in enumerate(faces):
        found = []
        for place, method in enumerate(methods):
            progress("explaining", done * len(methods) + place, len(faces) * len(methods))
            found += explain_faces([face], method, parser, top=top)
        yield _compared(found, names, top)
    progress("explaining", len(faces) * len(methods), len(faces) * len(methods))


def comparison_of(
    found: Sequence[ComparedFace], methods: Sequence[Method], parser: str, top: float
) -> RecognizerComparison:
    """The record of all faces.

    Args:
        found: The compared faces.
        methods: What explained them.
        parser: Name of the parser.
        top: The critical fraction of the pixels.
    """
    return RecognizerComparison(
        method=methods[0].name,
        parser=parser,
        top=top,
        recognizers=[method.recognizer.name for method in methods],
        faces=[one.record for one in found],
    )


def _compared(found: Sequence[Explanation], names: Sequence[str], top: float) -> ComparedFace:
    first = found[0]
    size = first.chip.image.shape[:2]
    maps = torch.cat(
        [
            carry_maps(one.maps.overall, [one.chip.matrix], [first.chip.matrix], size)
            for one in found
        ]
    )
    seen = maps.sum(dim=(1, 2)) > 0
    record = FaceComparison(
        image=str(first.face.path) if first.face.path else None,
        recognizers={
            name: ComparedRecognizer(sha256=one.provenance.sha256, regions=one.regions)
            for name, one in zip(names, found, strict=True)
        },
        critical=_coefficients(critical_mask(maps, top), seen),
        maps=_coefficients(maps, seen),
    )
    return ComparedFace(first.name, first.chip.image, maps.numpy(), record)


def _coefficients(maps: torch.Tensor, seen: torch.Tensor) -> list[list[float | None]]:
    """The Bhattacharyya coefficient of every two maps ``(M, h, w)``; None for maps that are not ``seen (M,)``."""
    known = bhattacharyya_matrix(maps, maps)
    both = seen[:, None] & seen[None]
    return [
        [float(value) if there else None for value, there in zip(row, whether, strict=True)]
        for row, whether in zip(known.tolist(), both.tolist(), strict=True)
    ]

"""A face parsing: the part of the face that each pixel shows, and how two parsings compare."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from leam.faces.alignment import Crop, Matrix
from leam.faces.face import Face
from leam.parsers.regions import LABELS, REGION_OF, REGIONS

Counts = NDArray[np.int64]
"""Numbers of pixels by their labels in two maps, ``(labels, labels)``: rows for one map, columns for the other."""

# Parsers whose weights are compared with those of the first use, since no checksum was published.
_FIRST_USE = ("segformer",)


@dataclass(frozen=True, repr=False)
class Parsing:
    """The parts of one aligned face.

    Attributes:
        labels: Positions in :data:`leam.parsers.regions.LABELS`, ``(h, w)`` uint8, in the crop's geometry.
        confidence: The parser's probability of each pixel's label, ``(h, w)`` float32 in [0, 1]; 1 for parsers that
            give none.
    """

    labels: NDArray[np.uint8]
    confidence: NDArray[np.float32]

    def __repr__(self) -> str:
        height, width = self.labels.shape
        regions = [row.region for row in region_table(self) if row.area]
        return f"Parsing({height}x{width}: {', '.join(regions)})"

    @property
    def regions(self) -> NDArray[np.uint8]:
        """Positions in :data:`leam.parsers.regions.REGIONS`, ``(h, w)`` uint8."""
        return np.asarray(REGION_OF, dtype=np.uint8)[self.labels]


class Parser(Protocol):
    """Labels each pixel with the part of the face that it shows."""

    @property
    def name(self) -> str:
        """The name that it is chosen by."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that it distinguishes."""
        ...

    def parse(self, face: Face, crop: Crop) -> Parsing:
        """The parts of a face, in the geometry of a recognizer's crop."""
        ...


@runtime_checkable
class BatchParser(Protocol):
    """A parser that also parses several faces at once."""

    def parse_batch(
        self, faces: Sequence[Face], crops: Sequence[Sequence[Crop]]
    ) -> list[list[Parsing]]:
        """The parsings of several faces, each in its own crops."""
        ...


def variable_of(parser: str) -> str:
    """The environment variable that names a parser's weights."""
    return f"LEAM_{parser.upper()}"


def unchecked_weights(parser: str) -> tuple[str, ...]:
    """A sentence if the weights of a parser are not compared with a published checksum.

    Args:
        parser: The parser's name.
    """
    if os.environ.get(variable := variable_of(parser)):
        return (f"parser {parser}: no checksum of what {variable} names",)
    if parser in _FIRST_USE:
        return (f"parser {parser}: no published checksum; compared with the one of the first use",)
    return ()


def weights_sha256(parser: Parser) -> str | None:
    """SHA-256 of a parser's weights file, its attribute ``sha256``; None for a parser without one."""
    sha256 = getattr(parser, "sha256", None)
    return None if sha256 is None else str(sha256)


@dataclass(frozen=True)
class Frame(Crop):
    """The crop that is the whole picture: a parser given this crop labels the whole picture."""

    @classmethod
    def of(cls, face: Face) -> Frame:
        """The frame of a face's picture."""
        height, width = face.picture.shape[:2]
        return cls(size=(height, width))

    def matrix(self, face: Face) -> Matrix:  # noqa: ARG002  the same for every face
        """The identity, ``(2, 3)``."""
        return np.eye(2, 3)


@dataclass(frozen=True)
class RegionArea:
    """A region of a parsing.

    Attributes:
        region: A name of :data:`leam.parsers.regions.REGIONS`.
        area: The part of the pixels that it covers, in [0, 1].
        confidence: The parser's mean confidence in these pixels, in [0, 1]; NaN if there are none.
    """

    region: str
    area: float
    confidence: float


def region_table(parsing: Parsing) -> list[RegionArea]:
    """Area and mean confidence of every region, in the order of ``REGIONS``."""
    regions = parsing.regions.ravel()
    counts = np.bincount(regions, minlength=len(REGIONS))
    sums = np.bincount(regions, weights=parsing.confidence.ravel(), minlength=len(REGIONS))
    return [
        RegionArea(region, float(count / regions.size), float(total / count) if count else np.nan)
        for region, count, total in zip(REGIONS, counts, sums, strict=True)
    ]


def confusion(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> Counts:
    """The confusion matrix of two label maps ``(h, w)``; matrices of several faces may be added."""
    size = len(LABELS)
    pairs = one.astype(np.int64).ravel() * size + other.ravel()
    return np.bincount(pairs, minlength=size**2).reshape(size, size)


def merged(counts: Counts, parts: Sequence[int]) -> Counts:
    """A confusion matrix by regions or groups.

    Args:
        counts: By labels, ``(labels, labels)``.
        parts: The region or group of each label: ``REGION_OF`` or ``GROUP_OF``.

    Returns:
        ``(parts, parts)``.
    """
    members = np.eye(max(parts) + 1, dtype=np.int64)[list(parts)]
    return members.T @ counts @ members


def accuracy(counts: Counts) -> float:
    """The part of the pixels with the same label in both maps."""
    return float(np.trace(counts) / counts.sum())


def f1(counts: Counts) -> NDArray[np.float64]:
    """F1 (Dice) of each part, ``2 |A and B| / (|A| + |B|)``; NaN for a part that is in neither map."""
    either = counts.sum(axis=0) + counts.sum(axis=1)
    with np.errstate(invalid="ignore"):
        return np.asarray(2 * np.diag(counts) / either, dtype=np.float64)

"""What a face parser gives, and what every face parser can do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from leam.faces.align import Crop
from leam.faces.face import Face
from leam.parsers.regions import REGION_OF


@dataclass(frozen=True)
class Parsing:
    """The parts of one aligned face.

    Attributes:
        labels: Positions in :data:`leam.parsers.regions.LABELS`, ``(h, w)`` uint8, in the crop's
            geometry.
        confidence: The parser's probability of each pixel's label, ``(h, w)`` float32 in [0, 1];
            ones where a parser has no opinion of itself.
    """

    labels: NDArray[np.uint8]
    confidence: NDArray[np.float32]

    @property
    def regions(self) -> NDArray[np.uint8]:
        """Positions in :data:`leam.parsers.regions.REGIONS`, ``(h, w)`` uint8."""
        return np.asarray(REGION_OF, dtype=np.uint8)[self.labels]


class Parser(Protocol):
    """Names the part of the face that each pixel shows."""

    @property
    def name(self) -> str:
        """The name that it is chosen by."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """The names that it can give."""
        ...

    def parse(self, face: Face, crop: Crop) -> Parsing:
        """The parts of a face, in the geometry of a recognizer's crop."""
        ...

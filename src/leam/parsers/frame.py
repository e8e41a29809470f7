"""The geometry of a whole picture, for parsing all of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from leam.faces.align import Crop, Matrix
from leam.faces.face import Face


@dataclass(frozen=True)
class Frame(Crop):
    """A crop that leaves the picture as it is: pass it to a parser to label the whole picture."""

    @classmethod
    def of(cls, face: Face) -> Frame:
        """The frame of the picture that a face lies in."""
        height, width = face.picture.shape[:2]
        return cls(size=(height, width))

    def matrix(self, face: Face) -> Matrix:  # noqa: ARG002  the same for every face
        """The identity, ``(2, 3)``."""
        return np.eye(2, 3)

"""A parser: the skin is an oval in the middle of the crop."""

from __future__ import annotations

import numpy as np

from leam.faces.alignment import Crop
from leam.faces.face import Face
from leam.parsers.parsing import Parsing
from leam.parsers.regions import INDEX


class OvalParser:
    """Labels an oval as skin, and everything else as background."""

    name = "oval"
    labels = ("background", "skin")

    def parse(self, face: Face, crop: Crop) -> Parsing:
        """The oval of a crop."""
        height, width = crop.size
        rows, columns = np.ogrid[:height, :width]
        inside = (2 * rows / height - 1) ** 2 + (2 * columns / width - 1) ** 2 <= 1
        labels = np.where(inside, INDEX["skin"], INDEX["background"]).astype(np.uint8)
        return Parsing(labels, np.ones(crop.size, dtype=np.float32))

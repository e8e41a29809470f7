"""How much of a parsing each region covers, and how sure the parser is of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from leam.parsers.parsing import Parsing
from leam.parsers.regions import REGIONS


@dataclass(frozen=True)
class RegionArea:
    """One region of one parsing.

    Attributes:
        region: A name of :data:`leam.parsers.regions.REGIONS`.
        area: The part of the pixels that it covers, in [0, 1].
        confidence: The parser's mean confidence over them, in [0, 1]; NaN where it covers none.
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

"""Aligned faces of 112x112 pixels on the template arcface."""

from __future__ import annotations

from leam.faces.detectors import DETECTORS
from leam.faces.detectors.aligned import AlignedDetector


@DETECTORS("aligned_arcface")
class ArcfaceChips(AlignedDetector):
    """Takes each picture for a 112x112 chip of the template ``arcface``, for any input size of the recognizers."""

    name = "aligned_arcface"
    template = "arcface"

"""Aligned faces of 150x150 pixels on the template dlib."""

from __future__ import annotations

from leam.faces.detectors import DETECTORS
from leam.faces.detectors.aligned import AlignedDetector


@DETECTORS("aligned_dlib")
class DlibChips(AlignedDetector):
    """Takes each picture for a 150x150 chip of the template ``dlib``, for any input size of the recognizers."""

    name = "aligned_dlib"
    template = "dlib"

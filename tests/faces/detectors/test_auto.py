"""The detector ``auto``."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from leam.faces.detection import find_face
from leam.faces.detectors import DETECTORS
from leam.faces.detectors.auto import AutoDetector


def test_the_second_detector_is_used_where_the_first_finds_no_face(monkeypatch, portrait, detector):
    face = find_face(portrait, detector)

    class Second:
        name = "scrfd"

        def detect(self, picture):
            return [replace(face, picture=picture, detector=None)] if picture.any() else []

    DETECTORS["scrfd"]  # imported, so that it is not registered over the replacement
    monkeypatch.setitem(DETECTORS._things, "scrfd", Second)
    auto = AutoDetector()
    assert find_face(portrait, auto).detector == "dlib"
    grey = np.full((300, 300, 3), 128, np.uint8)
    assert find_face(grey, auto).detector == "scrfd"
    assert auto.detect(np.zeros_like(grey)) == []

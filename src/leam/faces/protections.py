"""Protections: changes of a picture that people hope keep a recognizer from linking it to others of the same person.

They are ordinary changes, drawn from the face's landmarks. None is optimised against a recognizer.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from leam.faces.face import Face, Points
from leam.faces.reading import Picture
from leam.plugins import Registry


@dataclass(frozen=True)
class ProtectionInput:
    """A face that is to be protected.

    Attributes:
        picture: The whole picture, RGB ``(H, W, 3)`` uint8.
        landmarks: The 68 points of the iBUG scheme, ``(68, 2)`` pixels.
        areas: The areas that a recognizer relies on, ``(H, W)``; None if there is no map.
    """

    picture: Picture
    landmarks: Points
    areas: NDArray[np.bool_] | None = None

    @classmethod
    def of(cls, face: Face, areas: NDArray[np.bool_] | None = None) -> ProtectionInput:
        """The face as found in a picture."""
        return cls(face.picture, face.landmarks, areas)

    @property
    def width(self) -> float:
        """Width of the face between both ends of the jaw, in pixels."""
        return float(np.linalg.norm(self.landmarks[16] - self.landmarks[0]))

    @property
    def box(self) -> tuple[slice, slice]:
        """Rows and columns of the face with a margin for forehead and hair, within the picture."""
        low, high = self.landmarks.min(axis=0), self.landmarks.max(axis=0)
        margin = 0.25 * self.width
        left, right = low[0] - margin, high[0] + margin
        top, bottom = low[1] - 2 * margin, high[1] + margin
        height, width = self.picture.shape[:2]
        return (
            slice(max(0, int(top)), min(height, int(np.ceil(bottom)))),
            slice(max(0, int(left)), min(width, int(np.ceil(right)))),
        )


Protection = Callable[[ProtectionInput], Picture]
"""From a face to its whole picture, changed; ``(H, W, 3)`` uint8."""

PROTECTIONS: Registry[Protection] = Registry("protection", "leam.protections")
"""The protections by name."""

# Faces are changed as if they were this wide, so that a change has the same effect at every size of a picture.
_WIDTH = 80.0
_DARK = (24, 24, 28)
_MASK = (120, 165, 200)
_FELT = (60, 50, 45)


@PROTECTIONS("none")
def none(face: ProtectionInput) -> Picture:
    """The picture unchanged, for comparison."""
    return face.picture.copy()


@PROTECTIONS("sunglasses")
def sunglasses(face: ProtectionInput) -> Picture:
    """Dark sunglasses: a lens over each eye and its brow, a bridge, and temples to the ears."""
    picture, points = face.picture.copy(), face.landmarks
    eyes = points[36:42].mean(axis=0), points[42:48].mean(axis=0)
    apart = float(np.linalg.norm(eyes[1] - eyes[0]))
    angle = float(np.degrees(np.arctan2(*(eyes[1] - eyes[0])[::-1])))
    for eye, ear in zip(eyes, (points[0], points[16]), strict=True):
        _line(picture, eye, ear, 0.08 * apart, _DARK)
        axes = (round(0.42 * apart), round(0.34 * apart))
        cv2.ellipse(picture, _pixel(eye), axes, angle, 0, 360, _DARK, -1, cv2.LINE_AA)
    _line(picture, eyes[0], eyes[1], 0.1 * apart, _DARK)
    return picture


@PROTECTIONS("face_mask")
def face_mask(face: ProtectionInput) -> Picture:
    """A surgical mask from the bridge of the nose to the chin."""
    picture, points = face.picture.copy(), face.landmarks
    # The chin of the landmarks is its edge: the mask reaches below.
    down = 0.04 * (points[8] - points[27])
    outline = np.concatenate([points[1:16] + down, points[28:29]])
    return _filled(picture, outline, _MASK)


@PROTECTIONS("sunglasses_and_mask")
def sunglasses_and_mask(face: ProtectionInput) -> Picture:
    """Dark sunglasses and a surgical mask."""
    return face_mask(replace(face, picture=sunglasses(face)))


@PROTECTIONS("hat")
def hat(face: ProtectionInput) -> Picture:
    """A hat pulled down to the brows."""
    picture, points = face.picture.copy(), face.landmarks
    up = points[27] - points[8]
    across = points[16] - points[0]
    brows = points[17:27].mean(axis=0) + 0.06 * up
    left, right = brows - 0.62 * across, brows + 0.62 * across
    outline = np.stack([left, right, right - 0.12 * across + up, left + 0.12 * across + up])
    return _filled(picture, outline, _FELT)


@PROTECTIONS("blur")
def blur(face: ProtectionInput) -> Picture:
    """A Gaussian blur of the face, of 3 pixels at a width of 80."""

    def blurred(part: Picture) -> Picture:
        return np.asarray(cv2.GaussianBlur(part, (0, 0), 3 * face.width / _WIDTH))

    return _changed(face, blurred)


@PROTECTIONS("pixelate")
def pixelate(face: ProtectionInput) -> Picture:
    """16 cells across the face, each of one colour."""
    return _changed(face, lambda part: _resampled(part, 16 / face.width, cv2.INTER_NEAREST))


@PROTECTIONS("downscale")
def downscale(face: ProtectionInput) -> Picture:
    """The picture at a size at which the face is 24 pixels wide, enlarged again."""
    return _resampled(face.picture, min(1.0, 24 / face.width), cv2.INTER_CUBIC)


@PROTECTIONS("jpeg")
def jpeg(face: ProtectionInput) -> Picture:
    """The picture at a size at which the face is 80 pixels wide, as a JPEG of quality 10, enlarged again."""
    height, width = face.picture.shape[:2]
    scale = min(1.0, _WIDTH / face.width)
    small = cv2.resize(face.picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    stream = io.BytesIO()
    Image.fromarray(small).save(stream, "JPEG", quality=10)
    with Image.open(stream) as coded:
        return np.asarray(coded.convert("RGB").resize((width, height), Image.Resampling.BICUBIC))


@PROTECTIONS("cover")
def cover(face: ProtectionInput) -> Picture:
    """Grey over the areas that a recognizer relies on; without a map, nothing is covered."""
    picture = face.picture.copy()
    if face.areas is not None:
        picture[face.areas] = 128
    return picture


def _changed(face: ProtectionInput, change: Callable[[Picture], Picture]) -> Picture:
    """The picture with its face changed."""
    picture = face.picture.copy()
    picture[face.box] = change(picture[face.box])
    return picture


def _resampled(part: Picture, scale: float, interpolation: int) -> Picture:
    """Part of a picture at a smaller size, enlarged again."""
    height, width = part.shape[:2]
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=interpolation))


def _filled(picture: Picture, outline: Points, colour: tuple[int, int, int]) -> Picture:
    points = np.rint(outline).astype(np.int32)
    return np.asarray(cv2.fillPoly(picture, [points], colour, cv2.LINE_AA))


def _line(
    picture: Picture, start: Points, end: Points, width: float, colour: tuple[int, int, int]
) -> None:
    cv2.line(picture, _pixel(start), _pixel(end), colour, max(1, round(width)), cv2.LINE_AA)


def _pixel(point: Points) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))

"""Align a face: crop and warp it into the geometry that a recognizer was trained on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from leam.errors import FaceError
from leam.faces.face import Box, Face, Points
from leam.faces.reading import Picture

Matrix = NDArray[np.float64]
"""An affine map of pixel coordinates, ``(2, 3)``: ``target = matrix @ (x, y, 1)``."""

TemplateName = Literal["arcface", "dlib", "box"]
Margin = tuple[float, float, float, float]
"""What is added to a box at its left, top, right and bottom, as fractions of its width and height."""
FivePoints = tuple[
    tuple[float, float],
    tuple[float, float],
    tuple[float, float],
    tuple[float, float],
    tuple[float, float],
]
"""Where eyes, nose tip and mouth corners lie, left before right as seen in the picture: x and y in pixels."""

# The five points in a 112x112 chip: InsightFace's reference points, which nearly every public recognizer
# uses.
_ARCFACE = np.array(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ]
)
# dlib's mean positions of its five points in the unit square (image_transforms/interpolation.h,
# get_face_chip_details), scaled to a 150x150 chip with the padding of 0.25 that its network was
# trained with.
_DLIB_UNIT = np.array(
    [
        [0.8595674595992, 0.2134981538014],
        [0.6460604764104, 0.2289674387677],
        [0.1205750620789, 0.2137274526848],
        [0.3340850613712, 0.2290642403242],
        [0.4901123135679, 0.6277975316475],
    ]
)
_DLIB = (_DLIB_UNIT + 0.25) / 1.5 * 150

# Where dlib's box lies in a chip: left, top, right, bottom. Medians over 200 pictures of LFW.
_CHIP_BOX = {
    "arcface": np.array([[13.51, 29.64], [100.25, 116.38]]),
    "dlib": np.array([[9.36, 11.04], [139.98, 141.66]]),
}
_CHIP_SIDE = {"arcface": 112, "dlib": 150}
_GRID = 32


@dataclass(frozen=True, repr=False)
class Chip:
    """An aligned face as a recognizer sees it.

    Attributes:
        image: RGB ``(h, w, 3)`` uint8, at the recognizer's input size.
        matrix: From picture pixels to chip pixels, ``(2, 3)``.
        outside: Fraction of the chip that lies outside the picture and is black, in steps of a thousandth.
    """

    image: Picture
    matrix: Matrix
    outside: float = 0.0

    def __repr__(self) -> str:
        height, width = self.image.shape[:2]
        return f"Chip({height}x{width}, {100 * self.outside:.0f} % outside the picture)"


@dataclass(frozen=True)
class InputPoints:
    """Where a face's box and points lie in an aligned picture, so that aligning it again changes nothing.

    Attributes:
        box: Left, top, right and bottom in pixels.
        five_points: Eyes, nose tip and mouth corners, ``(5, 2)``; None if the crop does not use them.
        corner_points: dlib's five points, ``(5, 2)``; None if the crop does not use them.
    """

    box: Box
    five_points: Points | None = None
    corner_points: Points | None = None


@dataclass(frozen=True)
class Crop:
    """The geometry of a recognizer's input: a template's chip or a window of it, a box, or five points of its own.

    Attributes:
        size: Height and width of the input in pixels.
        template: ``arcface`` (112x112 chip on five points), ``dlib`` (150x150 chip on dlib's five points), or ``box``:
            the face's box with ``margin``, upright, stretched to ``size``. All detectors give dlib's square box.
        window: Top, left, height, width within the chip; None takes all of it.
        resized_chip: Cut the chip at the template's size, then resize it, for recognizers that were trained with
            such inputs. Otherwise, the picture is sampled once, at the input size.
        margin: Of ``box``: what is added at each side.
        square: Of ``box``: the shorter side is extended to the longer one, so that nothing is stretched.
        points: Where the face's five points go in the input, in pixels, with the centre of the first pixel at (0, 0),
            instead of the template's. A rotation, scale and shift that is closest to them is applied.
    """

    size: tuple[int, int] = (112, 112)
    template: TemplateName = "arcface"
    window: tuple[int, int, int, int] | None = None
    resized_chip: bool = False
    margin: Margin = (0.0, 0.0, 0.0, 0.0)
    square: bool = False
    points: FivePoints | None = None

    @property
    def name(self) -> str:
        """An identifier of this geometry, usable in file names."""
        parts = [self.template, "x".join(map(str, self.size)), *map(str, self.window or ())]
        if self.resized_chip:
            parts.append("resized")
        if self.points:
            digest = hashlib.sha256(repr(self.points).encode()).hexdigest()
            parts[0] = f"points_{digest[:8]}"
        if self.template == "box":
            parts += ["m" + "_".join(f"{side:g}" for side in self.margin)]
            parts += ["square"] if self.square else []
        return "-".join(parts)

    @property
    def chip_side(self) -> int | None:
        """Height and width of the template's square chip, in pixels; None for boxes and points, which have no chip."""
        return None if self.points else _CHIP_SIDE.get(self.template)

    def input_points(self) -> InputPoints:
        """The points of a face in a picture that is an input of this crop already."""
        if self.template == "box" and not self.points:
            (height, width), (before_x, before_y, after_x, after_y) = self.size, self.margin
            side_x, side_y = width / (1 + before_x + after_x), height / (1 + before_y + after_y)
            left, top = before_x * side_x, before_y * side_y
            return InputPoints((left, top, left + side_x, top + side_y))
        five = corners = None
        if self.points:
            five = np.array(self.points, dtype=float)
            to_input = similarity_transform(_ARCFACE, five)
        else:
            to_input = self._chip_to_input()
            if self.template == "arcface":
                five = transform_points(to_input, _ARCFACE)
            else:
                # The corners of dlib's chip land half a pixel further; see _dlib_matrix.
                corners = transform_points(to_input, _DLIB - 0.5)
        template = "arcface" if self.points else self.template
        (left, top), (right, bottom) = transform_points(to_input, _CHIP_BOX[template]).tolist()
        return InputPoints((left, top, right, bottom), five, corners)

    def matrix(self, face: Face) -> Matrix:
        """The map from picture pixels to input pixels, ``(2, 3)``."""
        if self.points:
            return similarity_transform(face.five_points, np.array(self.points, dtype=float))
        if self.template == "box":
            return self._box_matrix(face.box)
        return _compose(self._chip_to_input(), self._picture_to_chip(face))

    def align(self, face: Face) -> Chip:
        """Cut the face out of its picture, at the input size; black beyond the picture's edge.

        Raises:
            FaceError: The crop lies outside the picture.
        """
        matrix = self.matrix(face)
        outside = _outside(matrix, self.size, face.picture)
        if outside == 1:
            raise FaceError("the crop of the face lies outside the picture")
        # A window at the chip's scale is cut from the chip, so that its pixels equal the chip's.
        side = self.chip_side
        if side is None or (not self.resized_chip and self._window()[2:] != self.size):
            return Chip(warp(face.picture, matrix, self.size), matrix, outside)
        chip = warp(face.picture, self._picture_to_chip(face), (side, side))
        return Chip(np.rint(self.from_chip(chip)).astype(np.uint8), matrix, outside)

    def from_chip(self, chip: Picture) -> NDArray[np.float32]:
        """Cut the window out of the template's chip ``(side, side, 3)`` and resize it to the input ``(h, w, 3)``.

        Returns:
            Values 0-255, float32, not rounded.
        """
        top, left, height, width = self._window()
        inner = chip[top : top + height, left : left + width].astype(np.float32)
        if (height, width) == self.size:
            return inner
        # Listing recognizers does not need cv2.
        import cv2  # noqa: PLC0415

        size = (self.size[1], self.size[0])
        return np.asarray(cv2.resize(inner, size, interpolation=cv2.INTER_LINEAR), np.float32)

    def _window(self) -> tuple[int, int, int, int]:
        side = self.chip_side or 0
        return self.window or (0, 0, side, side)

    def _picture_to_chip(self, face: Face) -> Matrix:
        if self.template == "dlib":
            return _dlib_matrix(face)
        return similarity_transform(face.five_points, _ARCFACE)

    def _box_matrix(self, box: Box) -> Matrix:
        left, top, right, bottom = box
        width, height = right - left, bottom - top
        before_x, before_y, after_x, after_y = self.margin
        left, right = left - before_x * width, right + after_x * width
        top, bottom = top - before_y * height, bottom + after_y * height
        if self.square:
            more = (bottom - top) - (right - left)
            left, right = left - max(more, 0) / 2, right + max(more, 0) / 2
            top, bottom = top - max(-more, 0) / 2, bottom + max(-more, 0) / 2
        if not (right > left and bottom > top):
            raise FaceError("the box of the face is empty after its margin")
        scale_x, scale_y = self.size[1] / (right - left), self.size[0] / (bottom - top)
        # The edges of the box, not the centres of its corner pixels, become the edges of the input.
        return np.array(
            [
                [scale_x, 0, (0.5 - left) * scale_x - 0.5],
                [0, scale_y, (0.5 - top) * scale_y - 0.5],
            ]
        )

    def _chip_to_input(self) -> Matrix:
        top, left, height, width = self._window()
        scale_y, scale_x = self.size[0] / height, self.size[1] / width
        # Scaling maps the image's corners, not the centres of its corner pixels, onto each other.
        return np.array(
            [
                [scale_x, 0, (0.5 - left) * scale_x - 0.5],
                [0, scale_y, (0.5 - top) * scale_y - 0.5],
            ]
        )


def similarity_transform(source: Points, target: Points) -> Matrix:
    """Least-squares rotation, scale and shift, ``(2, 3)``, between points ``(n, 2)``.

    Umeyama, "Least-squares estimation of transformation parameters between two point patterns", PAMI 1991, in closed
    form for the plane.
    """
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    a, b = source - source_mean, target - target_mean
    norm = float((a**2).sum())
    cos = float((a * b).sum()) / norm
    sin = float((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()) / norm
    linear = np.array([[cos, -sin], [sin, cos]])
    return np.hstack([linear, (target_mean - linear @ source_mean)[:, None]])


def warp(picture: Picture, matrix: Matrix, size: tuple[int, int]) -> Picture:
    """Resample a picture ``(H, W, 3)`` by an affine map to ``size`` (height, width), without aliasing."""
    import cv2  # noqa: PLC0415

    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    factor = int(1 / scale) if scale > 0 else 1
    if factor > 1:
        # Bilinear sampling reads four pixels only, so shrink by averaging first.
        height, width = (max(1, side // factor) for side in picture.shape[:2])
        fy, fx = picture.shape[0] / height, picture.shape[1] / width
        shrunk = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
        picture = np.asarray(shrunk, np.uint8)
        matrix = _compose(matrix, np.array([[fx, 0, (fx - 1) / 2], [0, fy, (fy - 1) / 2]]))
    warped = cv2.warpAffine(picture, matrix, (size[1], size[0]), flags=cv2.INTER_LINEAR)
    return np.asarray(warped, np.uint8)


def transform_points(matrix: Matrix, points: Points) -> Points:
    """Apply an affine map ``(2, 3)`` to points ``(n, 2)``."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def _outside(matrix: Matrix, size: tuple[int, int], picture: Picture) -> float:
    """The fraction of an input that lies outside the picture, on a grid of 32x32 points."""
    steps = (np.arange(_GRID) + 0.5) / _GRID
    columns, rows = np.meshgrid(steps * size[1] - 0.5, steps * size[0] - 0.5)
    inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2]
    edges = transform_points(inverse, np.column_stack([columns.ravel(), rows.ravel()])) + 0.5
    height, width = picture.shape[:2]
    inside = ((edges >= 0) & (edges <= [width, height])).all(axis=1)
    return 1 - float(inside.mean())


def _dlib_matrix(face: Face) -> Matrix:
    """From picture to chip pixels, as dlib's ``get_face_chip_details`` does it.

    The fit runs from the template to the picture; the chip's rectangle is one picture pixel short
    of its nominal side, and its corners, not its pixels' outer edges, land on the centres of the
    chip's corner pixels.
    """
    side = _CHIP_SIDE["dlib"]
    to_picture = similarity_transform(_DLIB, face.corner_points)
    scale = float(np.hypot(*to_picture[:, 0]))
    linear = to_picture[:, :2] * ((side * scale - 1) / ((side - 1) * scale))
    centre = to_picture @ [side / 2, side / 2, 1.0]
    inverse = np.linalg.inv(linear)
    return np.hstack([inverse, ((side - 1) / 2 - inverse @ centre)[:, None]])


def _compose(outer: Matrix, inner: Matrix) -> Matrix:
    linear = outer[:, :2] @ inner[:, :2]
    shift = outer[:, :2] @ inner[:, 2] + outer[:, 2]
    return np.hstack([linear, shift[:, None]])

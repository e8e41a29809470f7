"""A face found in a picture: where it is, the points that align it, and which picture it is from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from leam.faces.reading import Picture, PictureFile, checksum, read_picture_file

Points = NDArray[np.float64]
"""Points in pixels, ``(n, 2)``, x to the right and y down, the centre of the first pixel at (0, 0)."""

Box = tuple[float, float, float, float]
"""Left, top, right and bottom in pixels; may reach beyond the edges of the picture."""


@dataclass(frozen=True, repr=False)
class Face:
    """One face of a picture.

    Attributes:
        picture: The whole picture, RGB ``(H, W, 3)`` uint8.
        box: Left, top, right, bottom in pixels; may reach beyond the edges of the picture.
        score: The detector's confidence, on the detector's own scale; larger is more certain. NaN for an aligned face,
            which was not detected.
        landmarks: The 68 points of the iBUG scheme, ``(68, 2)`` pixels.
        five_points: Left eye, right eye, nose tip, left and right mouth corner as seen in the picture, ``(5, 2)``.
        corner_points: dlib's five points (both corners of each eye, the base of the nose), ``(5, 2)``.
        found: The number of faces in the picture.
        file: The file that the picture was read from; None for an array.
        detector: The name of the detector that found the face, if known.
        turned: Degrees by which the picture was turned counter-clockwise after reading, so that the face is upright.
    """

    picture: Picture
    box: Box
    score: float
    landmarks: Points
    five_points: Points
    corner_points: Points
    found: int = 1
    file: PictureFile | None = None
    detector: str | None = None
    turned: int = 0

    @classmethod
    def read(
        cls,
        path: Path,
        *,
        box: Box,
        score: float,
        landmarks: Points,
        five_points: Points,
        corner_points: Points,
        found: int = 1,
        detector: str | None = None,
        turned: int = 0,
        member: str = "",
    ) -> Face:
        """A face that was found before; its picture is read from the file, or its member, and turned again.

        Raises:
            ImageError: The file cannot be read.
        """
        picture, file = read_picture_file(path, member)
        return cls(
            picture=turn(picture, turned),
            box=box,
            score=score,
            landmarks=landmarks,
            five_points=five_points,
            corner_points=corner_points,
            found=found,
            file=file,
            detector=detector,
            turned=turned,
        )

    def __repr__(self) -> str:
        height, width = self.picture.shape[:2]
        left, top, right, bottom = (round(edge) for edge in self.box)
        name = f"{self.path.name!r}, " if self.path else ""
        return f"Face({name}{width}x{height} pixels, box ({left}, {top}, {right}, {bottom}), {self.detector})"

    @property
    def path(self) -> Path | None:
        """The path of the file that the picture was read from; None for an array."""
        return self.file.path if self.file else None

    @property
    def source(self) -> PictureFile | None:
        """The file whose decoded pixels ``picture`` holds; None for an array, and for pixels changed after reading.

        Turning does not count as a change.
        """
        return self.file if self.file and self.file.pixels == checksum(self._as_read()) else None

    def _as_read(self) -> Picture:
        """The picture as it was before it was turned."""
        return turn(self.picture, -self.turned)

    @property
    def sha256(self) -> str:
        """The SHA-256 of the bytes of ``source``, or of the pixels where there is no such file."""
        if source := self.source:
            return source.sha256
        return hashlib.sha256(np.ascontiguousarray(self.picture).data).hexdigest()


def turn(picture: Picture, degrees: int) -> Picture:
    """A picture ``(H, W, 3)`` turned counter-clockwise by a multiple of 90 degrees."""
    return np.ascontiguousarray(np.rot90(picture, degrees // 90)) if degrees else picture


def five_points_of(landmarks: Points) -> Points:
    """Eye centres, nose tip and mouth corners ``(5, 2)`` from 68 landmarks ``(68, 2)``."""
    return np.stack(
        [
            landmarks[36:42].mean(axis=0),
            landmarks[42:48].mean(axis=0),
            landmarks[30],
            landmarks[48],
            landmarks[54],
        ]
    )

"""A parser from the 478 points of MediaPipe's face mesh; needs the extra ``mediapipe``.

The wheels of ``mediapipe`` no longer contain the model file ``face_landmarker.task`` (Apache-2.0).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from leam.errors import FaceError, ModelError, WeightsError, first_line
from leam.faces.alignment import Crop, transform_points, warp
from leam.faces.face import Face, Points
from leam.files import sha256_of
from leam.parsers import PARSERS
from leam.parsers.builtin.landmarks import paint
from leam.parsers.network import head_matrix, inverse, weights_of
from leam.parsers.parsing import Parsing
from leam.parsers.regions import INDEX

_URL = (
    "https://storage.googleapis.com/mediapipe-models/"
    "face_landmarker/face_landmarker/float16/1/face_landmarker.task"
)
# The checksum is the one that other public projects pin.
_SHA256 = "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff"
_SIDE = 512
# Polygons over points of the face mesh, painted in this order.
_LEFT_BROW = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46)
_RIGHT_BROW = (300, 293, 334, 296, 336, 285, 295, 282, 283, 276)
_RINGS: dict[str, tuple[int, ...]] = {
    "skin": (
        *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
        *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
    ),
    "forehead": (
        *(162, 21, 54, 103, 67, 109, 10, 338, 297, 332, 284, 251, 389),
        *_RIGHT_BROW[:5],
        *reversed(_LEFT_BROW[:5]),
    ),
    "nose": (
        *(168, 122, 174, 198, 49, 48, 64, 98, 97, 2, 326, 327, 294, 278, 279, 420, 399, 351),
    ),
    "left_brow": _LEFT_BROW,
    "right_brow": _RIGHT_BROW,
    "left_eye": (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246),
    "right_eye": (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466),
    "upper_lip": (
        *(61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291),
        *(308, 415, 310, 311, 312, 13, 82, 81, 80, 191, 78),
    ),
    "lower_lip": (
        *(61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291),
        *(308, 324, 318, 402, 317, 14, 87, 178, 88, 95, 78),
    ),
    "mouth": (
        *(78, 95, 88, 178, 87, 14, 317, 402, 318, 324),
        *(308, 415, 310, 311, 312, 13, 82, 81, 80, 191),
    ),
}  # fmt: skip


@PARSERS("mediapipe")
class MediaPipeParser:
    """The parts of the face, forehead and background as polygons over MediaPipe's face mesh.

    Hair, ears, glasses, neck and clothes are not recognized; they are background.

    Args:
        task: The model file; by default the one that ``LEAM_MEDIAPIPE`` names, or the public one.

    Raises:
        ModelError: ``mediapipe`` is not installed.
        WeightsError: The model file is missing or damaged.
    """

    name = "mediapipe"
    labels = ("background", *_RINGS)

    def __init__(self, task: Path | None = None) -> None:
        try:
            import mediapipe  # noqa: PLC0415  an extra
            from mediapipe.tasks.python import BaseOptions, vision  # noqa: PLC0415
        except ImportError:
            raise ModelError(
                "mediapipe: not installed; `pip install leam-xai[mediapipe]`"
            ) from None
        task = task or weights_of("mediapipe", _URL, _SHA256)
        self._image, self._format = mediapipe.Image, mediapipe.ImageFormat.SRGB
        options = vision.FaceLandmarkerOptions(
            base_options=BaseOptions(model_asset_path=str(task)), num_faces=1
        )
        try:
            self._landmarker = vision.FaceLandmarker.create_from_options(options)
        except (RuntimeError, ValueError, OSError) as error:
            raise WeightsError(f"{task}: not a face landmarker ({first_line(error)})") from None
        self.sha256 = sha256_of(task)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name})"

    def parse(self, face: Face, crop: Crop) -> Parsing:
        """The parts of a face ``(h, w)`` in the crop's geometry; confidence is one everywhere.

        Raises:
            FaceError: MediaPipe finds no face.
            ModelError: MediaPipe cannot run.
        """
        points = transform_points(crop.matrix(face), self._points(face))
        labels: NDArray[np.uint8] = np.full(crop.size, INDEX["background"], dtype=np.uint8)
        for name, ring in _RINGS.items():
            paint(labels, points[list(ring)], name)
        return Parsing(labels, np.ones(crop.size, dtype=np.float32))

    def _points(self, face: Face) -> Points:
        """The face mesh in picture pixels, ``(478, 2)``, detected in a view of this face only."""
        view = head_matrix(face.five_points, _SIDE)
        picture = warp(face.picture, view, (_SIDE, _SIDE))
        try:
            found = self._landmarker.detect(self._image(self._format, picture)).face_landmarks
        except (RuntimeError, ValueError) as error:
            raise ModelError(
                f"{face.path or 'the picture'}: parser mediapipe cannot run ({first_line(error)})"
            ) from None
        if not found:
            raise FaceError(f"{face.path or 'the picture'}: no face found by mediapipe")
        mesh = np.array([[point.x, point.y] for point in found[0]]) * _SIDE - 0.5
        return transform_points(inverse(view), mesh)

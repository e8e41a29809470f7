"""YuNet, a small convolutional detector with five key points, through OpenCV.

Wu et al., "YuNet: A Tiny Millisecond-level Face Detector", Machine Intelligence Research 2023. The model file is
``face_detection_yunet_2023mar.onnx`` of OpenCV's model zoo (MIT); it is not part of this package.
"""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np

from leam.errors import ModelError, WeightsError, first_line
from leam.faces.detectors import DETECTORS
from leam.faces.key_points import Detections, KeyPointDetector
from leam.faces.reading import Picture

FILE_VARIABLE = "LEAM_YUNET"

_SIDE = 640
_MIN_SCORE = 0.6
_MAX_IOU = 0.3
_MAX_BYTES = 1 << 28
# The names of the outputs of the versions since 2023, which OpenCV asks for.
_OUTPUTS = [
    f"{kind}_{stride}".encode() for kind in ("cls", "obj", "bbox", "kps") for stride in (8, 16, 32)
]


@DETECTORS("yunet")
class YunetDetector(KeyPointDetector):
    """YuNet, on pictures scaled to 640 pixels.

    Args:
        path: The model file; by default the one that LEAM_YUNET names.

    Raises:
        WeightsError: The model file is missing or is not a YuNet.
    """

    name = "yunet"

    def __init__(self, path: str | Path | None = None) -> None:
        named = path or os.environ.get(FILE_VARIABLE)
        if not named:
            raise WeightsError(
                f"yunet: set {FILE_VARIABLE} to the path of face_detection_yunet_2023mar.onnx"
            )
        file = Path(named)
        if not file.is_file():
            raise WeightsError(f"yunet: {file} does not exist; set {FILE_VARIABLE} to another path")
        if not is_yunet(file):
            raise WeightsError(
                f"yunet: {file} is not a YuNet of 2023 or later: it lacks its outputs"
            )
        try:
            self._network = cv2.FaceDetectorYN.create(
                str(file), "", (_SIDE, _SIDE), _MIN_SCORE, _MAX_IOU
            )
        except cv2.error as error:
            raise WeightsError(f"yunet: OpenCV cannot read {file} ({first_line(error)})") from None
        super().__init__(file, _SIDE)

    def _find(self, canvas: Picture) -> Detections:
        try:
            rows: object = self._network.detect(canvas[:, :, ::-1].copy())[1]
        except cv2.error as error:
            raise ModelError(
                f"yunet: {self._path} is not a YuNet that can run ({first_line(error)})"
            ) from None
        # Left, top, width, height; five points; the score.
        found = np.zeros((0, 15)) if rows is None else np.asarray(rows, dtype=np.float64)
        found = found[np.isfinite(found).all(axis=1)]
        corner = found[:, :2]
        boxes = np.hstack([corner, corner + found[:, 2:4]])
        return Detections(boxes, found[:, 4:14].reshape(-1, 5, 2), found[:, 14])


def is_yunet(path: Path) -> bool:
    """Whether a file contains the names of YuNet's outputs."""
    if path.stat().st_size > _MAX_BYTES:
        return False
    content = path.read_bytes()
    return all(name in content for name in _OUTPUTS)

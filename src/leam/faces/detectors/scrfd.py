"""SCRFD, a convolutional detector with five key points, through onnxruntime.

Guo et al., "Sample and Computation Redistribution for Efficient Face Detection", ICLR 2022. The model file is
InsightFace's ``scrfd_2.5g_bnkps.onnx`` or another one of that family, for non-commercial research; it is not part of
this package.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leam.errors import ModelError, WeightsError, first_line
from leam.faces.detectors import DETECTORS
from leam.faces.key_points import Detections, Floats, KeyPointDetector
from leam.faces.reading import Picture

FILE_VARIABLE = "LEAM_SCRFD"
_IN_ASSETS = Path("detectors") / "scrfd_2.5g_bnkps.onnx"

_SIDE = 640
_STRIDES = (8, 16, 32)
_ANCHORS = 2
_MIN_SCORE = 0.5
_MAX_IOU = 0.4


@DETECTORS("scrfd")
class ScrfdDetector(KeyPointDetector):
    """SCRFD, on pictures scaled to 640 pixels.

    Args:
        path: The model file; by default the one that LEAM_SCRFD names, or
            ``detectors/scrfd_2.5g_bnkps.onnx`` in LEAM_ASSETS.

    Raises:
        ModelError: onnxruntime is not installed.
        WeightsError: The model file is missing or is not an SCRFD with key points.
    """

    name = "scrfd"

    def __init__(self, path: str | Path | None = None) -> None:
        file = Path(path) if path else _default_path()
        self._session = _session(file)
        self._input = self._session.get_inputs()[0].name
        super().__init__(file, _SIDE)

    def _find(self, canvas: Picture) -> Detections:
        inputs = ((canvas.astype(np.float32) - 127.5) / 128).transpose(2, 0, 1)[None]
        try:
            return decode(self._session.run(None, {self._input: inputs}), _SIDE)
        except Exception as error:  # noqa: BLE001  the file may be any other network
            raise ModelError(
                f"scrfd: {self._path} is not an SCRFD model that can run ({first_line(error)})"
            ) from None


def decode(outputs: Sequence[NDArray[np.float32]], side: int) -> Detections:
    """The faces in the network's nine outputs, after non-maximum suppression.

    Args:
        outputs: For strides 8, 16 and 32 the scores ``(n, 1)``; then the distances from the anchor to left, top,
            right, bottom ``(n, 4)``; then the offsets of five points ``(n, 10)``; all in strides.
        side: Height and width of the network's input, in pixels.
    """
    boxes, points, scores = [], [], []
    for level, stride in enumerate(_STRIDES):
        score, distance, offset = (
            np.asarray(outputs[level + 3 * kind], float) for kind in range(3)
        )
        finite = np.isfinite(np.hstack([score, distance, offset])).all(axis=1)
        kept = (score[:, 0] >= _MIN_SCORE) & finite
        anchors = _anchors(side, stride)[kept]
        near, far = anchors - distance[kept, :2] * stride, anchors + distance[kept, 2:] * stride
        boxes.append(np.hstack([near, far]))
        points.append(anchors[:, None] + offset[kept].reshape(-1, 5, 2) * stride)
        scores.append(score[kept, 0])
    all_boxes, all_points, all_scores = map(np.concatenate, (boxes, points, scores))
    chosen = suppress(all_boxes, all_scores)
    return Detections(all_boxes[chosen], all_points[chosen], all_scores[chosen])


def suppress(boxes: Floats, scores: Floats, max_iou: float = _MAX_IOU) -> NDArray[np.intp]:
    """Non-maximum suppression: positions of the boxes to keep, highest score first.

    Args:
        boxes: Left, top, right, bottom, ``(n, 4)``.
        scores: ``(n,)``.
        max_iou: A box is dropped if its intersection over union with a box of a higher score is larger.
    """
    areas = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1)
    rest = np.argsort(-scores, kind="stable")
    kept = []
    while len(rest):
        best, rest = rest[0], rest[1:]
        kept.append(best)
        near = np.maximum(boxes[rest, :2], boxes[best, :2])
        far = np.minimum(boxes[rest, 2:], boxes[best, 2:])
        shared = np.prod(np.maximum(far - near, 0), axis=1)
        union = areas[rest] + areas[best] - shared
        rest = rest[shared <= max_iou * union]
    return np.array(kept, dtype=np.intp)


def _anchors(side: int, stride: int) -> Floats:
    """The anchors of a level's predictions in input pixels, ``(n, 2)``, two at each position."""
    rows, columns = np.mgrid[: side // stride, : side // stride]
    centres = np.stack([columns, rows], axis=-1).reshape(-1, 2) * stride
    return np.repeat(centres, _ANCHORS, axis=0).astype(float)


def _default_path() -> Path:
    if named := os.environ.get(FILE_VARIABLE):
        return Path(named)
    if assets := os.environ.get("LEAM_ASSETS"):
        return Path(assets) / _IN_ASSETS
    raise WeightsError(f"scrfd: set {FILE_VARIABLE} to the path of {_IN_ASSETS.name}")


def _session(path: Path) -> Any:  # noqa: ANN401  onnxruntime is untyped
    try:
        onnxruntime = importlib.import_module("onnxruntime")
    except ImportError:
        raise ModelError("scrfd: needs onnxruntime; `pip install leam-xai[scrfd]`") from None
    if not path.is_file():
        raise WeightsError(f"scrfd: {path} does not exist; set {FILE_VARIABLE} to another path")
    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001  its errors share no base
        raise WeightsError(f"scrfd: {path} is not an ONNX file ({first_line(error)})") from None
    if len(session.get_outputs()) != 3 * len(_STRIDES):
        raise WeightsError(
            f"scrfd: {path} is not an SCRFD with key points: it lacks its nine outputs"
        )
    return session

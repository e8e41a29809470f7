"""Changed pictures of a face: which pixels changed, and how a recognizer that links pictures would align them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from leam.errors import FaceError
from leam.explain.masks import critical_mask
from leam.explain.methods import Method
from leam.faces.detection import MAX_DISAGREEMENT, Detector, landmark_disagreement
from leam.faces.face import Box, Face, Points
from leam.faces.protections import ProtectionInput
from leam.faces.reading import Picture

COVERED = 0.1
"""Part of the face's box that the protection ``cover`` hides."""
# A detection overlaps the original's box at least this much (intersection over union).
_OVERLAP = 0.3
# Pictures of one shape may differ this much in the ratio of their sides, as whole pixels do.
_SAME_SHAPE = 0.02


@dataclass(frozen=True)
class Changed:
    """A face in a changed picture.

    Attributes:
        face: The face, with the points that align it.
        found: Whether the detector found it, with reliable landmarks. If not, the points are those of the original.
        pixels: Part of the pixels in the face's box that changed, in [0, 1]; None if the picture was cropped, so that
            pixels do not correspond.
    """

    face: Face
    found: bool
    pixels: float | None


def changed_face(face: Face, picture: Picture, detector: Detector) -> Changed:
    """The face of an unchanged picture in a changed version of it.

    Args:
        face: The face in the unchanged picture.
        picture: The changed picture, RGB ``(H, W, 3)`` uint8; of another size if it was resized or cropped.
        detector: Searches the face.

    Raises:
        FaceError: The face is not found, and cannot be aligned as the original's since the picture was cropped.
    """
    scale = np.array(picture.shape[1::-1]) / np.array(face.picture.shape[1::-1])
    same_shape = abs(scale[0] / scale[1] - 1) <= _SAME_SHAPE
    original = _moved(face, picture, scale)
    candidates = detector.detect(picture)
    if same_shape:
        candidates = [one for one in candidates if overlap(one.box, original.box) >= _OVERLAP]
        candidates.sort(key=lambda one: overlap(one.box, original.box), reverse=True)
    if candidates and landmark_disagreement(candidates[0]) <= MAX_DISAGREEMENT:
        chosen, found = candidates[0], True
    elif same_shape:
        chosen, found = original, False
    else:
        raise FaceError(
            f"no face found by {detector.name}, and the picture was cropped; keep its shape, so that the original's "
            "landmarks can be used"
        )
    return Changed(chosen, found, _changed_pixels(face, picture) if same_shape else None)


def areas_of(faces: Sequence[Face], methods: Sequence[Method]) -> list[NDArray[np.bool_]]:
    """What the protection ``cover`` hides in each picture: the areas that recognizers rely on most.

    The maps of all recognizers count the same. The mask has at most :data:`COVERED` of the pixels of the face's box.

    Args:
        faces: The faces.
        methods: Explains each recognizer.

    Returns:
        A mask ``(H, W)`` of each picture.
    """
    found = []
    for face in faces:
        height, width = face.picture.shape[:2]
        total = np.zeros((height, width), np.float32)
        for method in methods:
            chip = method.recognizer.crop.align(face)
            overall = method.explain(chip.image[None]).overall[0].cpu().float().numpy()
            way = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            placed = np.asarray(
                cv2.warpAffine(overall, chip.matrix, (width, height), flags=way), np.float32
            )
            total += placed / max(float(placed.sum()), 1e-12)
        box = np.zeros((height, width), dtype=bool)
        box[ProtectionInput.of(face).box] = True
        total[~box] = 0
        fraction = COVERED * float(box.mean())
        mask = critical_mask(torch.from_numpy(total), fraction).numpy()
        found.append(mask & (total > 0))
    return found


def overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes, in [0, 1]."""
    first, second = np.array(one), np.array(other)
    sides = np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])
    shared = float(np.prod(np.maximum(sides, 0)))
    areas = sum(float(np.prod(np.maximum(box[2:] - box[:2], 0))) for box in (first, second))
    return shared / (areas - shared) if areas > shared else 0.0


def _moved(face: Face, picture: Picture, scale: Points) -> Face:
    """The original's points in a picture of another size."""

    def points(values: Points) -> Points:
        return (values + 0.5) * scale - 0.5

    left, top, right, bottom = points(np.array(face.box).reshape(2, 2)).ravel().tolist()
    return replace(
        face,
        picture=picture,
        box=(left, top, right, bottom),
        landmarks=points(face.landmarks),
        five_points=points(face.five_points),
        corner_points=points(face.corner_points),
        file=None,
    )


def _changed_pixels(face: Face, picture: Picture) -> float:
    height, width = face.picture.shape[:2]
    if picture.shape != face.picture.shape:
        picture = np.asarray(
            cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8
        )
    box = ProtectionInput.of(face).box
    return float((picture[box] != face.picture[box]).any(axis=2).mean())

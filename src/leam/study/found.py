"""Found faces as arrays, so that a picture is searched once whatever the number of models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from leam.errors import InputError
from leam.faces.detection import Detector, find_face
from leam.faces.face import Face
from leam.faces.reading import read_picture
from leam.study.plan import PlannedImage
from leam.study.store import Arrays

_POINTS = {"landmarks": 68, "five_points": 5, "corner_points": 5}


def search_faces(images: Sequence[PlannedImage], detector: Detector) -> Arrays:
    """Search pictures for their faces.

    Returns:
        For ``n`` pictures: ``reason`` (why one cannot be used, empty where it can), ``box`` ``(n, 4)``, ``score``,
        ``found``, and the points of :class:`Face`, NaN where there is no face.
    """
    faces: list[Face | None] = []
    reasons: list[str] = []
    for image in images:
        try:
            faces.append(find_face(image.path, detector))
            reasons.append("")
        except InputError as error:
            faces.append(None)
            reasons.append(str(error).removeprefix(f"{image.path}: "))
    arrays: Arrays = {
        "reason": np.array(reasons, dtype=str),
        "box": np.array([face.box if face else (np.nan,) * 4 for face in faces]),
        "score": np.array([face.score if face else np.nan for face in faces]),
        "found": np.array([face.found if face else 0 for face in faces]),
    }
    for name, count in _POINTS.items():
        arrays[name] = np.array(
            [getattr(face, name) if face else np.full((count, 2), np.nan) for face in faces]
        )
    return arrays


def restore_face(image: PlannedImage, arrays: Arrays, position: int) -> Face:
    """A face that was found before, its picture read again.

    Raises:
        ImageError: The picture can no longer be read.
    """
    return Face(
        picture=read_picture(image.path),
        box=tuple(float(value) for value in arrays["box"][position]),  # type: ignore[arg-type]
        score=float(arrays["score"][position]),
        found=int(arrays["found"][position]),
        path=Path(image.path),
        **{name: arrays[name][position] for name in _POINTS},
    )

"""Face detectors on pictures of LFW and on hard pictures made from them.

    LEAM_ASSETS=FOLDER python benchmarks/detection.py measure --out benchmarks/detection.json
    LEAM_ASSETS=FOLDER python benchmarks/detection.py limits --out benchmarks/detection.json
    python benchmarks/detection.py tables --out benchmarks/detection.json --page docs/recognizers.md

For each picture, the reference is the face that ``auto`` finds in the unchanged picture. A face in a changed picture is
the right one if its box overlaps the reference's box, changed in the same way, with an intersection over union of at
least 0.5. The landmark error is the mean distance of the 68 landmarks from those of the reference, divided by the
distance between the eyes. Pictures without a reference are counted and left out.

``limits`` chooses ``MAX_DISAGREEMENT`` on other people: the smallest limit that excludes at most one in 500 right
faces whose landmark error is below 0.1.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from markdown import show
from numpy.typing import NDArray

from leam.errors import FaceError
from leam.faces.alignment import Matrix, transform_points
from leam.faces.detection import (
    MAX_DISAGREEMENT,
    Detector,
    RotatingDetector,
    find_face,
    landmark_disagreement,
)
from leam.faces.detectors import load_detector
from leam.faces.detectors.auto import ORDER
from leam.faces.face import Box, Face, five_points_of
from leam.faces.reading import Picture

RIGHT = 0.5
# Landmark errors below and above which landmarks are good or bad.
GOOD, BAD = 0.1, 0.2
ONE_IN = 500
LIMITS = (0.08, 0.1, 0.12, 0.15, 0.2, 0.25, 0.3)
ROTATED = "auto, --rotate auto"
SMALL = 40
GAMMA = 4
UNCHANGED = np.array([[1.0, 0, 0], [0, 1, 0]])
PICTURES = 150
# Turning takes four times as long, and is tried on fewer pictures.
TURNED_PICTURES = 30
PARTS = {"test": slice(0, None, 2), "development": slice(1, None, 2)}

Change = Callable[[Face], tuple[Picture, Matrix]]


def turned(degrees: float) -> Change:
    """Turn the picture counter-clockwise about its centre; black beyond its edges."""

    def change(face: Face) -> tuple[Picture, Matrix]:
        height, width = face.picture.shape[:2]
        matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1)
        cos, sin = abs(matrix[0, 0]), abs(matrix[0, 1])
        size = round(width * cos + height * sin), round(width * sin + height * cos)
        matrix[:, 2] += (size[0] - width) / 2, (size[1] - height) / 2
        return np.asarray(cv2.warpAffine(face.picture, matrix, size), np.uint8), np.asarray(
            matrix, float
        )

    return change


def small(face: Face) -> tuple[Picture, Matrix]:
    """Shrink the picture until the face's box has a side of 40 pixels."""
    height, width = face.picture.shape[:2]
    scale = SMALL / (face.box[2] - face.box[0])
    size = round(width * scale), round(height * scale)
    fx, fy = size[0] / width, size[1] / height
    matrix = np.array([[fx, 0, (fx - 1) / 2], [0, fy, (fy - 1) / 2]])
    return np.asarray(cv2.resize(face.picture, size, interpolation=cv2.INTER_AREA)), matrix


def covered(face: Face) -> tuple[Picture, Matrix]:
    """Paint the lower third of the face's box grey."""
    left, top, right, bottom = face.box
    picture = face.picture.copy()
    upper = round(bottom - (bottom - top) / 3)
    picture[max(upper, 0) : max(round(bottom), 0), max(round(left), 0) : max(round(right), 0)] = 128
    return picture, UNCHANGED


def grey(face: Face) -> tuple[Picture, Matrix]:
    """Make the picture grey."""
    return np.repeat(cv2.cvtColor(face.picture, cv2.COLOR_RGB2GRAY)[..., None], 3, 2), UNCHANGED


def dark(face: Face) -> tuple[Picture, Matrix]:
    """Darken the picture: values in [0, 1] to the fourth power."""
    return np.rint(255 * (face.picture / 255) ** GAMMA).astype(np.uint8), UNCHANGED


CONDITIONS: dict[str, Change] = {
    "unchanged": lambda face: (face.picture, UNCHANGED),
    **{f"turned by {degrees}°": turned(degrees) for degrees in (30, 60, 90, 180)},
    "face of 40 pixels": small,
    "lower third covered": covered,
    "grey": grey,
    "dark": dark,
}


@dataclass(frozen=True)
class Trial:
    """A picture and what a detector made of it.

    Attributes:
        found: Whether there is a face.
        right: Whether the most prominent face is the right one.
        error: Landmark error of the right face; NaN for others.
        disagreement: Of the two landmark predictors; NaN without a face.
        used: Whether a picture would be used: one clear face with usable landmarks.
    """

    found: bool = False
    right: bool = False
    error: float = np.nan
    disagreement: float = np.nan
    used: bool = False


def trial(faces: Sequence[Face], reference: Face, matrix: Matrix, *, used: bool) -> Trial:
    """Compare the most prominent face with the reference, moved by ``matrix`` into the changed picture."""
    if not faces:
        return Trial()
    face = faces[0]
    right = bool(iou(face.box, moved(reference.box, matrix)) >= RIGHT)
    points = transform_points(matrix, reference.landmarks)
    distance = np.linalg.norm(face.landmarks - points, axis=1).mean() / eye_distance(
        five_points_of(points)
    )
    error = float(distance) if right else np.nan
    return Trial(
        found=True, right=right, error=error, disagreement=landmark_disagreement(face), used=used
    )


def moved(box: Box, matrix: Matrix) -> Box:
    """The upright square around the moved centre of a box, scaled with it."""
    left, top, right, bottom = box
    (x, y), *_ = transform_points(matrix, np.array([[(left + right) / 2, (top + bottom) / 2]]))
    half = (right - left) / 2 * float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    return x - half, y - half, x + half, y + half


def iou(one: Box, other: Box) -> float:
    """Intersection over union of two boxes."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(width, 0) * max(height, 0)
    area = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return shared / (area - shared)


def eye_distance(five_points: NDArray[np.float64]) -> float:
    """Distance between the centres of the eyes, in pixels."""
    return float(np.linalg.norm(five_points[1] - five_points[0]))


def detected(detector: Detector, picture: Picture) -> tuple[list[Face], bool]:
    """The faces that a detector finds, and whether the picture would be used."""
    faces = detector.detect(picture)
    try:
        find_face(picture, _Known(detector.name, faces))
    except FaceError:
        return faces, False
    return faces, True


@dataclass(frozen=True)
class _Known:
    """A detector whose answer is known."""

    name: str
    faces: list[Face]

    def detect(self, picture: Picture) -> list[Face]:
        """The known faces, of any picture."""
        del picture
        return self.faces


def trials(
    face: Face, detectors: Sequence[Detector], *, rotate: bool
) -> Iterator[tuple[str, str, Trial]]:
    """Condition, detector and outcome for the changed pictures of one reference face."""
    for condition, change in CONDITIONS.items():
        picture, matrix = change(face)
        answers = {one.name: detected(one, picture) for one in detectors}
        answers["auto"] = next(
            (found for found in answers.values() if found[0]), next(iter(answers.values()))
        )
        for name, (faces, used) in answers.items():
            yield condition, name, trial(faces, face, matrix, used=used)
        if rotate:
            turning = RotatingDetector(_Ordered(detectors))
            faces, used = detected(turning, picture)
            back = turn_matrix(picture, faces[0].turned) if faces else UNCHANGED
            yield condition, ROTATED, trial(faces, face, compose(back, matrix), used=used)


@dataclass(frozen=True)
class _Ordered:
    """``auto`` with detectors that are loaded already."""

    detectors: Sequence[Detector]
    name: str = "auto"

    def detect(self, picture: Picture) -> list[Face]:
        """The faces of the first detector that finds some."""
        return next(filter(None, (one.detect(picture) for one in self.detectors)), [])


def turn_matrix(picture: Picture, degrees: int) -> Matrix:
    """From pixels of a picture to those of the picture turned counter-clockwise by a multiple of 90 degrees."""
    matrix = UNCHANGED
    height, width = picture.shape[:2]
    for _ in range(degrees // 90):
        matrix = compose(np.array([[0, 1.0, 0], [-1, 0, width - 1]]), matrix)
        height, width = width, height
    return matrix


def compose(outer: Matrix, inner: Matrix) -> Matrix:
    """The affine map that applies ``inner``, then ``outer``."""
    return np.hstack([outer[:, :2] @ inner[:, :2], transform_points(outer, inner[:, 2:].T).T])


def measure(
    assets: Path, part: str, count: int
) -> tuple[dict[str, Any], list[tuple[str, str, Trial]]]:
    """All trials on one picture of each of some people, and how many pictures have no reference."""
    people = sorted((assets / "lfw" / "people").iterdir())[PARTS[part]]
    people = people[:: max(1, len(people) // count)][:count]
    detectors = [load_detector(name) for name in ORDER]
    outcomes: list[tuple[str, str, Trial]] = []
    missing = 0
    for number, person in enumerate(people):
        try:
            face = find_face(min(person.iterdir()), _Ordered(detectors))
        except FaceError:
            missing += 1
            continue
        rotate = number % max(1, count // TURNED_PICTURES) == 0
        outcomes += trials(face, detectors, rotate=rotate)
    return {"pictures": len(people) - missing, "without_reference": missing}, outcomes


def summary(outcomes: Sequence[Trial]) -> dict[str, float]:
    """Numbers of pictures, and quantiles of the landmark error of right faces."""
    errors = [one.error for one in outcomes if one.right] or [np.nan]
    return {
        "pictures": len(outcomes),
        "found": sum(one.found for one in outcomes),
        "right": sum(one.right for one in outcomes),
        "used": sum(one.used for one in outcomes),
        "used_wrong": sum(one.used and not (one.right and one.error <= BAD) for one in outcomes),
        "error_median": round(float(np.median(errors)), 4),
        "error_90": round(float(np.quantile(errors, 0.9)), 4),
    }


def limits(outcomes: Sequence[tuple[str, str, Trial]]) -> dict[str, Any]:
    """Which part of the good and of the bad landmarks each limit excludes, over both detectors and all pictures."""
    found = [one for _, name, one in outcomes if name in ORDER and one.found]
    good = np.array([one.disagreement for one in found if one.right and one.error < GOOD])
    bad = np.array([one.disagreement for one in found if not one.right or one.error > BAD])
    allowed = len(good) // ONE_IN
    return {
        "good": len(good),
        "bad": len(bad),
        "chosen": next(limit for limit in LIMITS if (good > limit).sum() <= allowed),
        "excluded": {
            str(limit): [int((good > limit).sum()), int((bad > limit).sum())] for limit in LIMITS
        },
    }


def table(result: dict[str, Any]) -> str:
    """The outcomes as a Markdown table."""
    lines = [
        "| pictures | detector | found | right face | landmark error: median, 90 % | used | of these, wrong |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for condition, detectors in result["conditions"].items():
        for name, row in detectors.items():
            of = f"of {row['pictures']}"
            error = f"{row['error_median']:.3f}, {row['error_90']:.3f}" if row["right"] else "-"
            lines.append(
                f"| {condition} | {name} | {row['found']} {of} | {row['right']} | {error} | {row['used']} | "
                f"{row['used_wrong']} |"
            )
    return "\n".join(lines)


def limit_table(chosen: dict[str, Any]) -> str:
    """What each limit excludes, as a Markdown table."""
    lines = [
        f"| limit | good landmarks excluded, of {chosen['good']} | bad ones excluded, of {chosen['bad']} |",
        "| --- | --- | --- |",
    ]
    lines += [f"| {limit} | {good} | {bad} |" for limit, (good, bad) in chosen["excluded"].items()]
    return "\n".join(lines)


def grouped(outcomes: Sequence[tuple[str, str, Trial]]) -> dict[str, dict[str, dict[str, float]]]:
    """The summary of each condition and detector."""
    parts: dict[str, dict[str, list[Trial]]] = {}
    for condition, name, one in outcomes:
        parts.setdefault(condition, {}).setdefault(name, []).append(one)
    return {
        condition: {name: summary(ones) for name, ones in detectors.items()}
        for condition, detectors in parts.items()
    }


def main() -> None:
    """Measure, or write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("measure", "limits", "tables"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    result = json.loads(options.out.read_text()) if options.out.exists() else {}
    if options.what == "tables":
        show(table(result), options.page, "detection")
        show(limit_table(result["limits"]), options.page, "landmark limits")
        return
    assets, start = Path(os.environ["LEAM_ASSETS"]), time.perf_counter()
    if options.what == "measure":
        info, outcomes = measure(assets, "test", PICTURES)
        seconds = round(time.perf_counter() - start)
        result |= {
            **info,
            "seconds": seconds,
            "max_disagreement": MAX_DISAGREEMENT,
            "conditions": grouped(outcomes),
        }
    else:
        info, outcomes = measure(assets, "development", PICTURES)
        result["limits"] = {**info, **limits(outcomes)}
    options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""Preparation of a study: detect the face in each picture, parse it, and exclude unusable pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Final

import numpy as np
from numpy.typing import NDArray

from leam.errors import ImageError, InputError, LeamError, StudyError, first_line
from leam.faces.alignment import Crop
from leam.faces.detection import Detector, find_face
from leam.faces.face import Face
from leam.parsers.parsing import Parser, Parsing
from leam.results.shards import Shard, axes
from leam.results.summary import Exclusion
from leam.study.plan import Plan, PlannedImage
from leam.study.store import CHANGED, RunFolder

DETECT: Final = "detect"
PARSE: Final = "parse"

_POINTS = {"landmarks": 68, "five_points": 5, "corner_points": 5}


@dataclass(frozen=True)
class Detections(Shard):
    """The detected faces of a slice; NaN for pictures without a face."""

    reason: Annotated[
        NDArray[np.str_],
        axes("face", doc="Why the picture cannot be used; empty if it can.", reveals="text"),
    ]
    box: Annotated[
        NDArray[np.float64],
        axes(
            "face",
            4,
            doc="Left, top, right and bottom of the face, in pixels.",
            reveals="appearance",
        ),
    ]
    note: Annotated[
        NDArray[np.str_],
        axes(
            "face",
            doc="How the picture was changed: values that are not 8-bit RGB, and turns; empty if it was not.",
        ),
    ]
    score: Annotated[
        NDArray[np.float64],
        axes("face", doc="Confidence of the detector; NaN for faces that were aligned already."),
    ]
    detector: Annotated[
        NDArray[np.str_], axes("face", doc="The detector that found the face; empty without one.")
    ]
    found: Annotated[NDArray[np.int64], axes("face", doc="Number of faces in the picture.")]
    turned: Annotated[
        NDArray[np.int64],
        axes(
            "face", doc="Degrees by which the picture was turned counter-clockwise after reading."
        ),
    ]
    landmarks: Annotated[
        NDArray[np.float64],
        axes(
            "face", 68, 2, doc="iBUG's 68 points, in pixels of the picture.", reveals="appearance"
        ),
    ]
    five_points: Annotated[
        NDArray[np.float64],
        axes(
            "face", 5, 2, doc="Eyes, nose tip and mouth corners, in pixels.", reveals="appearance"
        ),
    ]
    corner_points: Annotated[
        NDArray[np.float64],
        axes("face", 5, 2, doc="dlib's five points, in pixels.", reveals="appearance"),
    ]

    def face(self, image: PlannedImage, row: int) -> Face:
        """A detected face. Reads its picture again.

        Raises:
            ImageError: The picture can no longer be read, or has changed since the study was planned.
        """
        left, top, right, bottom = self.box[row].tolist()
        face = Face.read(
            Path(image.path),
            member=image.member,
            box=(left, top, right, bottom),
            score=float(self.score[row]),
            found=int(self.found[row]),
            detector=str(self.detector[row]),
            turned=int(self.turned[row]),
            **{name: getattr(self, name)[row] for name in _POINTS},
        )
        _check_unchanged(image, face)
        return face


@dataclass(frozen=True)
class Parsings(Shard):
    """The regions of a slice's faces in one crop; zero for pictures without a usable face."""

    labels: Annotated[
        NDArray[np.uint8],
        axes("face", "row", "column", doc="Positions in ``LABELS``.", reveals="appearance"),
    ]
    confidence: Annotated[
        NDArray[np.float16],
        axes("face", "row", "column", doc="Confidence of the parser, 0-1.", reveals="appearance"),
    ]
    reason: Annotated[
        NDArray[np.str_],
        axes("face", doc="Why the parser failed; empty if it did not.", reveals="text"),
    ]

    def parsing(self, row: int) -> Parsing:
        """The parsing of one face."""
        return Parsing(self.labels[row], self.confidence[row].astype(np.float32))


def detect_faces(images: Sequence[PlannedImage], detector: Detector) -> Detections:
    """Detect the face in each picture."""
    faces: list[Face | None] = []
    reasons: list[str] = []
    for image in images:
        try:
            face = find_face(image.path, detector, image.member)
            if image.sha256 is None:
                raise ImageError(f"{image.path}: could not be read when the study was planned")
            _check_unchanged(image, face)
            faces.append(face)
            reasons.append("")
        except InputError as error:
            faces.append(None)
            reasons.append(reason_of(image, error))
    return Detections(
        reason=np.array(reasons, dtype=str),
        note=np.array([_note(face) if face else "" for face in faces], dtype=str),
        box=np.array([face.box if face else (np.nan,) * 4 for face in faces], dtype=np.float64),
        score=np.array([face.score if face else np.nan for face in faces], dtype=np.float64),
        detector=np.array([(face.detector if face else None) or "" for face in faces], dtype=str),
        found=np.array([face.found if face else 0 for face in faces], dtype=np.int64),
        turned=np.array([face.turned if face else 0 for face in faces], dtype=np.int64),
        **{
            name: np.array(
                [getattr(face, name) if face else np.full((count, 2), np.nan) for face in faces],
                dtype=np.float64,
            )
            for name, count in _POINTS.items()
        },
    )


def _note(face: Face) -> str:
    """How a face's picture was changed; empty if it was not."""
    notes = (
        face.file.note if face.file else "",
        f"turned by {face.turned} degrees" if face.turned else "",
    )
    return "; ".join(filter(None, notes))


def reason_of(image: PlannedImage, error: InputError) -> str:
    """An error without the name of its picture."""
    return str(error).removeprefix(f"{image.path}: ").removeprefix(f"{image.member}: ")


def _check_unchanged(image: PlannedImage, face: Face) -> None:
    """Reject a picture that differs from the plan, since the outputs would name the wrong one."""
    if image.sha256 and face.file and face.file.sha256 != image.sha256:
        raise ImageError(f"{image.path}: {CHANGED}")


def parse_faces(
    plan: Plan,
    detections: Detections,
    index: int,
    parser: Parser,
    crop: Crop,
    wanted: frozenset[int],
) -> Parsings:
    """Parse the faces of a slice in one crop.

    Args:
        plan: The plan of the study.
        detections: Detections of the slice.
        index: The slice.
        parser: The face parser.
        crop: The alignment of the faces.
        wanted: Positions of the pictures with a usable face.
    """
    part = plan.slices[index]
    labels = np.zeros((len(part), *crop.size), dtype=np.uint8)
    confidence = np.zeros((len(part), *crop.size), dtype=np.float16)
    reasons = [""] * len(part)
    for row, position in enumerate(part):
        if position not in wanted:
            continue
        try:
            face = detections.face(plan.images[position], row)
        except ImageError as error:
            reasons[row] = reason_of(plan.images[position], error)
            continue
        try:
            parsing = parser.parse(face, crop)
        except (LeamError, RuntimeError, ValueError, ArithmeticError) as error:
            reasons[row] = f"the parser {parser.name} failed: {first_line(error)}"
        else:
            labels[row], confidence[row] = parsing.labels, parsing.confidence
    return Parsings(labels, confidence, np.array(reasons, dtype=str))


def parsings_of(plan: Plan) -> list[str]:
    """All combinations ``PARSER/CROP`` of a study's parsers and the crops of its recognizers."""
    settings = plan.settings
    parsers = dict.fromkeys([settings.parser, settings.second_parser or settings.parser])
    crops = dict.fromkeys(model.card.crop.name for model in plan.models)
    return [f"{parser}/{crop}" for parser, crop in product(parsers, crops)]


def read_detections(folder: RunFolder, index: int) -> Detections:
    """The detections of a slice.

    Raises:
        StudyError: They are missing.
    """
    found = folder.read_shard(Detections, DETECT, index)
    if found is None:
        raise StudyError(f"{folder.shard(DETECT, index)}: disappeared; run the study again")
    return found


def usable_images(
    plan: Plan, folder: RunFolder, *, parsed: bool = True
) -> tuple[list[int], list[Exclusion]]:
    """Positions of the usable pictures, and all exclusions, those of the data set first.

    Args:
        plan: The plan of the study.
        folder: The run folder.
        parsed: Also exclude pictures on which a parser failed.

    Pictures that vanished or changed after the study began are excluded as well.

    Raises:
        StudyError: Detection, or parsing if requested, is not finished.
    """
    reasons = _reasons(plan, folder, Detections, DETECT)
    for one in folder.lost():
        if not 0 <= one.position < len(reasons):
            raise StudyError(f"{folder.path}/lost.json: damaged; restore it from a copy")
        reasons[one.position] = reasons[one.position] or one.reason
    _exclude_single(plan, reasons)
    if parsed:
        for name in parsings_of(plan):
            for position, reason in enumerate(_reasons(plan, folder, Parsings, f"{PARSE}/{name}")):
                reasons[position] = reasons[position] or reason
        _exclude_single(plan, reasons)
    excluded = [
        Exclusion(image=image.image, reason=reason)
        for image, reason in zip(plan.images, reasons, strict=True)
        if reason
    ]
    usable = [position for position, reason in enumerate(reasons) if not reason]
    return usable, [*plan.exclusions, *excluded]


def notes_of(plan: Plan, folder: RunFolder) -> list[str]:
    """The notes of the plan, and how many pictures have values that were scaled or changed.

    Raises:
        StudyError: Detection is not finished.
    """
    counts = Counter(filter(None, _values(plan, folder, Detections, DETECT, "note")))
    return [*plan.notes, *(f"{note} (pictures: {count})" for note, count in sorted(counts.items()))]


def _reasons(
    plan: Plan, folder: RunFolder, kind: type[Detections | Parsings], stage: str
) -> list[str]:
    """For each picture, why a stage could not use it; empty if it could."""
    return _values(plan, folder, kind, stage, "reason")


def _values(
    plan: Plan, folder: RunFolder, kind: type[Detections | Parsings], stage: str, field: str
) -> list[str]:
    """A text that a stage stored for each picture."""
    values: list[str] = []
    for index, _ in enumerate(plan.slices):
        shard = folder.read_shard(kind, stage, index, [field])
        if shard is None:
            raise StudyError(
                f"{folder.path}: the study is not finished; run it again with the same command"
            )
        values.extend(map(str, getattr(shard, field)))
    return values


def _exclude_single(plan: Plan, reasons: list[str]) -> None:
    """Exclude people with a single usable picture, which only an audit can compare with something."""
    if plan.settings.audit:
        return
    counts: dict[str, int] = {}
    for image, reason in zip(plan.images, reasons, strict=True):
        counts[image.person] = counts.get(image.person, 0) + (not reason)
    for position, image in enumerate(plan.images):
        if not reasons[position] and counts[image.person] == 1:
            reasons[position] = f"the only usable picture of {image.person}"

"""From arguments to pictures, faces and the folders of their files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from leam.cli.console import complain, note
from leam.errors import InputError, LeamError

if TYPE_CHECKING:
    from leam.faces.alignment import Crop
    from leam.faces.detection import Detector
    from leam.faces.face import Face
    from leam.faces.people import Sample

PERSON = "the person"
"""The name of a person whose pictures are given without one."""
# File systems allow 255 bytes; a number or the place of a frame follows.
_LONGEST = 200


def pictures_in(paths: Sequence[Path]) -> list[Path | Sample]:
    """Pictures, those in folders, and the sampled frames of videos. Prints which files of a folder are not used.

    Raises:
        InputError: A folder contains no picture.
    """
    from leam.faces.datasets.folder import is_video_name
    from leam.faces.people import named_exclusions

    found: list[Path | Sample] = []
    for path in paths:
        if not path.is_dir() and not is_video_name(path.name):
            found.append(path)
            continue
        exclusions: dict[str, str] = {}
        inside = list(_samples_in(path, exclusions))
        unused = named_exclusions(exclusions)
        if not inside:
            way_out = "; name one of its folders" if "folder" in exclusions.values() else ""
            raise InputError(f"{path}: contains no pictures{unused and '; '}{unused}{way_out}")
        if unused:
            note(f"{path}: {unused}")
        found += inside
    return found


def _samples_in(path: Path, exclusions: dict[str, str]) -> Iterator[Sample]:
    """The pictures in a folder, without those in its subfolders, or the sampled frames of a video."""
    from leam.faces.datasets.folder import is_video_name, pictures_in
    from leam.faces.people import Sample
    from leam.faces.reading import picture_suffixes, unreadable

    for one in sorted(path.iterdir()) if path.is_dir() else [path]:
        known = one.suffix.lower() in picture_suffixes() or is_video_name(one.name)
        if one.name.startswith("."):
            exclusions[one.name] = "hidden"
        elif one.is_dir():
            exclusions[one.name] = "folder"
        elif not known and (reason := unreadable(one)):
            exclusions[one.name] = reason
        else:
            for place, image, member in pictures_in(one, one.name, exclusions):
                yield Sample(place, image, PERSON, member=member)


def samples_of(source: Path) -> list[Sample]:
    """The pictures of a data set. Prints how it was read, and which of its files are not used.

    Raises:
        InputError: It cannot be read, or contains no picture.
    """
    from leam.faces.people import exclusion_note, read_dataset

    dataset = read_dataset(source)
    for one in (*dataset.notes, exclusion_note(dataset.exclusions)):
        if one:
            note(f"{source}: {one}")
    return dataset.samples


def place_of(picture: Path | Sample) -> tuple[Path, str]:
    """The file of a picture, and its place inside the file."""
    return (picture, "") if isinstance(picture, Path) else (picture.path, picture.member)


def find_detector(name: str | None, crops: Mapping[str, Crop], *, rotate: bool = False) -> Detector:
    """The detector of this name, None standing for the default. Prints how it changes aligned faces.

    Raises:
        LeamError: It cannot be loaded, or the recognizers need differently aligned faces.
    """
    from leam.faces.detection import RotatingDetector
    from leam.faces.detectors import DEFAULT, load_detector

    detector = load_detector(name or DEFAULT, crops)
    for one in getattr(detector, "notes", ()):
        note(one)
    return RotatingDetector(detector) if rotate else detector


def suggest_aligned(pictures: Sequence[Path | Sample], detector: str) -> None:
    """Tell the user of ``--aligned`` if the first, middle and last picture have the size of aligned faces."""
    from leam.faces.detectors import takes_crops
    from leam.faces.detectors.aligned import CHIPS
    from leam.faces.reading import read_picture_file

    sizes = {crop.size for crop in CHIPS.values()}
    found = set()
    if takes_crops(detector) or not pictures:
        return
    for index in sorted({0, len(pictures) // 2, len(pictures) - 1}):
        try:
            found.add(read_picture_file(*place_of(pictures[index]))[0].shape[:2])
        except InputError:
            return
        if not found <= sizes:
            return
    height, width = found.pop()
    note(
        f"pictures of {height}x{width} pixels may be aligned faces; add --aligned to take them as they are, without "
        "detection"
    )


def find_faces(
    pictures: Sequence[Path | Sample], detector: Detector, which: str = "main"
) -> tuple[list[Face], list[LeamError]]:
    """The faces in usable pictures, and the errors of the other pictures.

    Args:
        pictures: Files, or pictures of a data set.
        detector: Finds the faces.
        which: The faces of a picture; see :func:`leam.faces.detection.faces_in`.

    Raises:
        InputError: No picture is usable; the errors of all but the last are printed.
    """
    from leam.errors import FaceError
    from leam.faces.detection import RotatingDetector, check_landmarks, faces_in

    suggest_aligned(pictures, detector.name)
    faces: list[Face] = []
    errors: list[LeamError] = []
    for picture in pictures:
        path, member = place_of(picture)
        try:
            for face in faces_in(path, detector, member, which):
                check_landmarks(face)
                faces.append(face)
                if face.detector != detector.name:
                    note(f"{path}: face found by {face.detector}")
                if face.turned:
                    note(f"{path}: turned by {face.turned} degrees")
        except InputError as error:
            errors.append(error)
    if not faces:
        for earlier in errors[:-1]:
            complain(earlier)
        last = errors[-1]
        if isinstance(last, FaceError) and not isinstance(detector, RotatingDetector):
            raise FaceError(f"{last}{_way_out(str(last))}")
        raise last
    return faces, errors


def _way_out(message: str) -> str:
    """What else may find a face where a detector found none."""
    if "no face found" not in message:
        return ""
    return "; try --detector auto, and --rotate auto of `leam explain` for turned pictures"


def faces_of_people(
    pictures: Sequence[Path | Sample], detector: Detector
) -> tuple[list[Face], list[str], list[LeamError]]:
    """The faces in pictures of people, the person of each face, and the errors of unusable pictures.

    Raises:
        InputError: No picture is usable.
    """
    person = {place_of(one): person_in(one) for one in pictures}
    faces, errors = find_faces(pictures, detector)
    return faces, [person[face.file.path, face.file.member] for face in faces if face.file], errors


def person_in(picture: Path | Sample) -> str:
    """The person in a picture; :data:`PERSON` for a file without a name."""
    return PERSON if isinstance(picture, Path) else picture.person


def folders_for(out_folder: Path, faces: Sequence[Face], *, alone: bool) -> list[Path]:
    """The output folder of each face: the folder itself for a single one, else a subfolder named after its picture."""
    if alone:
        return [out_folder]
    names: list[str] = []
    for face in faces:
        stem = _name_of(face)
        # The stem of "...jpg" is "..", the parent folder.
        stem = stem if stem.strip(".") else "face"
        name, number = stem, 2
        while name in names:
            name, number = f"{stem}-{number}", number + 1
        names.append(name)
    return [out_folder / name for name in names]


def _name_of(face: Face) -> str:
    """The name of a face's picture without its suffix; of a member of a file, with its place."""
    if not face.file:
        return "face"
    member = face.file.member
    return _shortened(face.file.path.stem) + (f"-{member.replace('=', '')}" if member else "")


def _shortened(name: str) -> str:
    """A name that, with a number, is short enough for a folder."""
    data = os.fsencode(name)
    if len(data) <= _LONGEST:
        return name
    # A letter may be cut.
    return data[:_LONGEST].decode(errors="ignore")

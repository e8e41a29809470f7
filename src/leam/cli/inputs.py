"""From arguments to settings, faces, recognizers, layers and folders."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leam.cli.commands import AS_INPUT
from leam.cli.console import complain, note
from leam.errors import InputError, LayerError, LeamError, did_you_mean
from leam.files import exists

if TYPE_CHECKING:
    import torch

    from leam.faces.alignment import Crop
    from leam.faces.detection import Detector
    from leam.faces.face import Face
    from leam.faces.people import Sample
    from leam.progress import Progress
    from leam.recognizers.recognizer import Recognizer
    from leam.study.plan import Settings


# File systems allow 255 bytes; a number or the place of a frame follows.
_LONGEST = 200


def given(**options: object) -> dict[str, Any]:
    """The options that were given, so that the library's defaults hold for the others."""
    return {name: value for name, value in options.items() if value is not None}


def detector_name(detector: str | None, aligned: str | None) -> str | None:
    """The detector that ``--detector`` and ``--aligned`` choose; None for the default.

    Raises:
        InputError: Both are given, or there is no such template.
    """
    if aligned is None:
        # A study's workers may run in another folder.
        if detector and detector.lower().endswith(".onnx"):
            return str(Path(detector).absolute())
        return detector
    if detector is not None:
        raise InputError(f"--detector {detector}: not used with --aligned; leave it out")
    if aligned == AS_INPUT:
        return "aligned"
    from leam.faces.detectors import aligned_templates

    if aligned not in (names := aligned_templates()):
        raise InputError(f"--aligned {aligned}: no such template; available: {', '.join(names)}")
    return f"aligned_{aligned}"


def check_faces(which: str, rotate: str) -> None:
    """Refuse values of ``--face`` and ``--rotate`` that do not exist.

    Raises:
        InputError: There is no such value.
    """
    if which not in {"main", "largest", "all"} and not (which.isdecimal() and int(which)):
        raise InputError(
            f"--face {which}: no such choice; available: main, largest, all, or a number from 1"
        )
    if rotate not in {"auto", "none"}:
        raise InputError(f"--rotate {rotate}: no such choice; available: auto, none")


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


def place_of(picture: Path | Sample) -> tuple[Path, str]:
    """The file of a picture, and its place inside the file."""
    return (picture, "") if isinstance(picture, Path) else (picture.path, picture.member)


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


def _shortened(name: str) -> str:
    """A name that, with a number, is short enough for a folder."""
    data = os.fsencode(name)
    if len(data) <= _LONGEST:
        return name
    # A letter may be cut.
    return data[:_LONGEST].decode(errors="ignore")


def _name_of(face: Face) -> str:
    """The name of a face's picture without its suffix; of a member of a file, with its place."""
    if not face.file:
        return "face"
    member = face.file.member
    return _shortened(face.file.path.stem) + (f"-{member.replace('=', '')}" if member else "")


def check_out(folder: Path, *, force: bool) -> None:
    """Refuse an output folder that is not empty, unless forced.

    Raises:
        InputError: The folder is not empty, or is a file.
    """
    if not force and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: exists and is not empty; choose another --out, or add --force")


def settings_of(preset: str, **options: object) -> Settings:
    """The settings of a preset or a preset file, changed by the options that were given.

    Raises:
        InputError: There is no such preset, the file is invalid, or an option has an invalid value.
    """
    from pydantic import ValidationError

    from leam.study.plan import Settings
    from leam.study.presets import read_preset

    stated = read_preset(preset).model_dump()
    try:
        return Settings.model_validate({**stated, **given(**options)})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        option = str(first["loc"][0]).replace("_", "-")
        expected = re.findall(r"'([^']*)'", str(first.get("ctx", {}).get("expected", "")))
        near = did_you_mean(str(first["input"]), expected)
        raise InputError(f"--{option} {first['input']}: {near}{first['msg']}") from None


def check_names(settings: Settings) -> None:
    """Refuse a method, weighting or aggregate that does not exist, before anything is loaded.

    Raises:
        LeamError: There is no such name.
    """
    from leam.explain.aggregates import AGGREGATES
    from leam.explain.methods import method_named
    from leam.explain.weightings import WEIGHTINGS

    method_named(settings.method)
    _ = WEIGHTINGS[settings.weighting], AGGREGATES[settings.aggregate]


def check_paths(pictures: Sequence[Path], *others: Path | None) -> None:
    """Refuse files and folders that do not exist, before anything is loaded.

    Args:
        pictures: Some of them may be missing; these are reported later.
        others: None of them may be missing.

    Raises:
        InputError: They do not exist.
    """
    missing = [path for path in others if path is not None and not exists(path)]
    if not any(map(exists, pictures)):
        missing += pictures
    if missing:
        raise InputError(f"{missing[0]}: no such file or folder")


def split_names(text: str) -> list[str]:
    """Names separated by commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def split_layers(text: str) -> str | list[str]:
    """The choice of layers: one name or several.

    Raises:
        LayerError: The text contains no name.
    """
    names = split_names(text)
    if not names:
        raise LayerError("--layers: no layer named")
    return names[0] if len(names) == 1 else names


def choose_device(name: str) -> torch.device:
    """The device of this name. If ``auto`` stands for a GPU, the user is told which one.

    Raises:
        InputError: This machine has no such device.
    """
    from leam.devices import AUTO, description, resolve

    device = resolve(name)
    if name == AUTO and device.type != "cpu":
        note(f"using {description(device)}; --device cpu uses the processor")
    return device


def load_models(
    names: Sequence[str | None],
    cards: Sequence[Path] | None,
    report: Progress,
    *,
    device: torch.device | str = "cpu",
    precision: str = "float32",
    batch_size: int | None = None,
    trust: bool = False,
) -> list[Recognizer]:
    """Load recognizers by name or card, None standing for the default; downloads missing weights.

    Raises:
        InputError: There is no such precision.
        LeamError: A recognizer cannot be loaded.
    """
    from leam.devices import check_precision
    from leam.recognizers.catalogue import DEFAULT, choose, read_catalogue

    known, catalogue = check_precision(precision), read_catalogue(folders=cards or ())
    return [
        entry.load(device, report, precision=known, batch_size=batch_size, trust=trust)
        for entry in choose(catalogue, [name or DEFAULT for name in names])
    ]


def load_model(
    name: str | None,
    cards: Sequence[Path] | None,
    report: Progress,
    device: str,
    precision: str,
    batch_size: int | None,
    *,
    trust: bool,
) -> Recognizer:
    """Load one recognizer onto the device of this name, as the options of a command state it; see :func:`load_models`.

    Raises:
        LeamError: This machine has no such device, or as for :func:`load_models`.
    """
    (recognizer,) = load_models(
        [name],
        cards,
        report,
        device=choose_device(device),
        precision=precision,
        batch_size=batch_size,
        trust=trust,
    )
    return recognizer

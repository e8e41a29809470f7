"""From what a user names to faces, models, layers and folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from leam.cli.console import complain
from leam.errors import InputError, LayerError, LeamError
from leam.faces.detection import Detector, find_face
from leam.faces.face import Face
from leam.recognizers.catalogue import DEFAULT as DEFAULT_MODEL
from leam.recognizers.catalogue import choose, read_catalogue
from leam.recognizers.recognizer import Recognizer
from leam.study.jobs import Progress as Tell


def find_faces(images: Sequence[Path], detector: Detector) -> tuple[list[Face], list[LeamError]]:
    """The faces of the pictures that can be used, and what is wrong with the others."""
    faces: list[Face] = []
    complaints: list[LeamError] = []
    for image in images:
        try:
            faces.append(find_face(image, detector))
        except InputError as error:
            complaints.append(error)
    if not faces:
        for complaint in complaints[:-1]:
            complain(complaint)
        raise complaints[-1]
    return faces, complaints


def folders_for(out_folder: Path, faces: Sequence[Face], *, alone: bool) -> list[Path]:
    """Where each face's files go: the folder itself for one, else a subfolder named after the picture."""
    if alone:
        return [out_folder]
    names: list[str] = []
    for face in faces:
        stem = face.path.stem if face.path else "face"
        # The stem of "...jpg" is "..", the folder above.
        stem = stem if stem.strip(".") else "face"
        name, number = stem, 2
        while name in names:
            name, number = f"{stem}-{number}", number + 1
        names.append(name)
    return [out_folder / name for name in names]


def check_out(folder: Path, *, force: bool) -> None:
    """Refuse to write into a folder that is not empty, unless forced."""
    if not force and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: exists and is not empty; choose another --out, or add --force")


def split_layers(text: str) -> str | list[str]:
    """A choice of layers from text with commas between."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise LayerError("--layers: no names given")
    return names[0] if len(names) == 1 else names


def wanted_models(models: str | None, cards: Sequence[Path] | None) -> list[str]:
    """The names and cards that a study was asked for."""
    if models is None and not cards:
        return [DEFAULT_MODEL]
    names = [name.strip() for name in (models or "").split(",") if name.strip()]
    return [*names, *map(str, cards or ())]


def load_models(
    wanted: Sequence[str], cards: Sequence[Path] | None, tell: Tell
) -> list[Recognizer]:
    """The recognizers of these names and cards, downloaded if need be."""
    catalogue = read_catalogue(folders=cards or ())
    return [entry.load(progress=tell) for entry in choose(catalogue, wanted)]

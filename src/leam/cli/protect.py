"""``leam protect``: whether changes of a person's pictures keep recognizers from linking them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from leam.cli.console import complain, note, progress, say, show_json, show_table
from leam.cli.faces import (
    faces_of_people,
    find_detector,
    find_faces,
    pictures_in,
    place_of,
    samples_of,
)
from leam.cli.failures import fail_for
from leam.cli.inputs import Loading, check_out, check_paths, load_models, settings_of, split_names
from leam.cli.options import (
    BatchSizeOption,
    CardsOption,
    DetectorOption,
    DeviceOption,
    ForceOption,
    JsonOption,
    MemoryLimitOption,
    OutOption,
    ParserOption,
    PrecisionOption,
    TrustOption,
    names_in,
    recognizer_lists,
)
from leam.errors import InputError, LeamError

if TYPE_CHECKING:
    from leam.faces.detection import Detector
    from leam.faces.face import Face
    from leam.faces.people import Sample
    from leam.faces.reading import Picture, PictureFile
    from leam.protect.measuring import Measured, Others
    from leam.protect.record import ProtectRecord

POPULATION_PEOPLE = 150
"""People of a population who are used if it has more; two pictures of each."""
_POPULATION_PICTURES = 2


def protect(
    mine: Annotated[
        Path,
        typer.Argument(
            metavar="MINE",
            help="Folder of your own pictures: two or more of one person. Ten or more give intervals.",
            show_default=False,
        ),
    ],
    out_folder: OutOption,
    against: Annotated[
        str,
        typer.Option(
            "--against",
            metavar="NAMES",
            help="Recognizers to test, separated by commas: see `leam models`, or card files; all for those on this "
            "machine.",
            autocompletion=recognizer_lists,
        ),
    ] = "all",
    cards: CardsOption = None,
    protected: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Pictures that another tool changed, with the names of the originals (the suffix may differ).",
        ),
    ] = None,
    changes: Annotated[
        str,
        typer.Option(
            "--changes",
            metavar="NAMES",
            help="Standard changes to test, separated by commas: {leam.faces.protections:PROTECTIONS}; all, or none "
            "for only the files of --protected.",
            autocompletion=names_in("leam.faces.protections:PROTECTIONS"),
        ),
    ] = "all",
    population: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Pictures of other people, one subfolder each: sets thresholds, and shows whether a region links you "
            "or everybody. At least ten people with two pictures.",
        ),
    ] = None,
    fmr: Annotated[
        float | None,
        typer.Option(
            min=1e-9,
            max=0.5,
            metavar="RATE",
            help="Set all thresholds at this false match rate on the population.",
            show_default="the card's threshold, or 0.001 where it states none",
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            metavar="NUMBER",
            help="The threshold of the one recognizer that --against names: pairs at or above this similarity are "
            "linked.",
        ),
    ] = None,
    people: Annotated[
        int,
        typer.Option(
            min=10, metavar="NUMBER", help="Most people of the population, drawn at random."
        ),
    ] = POPULATION_PEOPLE,
    seed: Annotated[int, typer.Option(metavar="NUMBER", help="Random seed.")] = 0,
    parser: ParserOption = None,
    detector: DetectorOption = None,
    device: DeviceOption = "auto",
    batch_size: BatchSizeOption = None,
    precision: PrecisionOption = "float32",
    trust: TrustOption = False,
    _memory_limit: MemoryLimitOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Test whether changes of your pictures keep recognizers from linking them.

    Writes protect.html and protect.json into the output folder: how many pairs of your pictures each recognizer still
    links after sunglasses, a mask, a hat, blur, JPEG and others, or after the changes of another tool; which regions of
    your face link the pictures; and which change helps most per changed pixel. It measures and warns: nothing is
    optimised against a recognizer, and nobody else is identified. A recognizer that was not tested may still link the
    pictures.

    Examples:
        leam protect mine/ --out run
        leam protect mine/ --protected cloaked/ --changes none --out run
        leam protect mine/ --against dlib_resnet,sface --population people/ --fmr 0.001 --out run
        leam protect mine/ --against dlib_resnet --threshold -0.6 --changes sunglasses,face_mask --out run
    """
    check_out(out_folder, force=force)
    check_paths([mine], protected, population)
    if fmr is not None and threshold is not None:
        raise InputError(f"--fmr {fmr:g}: leave out --threshold {threshold}, which sets another")
    if fmr is not None and population is None:
        raise InputError(f"--fmr {fmr:g}: needs pictures of other people; add --population")
    own, names = own_pictures(mine), chosen_changes(changes)
    if not names and protected is None:
        raise InputError("--changes none: nothing to test; add --protected, or name changes")
    # The library is imported here, so that help and mistakes are quick.
    from leam.parsers import load_parser
    from leam.protect.measuring import COVER, Tools, find_thresholds, measure
    from leam.study.worker import explainer_of

    settings = settings_of("quick", parser=parser, detector=detector)
    with progress() as report:
        loading = Loading(cards, device, precision, batch_size, trust)
        recognizers = load_models(split_names(against), loading, report)
        if threshold is not None and len(recognizers) > 1:
            raise InputError(
                f"--threshold {threshold}: {len(recognizers)} recognizers; name one with --against"
            )
        finder = find_detector(settings.detector, {one.name: one.crop for one in recognizers})
        faces, errors = own_faces(own, finder, mine)
        others = find_others(population, people, seed, finder) if population else None
        thresholds, untested = find_thresholds(
            recognizers, value=threshold, fmr=fmr, others=others, seed=seed
        )
        for name, reason in untested.items():
            note(f"{name}: not tested: {reason}")
        files: dict[int, tuple[Picture, PictureFile]] = {}
        if protected is not None:
            files, more = changed_files(faces, protected)
            errors += more
        tested = [one for one in recognizers if one.name in thresholds]
        methods = [explainer_of(one, settings) for one in tested] if COVER in names else []
        tools = Tools(
            recognizers, thresholds, finder, load_parser(settings.parser), methods, seed, untested
        )
        measured = measure(faces, tools, names, files=files, others=others, progress=report)
    write_protection(measured, out_folder)
    if as_json:
        show_json({"folder": str(out_folder), **measured.record.model_dump(mode="json")})
    else:
        print_protection(measured.record, out_folder)
    fail_for([*errors, *measured.errors])


def own_pictures(folder: Path) -> list[Path | Sample]:
    """The pictures in a folder of one person.

    Raises:
        InputError: It is a file, has subfolders, or contains fewer than two pictures.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: not a folder; give the folder of your pictures")
    inside = sorted(
        one.name for one in folder.iterdir() if one.is_dir() and not one.name.startswith(".")
    )
    if inside:
        raise InputError(
            f"{folder}: contains the folder {inside[0]}; expected the pictures of one person, without subfolders"
        )
    found = pictures_in([folder])
    if len(found) < 2:  # noqa: PLR2004
        raise InputError(f"{folder}: contains one picture; expected two or more of one person")
    return found


def own_faces(
    pictures: Sequence[Path | Sample], detector: Detector, folder: Path
) -> tuple[list[Face], list[LeamError]]:
    """The faces of the person, and the errors of unusable pictures.

    Raises:
        InputError: There are fewer than two faces; the errors are printed.
    """
    faces, errors = find_faces(pictures, detector)
    if len(faces) < 2:  # noqa: PLR2004
        for error in errors:
            complain(error)
        raise InputError(f"{folder}: one usable picture; expected two or more of one person")
    return faces, errors


def chosen_changes(text: str) -> list[str]:
    """The standard changes of these names.

    Raises:
        LeamError: There is no such change.
    """
    from leam.faces.protections import PROTECTIONS

    if text == "none":
        return []
    names = list(PROTECTIONS) if text == "all" else split_names(text)
    for name in names:
        _ = PROTECTIONS[name]
    return [name for name in dict.fromkeys(names) if name != "none"]


def find_others(folder: Path, people: int, seed: int, detector: Detector) -> Others:
    """The faces of other people; unusable pictures are counted in a note."""
    from leam.faces.people import draw_people
    from leam.protect.measuring import Others

    samples = draw_people(samples_of(folder), people, _POPULATION_PICTURES, seed)
    if not samples:
        raise InputError(
            f"{folder}: no person with two pictures; expected one subfolder per person"
        )
    faces, names, errors = faces_of_people(samples, detector)
    if errors:
        note(f"{folder}: {len(errors)} of {len(samples)} pictures have no usable face")
    return Others(faces, names)


def changed_files(
    faces: Sequence[Face], folder: Path
) -> tuple[dict[int, tuple[Picture, PictureFile]], list[LeamError]]:
    """The changed picture of each face, by its position: the one with the same name but for the suffix.

    Raises:
        InputError: No file belongs to a picture, or two pictures or files have the same name.
    """
    from leam.faces.reading import read_picture_file

    stems = _by_stem([face.path for face in faces if face.path])
    if not folder.is_dir():
        raise InputError(f"{folder}: not a folder; give the folder of the changed pictures")
    changed = _by_stem([place_of(one)[0] for one in pictures_in([folder])])
    for name, path in changed.items():
        if name not in stems:
            note(f"{path}: no usable original of this name; not used")
    found: dict[int, tuple[Picture, PictureFile]] = {}
    errors: list[LeamError] = []
    for place, face in enumerate(faces):
        file = changed.get(face.path.stem) if face.path else None
        if file is None:
            note(f"{face.path}: no changed file of this name in {folder}")
            continue
        try:
            found[place] = read_picture_file(file)
        except InputError as error:
            errors.append(error)
    if not found:
        name = next(iter(stems))
        nothing = InputError(
            f"{folder}: no file has the name of an original; expected names such as {name}.png"
        )
        raise next(iter(errors), nothing)
    return found, errors


def _by_stem(paths: Sequence[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in paths:
        if path.stem in found:
            raise InputError(
                f"{path}: has the name of {found[path.stem].name} but for the suffix; rename one"
            )
        found[path.stem] = path
    return found


def write_protection(measured: Measured, out_folder: Path) -> None:
    """Write ``protect.json`` and ``protect.html``."""
    from leam.files import write_private
    from leam.report.protection import protection_page

    record = json.dumps(measured.record.model_dump(mode="json"), indent=1, allow_nan=False)
    write_private(out_folder / "protect.json", f"{record}\n".encode())
    write_private(out_folder / "protect.html", protection_page(measured).encode())


def print_protection(record: ProtectRecord, folder: Path) -> None:
    """Print what stays linked after each change, the regions that link most, and the warning."""
    from leam.report.protection import CHANGE_COLUMNS, change_row, sentences, whose_text

    say(f"{len(record.pictures)} pictures · {', '.join(record.recognizers)}")
    show_table(CHANGE_COLUMNS, [change_row(name, one) for name, one in record.changes.items()])
    for sentence in sentences(record):
        say(sentence)
    for name, one in record.recognizers.items():
        first = next(iter(one.regions), None)
        if first:
            found = one.regions[first]
            whose = f", {whose_text(found)}" if found.whose else ""
            say(
                f"{name}: the region that links most is {first} (similarity drop {found.drop.mean:.3f}{whose})"
            )
    say("gain: percentage points fewer linked pairs for the strongest recognizer")
    say("per pixel: gain divided by the part of the face's pixels that changed")
    say(
        "warning: recognizers that were not tested may still link these pictures, and retrained ones adapt; do not "
        "rely on this where being recognised would endanger someone"
    )
    say(f"written: {folder}")

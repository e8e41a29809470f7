"""``leam explain``: the maps of single faces."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from leam.cli.console import progress, show_json
from leam.cli.failures import fail_for
from leam.cli.inputs import (
    check_out,
    find_faces,
    folders_for,
    load_models,
    settings_of,
    split_layers,
)
from leam.cli.options import (
    AGGREGATE_HELP,
    BACKEND_HELP,
    LAYERS_HELP,
    PRESET_HELP,
    TOP_HELP,
    WEIGHTING_HELP,
    CardsOption,
    DetectorOption,
    ForceOption,
    JsonOption,
    ModelOption,
    OutOption,
    ParserOption,
    PicturesArgument,
    backend_names,
)
from leam.cli.person import check_person, find_population, pictures_in, show_person
from leam.cli.printing import print_explanation
from leam.errors import InputError

if TYPE_CHECKING:
    from leam.explain.explanation import ExplanationRecord
    from leam.faces.face import Face


def explain(
    pictures: PicturesArgument,
    out_folder: OutOption,
    model: ModelOption = None,
    cards: CardsOption = None,
    other: Annotated[
        Path | None,
        typer.Option(
            "--with",
            metavar="PICTURE",
            help="Explain the similarity with the face in this picture, for both faces.",
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What is explained: self (the embedding), or reference (the similarity with the face of --with).",
            show_default="reference if --with is given, else self",
        ),
    ] = None,
    preset: Annotated[str, typer.Option(metavar="NAME", help=PRESET_HELP)] = "quick",
    weighting: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help=WEIGHTING_HELP,
            show_default="{leam.explain.explainer:DEFAULT_WEIGHTING}",
        ),
    ] = None,
    aggregate: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help=AGGREGATE_HELP,
            show_default="{leam.explain.explainer:DEFAULT_AGGREGATE}",
        ),
    ] = None,
    layers: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES", help=LAYERS_HELP, show_default="{leam.explain.layers:CONVOLUTIONS}"
        ),
    ] = None,
    top: Annotated[
        float | None, typer.Option(metavar="FRACTION", help=TOP_HELP, show_default="0.01")
    ] = None,
    parser: ParserOption = None,
    detector: DetectorOption = None,
    backend: Annotated[
        str,
        typer.Option(metavar="NAME", help=BACKEND_HELP, autocompletion=backend_names),
    ] = "auto",
    person: Annotated[
        bool,
        typer.Option(
            "--person",
            help="The pictures, or those in a folder, show one person: make one map of all of them.",
        ),
    ] = False,
    estimate: Annotated[
        str | None,
        typer.Option(
            "--person-map",
            metavar="NAME",
            help="How the maps of --person are combined: {leam.explain.person:PERSON_MAPS}.",
            show_default="mean",
        ),
    ] = None,
    population: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Pictures of other people, one subfolder each, for a --person-map that compares with other people.",
        ),
    ] = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show which parts of a face a recognizer relies on.

    Writes explanation.json, maps.npz, overlay.png and layers.png into the output folder; with several faces, into one
    subfolder for each. Prints the share of the critical pixels in each region. With --person, writes person.json,
    maps.npz and overlay.png for all pictures together.

    Examples:
        leam explain ada.jpg --out ada
        leam explain ada.jpg bob.jpg --model sface --out both
        leam explain ada.jpg --with bob.jpg --out pair
        leam explain ada.jpg --out ada --json
        leam explain pictures/ada --person --out ada
    """
    check_target(target, other)
    check_person(other, target, estimate, population, person=person)
    check_out(out_folder, force=force)
    names = None if layers is None else split_layers(layers)
    settings = settings_of(
        preset,
        weighting=weighting,
        aggregate=aggregate,
        layers=(names,) if isinstance(names, str) else names,
        top=top,
        parser=parser,
        detector=detector,
        backend=None if backend == "auto" else backend,
    )
    if target is None and other is None and settings.target != "self":
        raise InputError(
            f"--preset {preset}: its target {settings.target} needs the person's other pictures; add --target self, "
            "or use leam study"
        )
    # The library is imported here, so that help and mistakes are quick.
    from leam.explain.explanation import explain_faces
    from leam.explain.person_explanation import explain_person
    from leam.faces.detection import find_face
    from leam.faces.detectors import load_detector
    from leam.parsers import load_parser
    from leam.study.worker import explainer_of

    with progress() as report:
        report("loading", 0, 1)
        (recognizer,) = load_models([model], cards, report)
        explainer = explainer_of(recognizer, settings)
        face_parser = load_parser(settings.parser)
        face_detector = load_detector(settings.detector)
        report("loading", 1, 1)
        if person:
            faces, errors = find_faces(pictures_in(pictures), face_detector)
            known = None
            if population is not None:
                known, more = find_population(population, face_detector, explainer)
                errors += more
            found = explain_person(
                faces,
                explainer,
                face_parser,
                estimate=estimate or "mean",
                population=known,
                top=settings.top,
            )
            found.save(out_folder)
            show_person(found.record(), out_folder, as_json=as_json)
            fail_for(errors)
            return
        faces, errors = find_faces(pictures, face_detector)
        reference = find_face(other, face_detector) if other else None
        pairs = pair_up(faces, None if target == "self" else reference)
        folders = folders_for(
            out_folder, [face for face, _ in pairs], alone=len(pictures) == 1 and other is None
        )
        records = []
        for done, ((face, mate), folder) in enumerate(zip(pairs, folders, strict=True)):
            report("explaining", done, len(pairs))
            (explanation,) = explain_faces(
                [face],
                explainer,
                face_parser,
                references=[mate] if mate else None,
                top=settings.top,
            )
            explanation.save(folder)
            records.append(explanation.record())
    show_explanations(records, folders, as_json=as_json)
    fail_for(errors)


def check_target(target: str | None, other: Path | None) -> None:
    """Refuse a target that ``leam explain`` cannot explain.

    Raises:
        InputError: There is no such target, or it needs another picture.
    """
    if target not in {None, "self", "reference"}:
        raise InputError(f"--target {target}: no such target; available: self, reference")
    if target == "reference" and other is None:
        raise InputError("--target reference: name the other picture with --with")


def pair_up(faces: Sequence[Face], reference: Face | None) -> list[tuple[Face, Face | None]]:
    """Each face with the one that it is compared with; a reference is explained against each face as well."""
    pairs: list[tuple[Face, Face | None]] = [(face, reference) for face in faces]
    return [*pairs, *((reference, face) for face in faces)] if reference else pairs


def show_explanations(
    records: Sequence[ExplanationRecord], folders: Sequence[Path], *, as_json: bool
) -> None:
    """Print the records of explanations and the folders they were written into."""
    if as_json:
        show_json(
            [
                {"folder": str(folder), **record.model_dump(mode="json")}
                for record, folder in zip(records, folders, strict=True)
            ]
        )
        return
    for record, folder in zip(records, folders, strict=True):
        print_explanation(record, folder)

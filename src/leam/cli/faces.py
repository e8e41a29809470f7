"""``leam explain`` and ``leam parse``: commands on single pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from leam.cli.console import complain, out, progress
from leam.cli.inputs import check_out, find_faces, folders_for, load_models, split_layers
from leam.cli.options import (
    AggregateOption,
    CardsOption,
    DetectorOption,
    LayersOption,
    ModelOption,
    OutOption,
    ParserOption,
    TopOption,
    WeightingOption,
)
from leam.cli.printing import face_name, print_areas, print_explanation
from leam.errors import FaceError, InputError
from leam.explain.explainer import DEFAULT_AGGREGATE, DEFAULT_WEIGHTING, Explainer
from leam.explain.explanation import explain_faces
from leam.explain.layers import CONVOLUTIONS
from leam.faces.detection import find_face
from leam.faces.detectors import DEFAULT as DEFAULT_DETECTOR
from leam.faces.detectors import load_detector
from leam.parsers import DEFAULT as DEFAULT_PARSER
from leam.parsers import load_parser
from leam.parsers.writing import write_parsing
from leam.recognizers.catalogue import DEFAULT as DEFAULT_MODEL
from leam.report.explanation import write_explanation


def explain(
    images: Annotated[
        list[Path], typer.Argument(help="Pictures, each with one main face.", show_default=False)
    ],
    out_folder: OutOption,
    model: ModelOption = DEFAULT_MODEL,
    cards: CardsOption = None,
    other: Annotated[
        Path | None,
        typer.Option(
            "--with", help="Another picture: explain the similarity with its face, on both."
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(help="self or reference; reference needs --with and is its default."),
    ] = None,
    weighting: WeightingOption = DEFAULT_WEIGHTING,
    aggregate: AggregateOption = DEFAULT_AGGREGATE,
    layers: LayersOption = CONVOLUTIONS,
    top: TopOption = 0.01,
    parser: ParserOption = DEFAULT_PARSER,
    detector: DetectorOption = DEFAULT_DETECTOR,
    force: Annotated[
        bool, typer.Option("--force", help="Write into a folder that is not empty.")
    ] = False,
) -> None:
    """Explain faces: overall map, layer maps, critical pixels and regions.

    Writes explanation.json, maps.npz, overlay.png and layers.png; for several faces, each into its own subfolder.

        leam explain ada.jpg --out ada

        leam explain ada.jpg --with bob.jpg --out pair
    """
    check_target(target, other)
    check_out(out_folder, force=force)
    with progress() as tell:
        tell("loading", 0, 1)
        explainer = Explainer(
            load_models([model], cards, tell)[0],
            layers=split_layers(layers),
            weighting=weighting,
            aggregate=aggregate,
        )
        face_parser, finder = load_parser(parser), load_detector(detector)
        faces, complaints = find_faces(images, finder)
        reference = find_face(other, finder) if other else None
        jobs = [(face, reference) for face in faces]
        if reference and target != "self":
            jobs += [(reference, face) for face in faces]
        folders = folders_for(
            out_folder, [face for face, _ in jobs], alone=len(images) == 1 and other is None
        )
        explanations = []
        for done, ((face, mate), folder) in enumerate(zip(jobs, folders, strict=True)):
            tell("explaining", done, len(jobs))
            references = [mate] if mate and target != "self" else None
            (explanation,) = explain_faces(
                [face], explainer, face_parser, references=references, top=top
            )
            write_explanation(explanation, explainer, folder, top=top, parser=parser)
            explanations.append(explanation)
    for explanation, folder in zip(explanations, folders, strict=True):
        print_explanation(explanation, folder, explainer.recognizer.name)
    for complaint in complaints:
        complain(complaint)
    if complaints:
        raise typer.Exit(1)


def parse(
    images: Annotated[
        list[Path], typer.Argument(help="Pictures, each with one main face.", show_default=False)
    ],
    out_folder: OutOption,
    parser: ParserOption = DEFAULT_PARSER,
    detector: DetectorOption = DEFAULT_DETECTOR,
    force: Annotated[
        bool, typer.Option("--force", help="Write into a folder that is not empty.")
    ] = False,
) -> None:
    """Name the part of the face that each pixel of a picture shows.

    Writes labels.png, overlay.png and areas.json; for several pictures, each into its own subfolder.

        leam parse ada.jpg --parser compact --out ada
    """
    check_out(out_folder, force=force)
    face_parser = load_parser(parser)
    faces, complaints = find_faces(images, load_detector(detector))
    for face, folder in zip(
        faces, folders_for(out_folder, faces, alone=len(images) == 1), strict=True
    ):
        try:
            areas = write_parsing(face, face_parser, folder)
        except FaceError as error:
            complaints.append(error)
            continue
        print_areas(areas, f"{face_name(face)} · {parser}")
        out.print(f"written: {folder}\n", markup=False, highlight=False, soft_wrap=True)
    for complaint in complaints:
        complain(complaint)
    if complaints:
        raise typer.Exit(1)


def check_target(target: str | None, other: Path | None) -> None:
    """Refuse a target that ``leam explain`` cannot have."""
    if target not in {None, "self", "reference"}:
        raise InputError(f"--target {target}: one face alone has self, and reference with --with")
    if target == "reference" and other is None:
        raise InputError("--target reference: name the other picture with --with")

"""``leam explain``: the maps of single faces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from leam.cli.black_box import (
    CACHE,
    CALLS,
    METHOD,
    check_black_box,
    keep_answers,
    limit_calls,
    load_black_box,
)
from leam.cli.console import progress, show_json
from leam.cli.faces import find_detector, find_faces, folders_for, pictures_in
from leam.cli.failures import fail_for
from leam.cli.inputs import (
    Loading,
    check_faces,
    check_names,
    check_out,
    check_paths,
    detector_name,
    layers_named,
    load_models,
    settings_of,
)
from leam.cli.options import (
    PRESET_HELP,
    AggregateOption,
    AlignedOption,
    BackendOption,
    BatchSizeOption,
    CardsOption,
    DetectorOption,
    DeviceOption,
    ForceOption,
    JsonOption,
    LayersOption,
    MemoryLimitOption,
    MethodOption,
    ModelOption,
    OutOption,
    ParserOption,
    PicturesArgument,
    PrecisionOption,
    RotateOption,
    TopOption,
    TrustOption,
    WeightingOption,
    choices,
    names_in,
)
from leam.cli.person import check_person, find_people, find_population, show_person
from leam.cli.printing import print_explanation
from leam.errors import InputError, LeamError, did_you_mean
from leam.figures import check_formats
from leam.files import write_private

if TYPE_CHECKING:
    from leam.explain.explanation import Explanation, ExplanationRecord
    from leam.explain.methods import Method
    from leam.faces.detection import Detector
    from leam.parsers.parsing import Parser
    from leam.progress import Progress
    from leam.recognizers.recognizer import Recognizer
    from leam.study.plan import Settings


PAGE = "explanation.html"
PEOPLE_TARGETS = ("template", "contrast")
"""Targets that need other pictures of the person."""


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
            help="Explain the similarity with the face in this picture, for both faces: what makes them alike, and "
            "what makes them different.",
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What is explained: self (the embedding), reference (the similarity with the face of --with), "
            "template (the similarity with the person's other pictures), or contrast (that, minus the similarity with "
            "the nearest other people). For the last two, PICTURE is a folder with one subfolder for each person, or "
            "pictures of one person; --population then names the other people's folder.",
            show_default="reference if --with is given, else self",
            autocompletion=choices("self", "reference", "template", "contrast"),
        ),
    ] = None,
    preset: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help=PRESET_HELP,
            autocompletion=names_in("leam.study.plan:PRESETS"),
        ),
    ] = "quick",
    method: MethodOption = None,
    black_box: Annotated[
        str | None,
        typer.Option(
            "--black-box",
            metavar="MODULE:FUNCTION",
            help="Explain this Python function instead of a model: it is called with aligned faces, RGB (n, h, w, 3) "
            "uint8, and returns embeddings (n, D). To state its input size and crop, write a card (see "
            "docs/howto/your-black-box.md) and name it with --model. The default method is then hierarchical.",
        ),
    ] = None,
    returns: Annotated[
        str | None,
        typer.Option(
            metavar="WHAT",
            help="What the function of --black-box returns: embeddings, or scores, if it is called with the faces of "
            "two pictures and returns their similarities (n,).",
            show_default="embeddings",
        ),
    ] = None,
    calls: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="NUMBER",
            help="Largest number of pictures that a method without gradients may try for one map. Answers of a black "
            "box are kept in the output folder, and no picture is sent twice.",
            show_default="the method's own",
        ),
    ] = None,
    weighting: WeightingOption = None,
    aggregate: AggregateOption = None,
    layers: LayersOption = None,
    top: TopOption = None,
    parser: ParserOption = None,
    detector: DetectorOption = None,
    aligned: AlignedOption = None,
    which: Annotated[
        str,
        typer.Option(
            "--face",
            metavar="WHICH",
            help="The face of a picture with several: main (the only one, or clearly the most prominent one), largest, "
            "all, or a number, counted from the left from 1.",
            autocompletion=choices("main", "largest", "all"),
        ),
    ] = "main",
    rotate: RotateOption = "none",
    backend: BackendOption = "auto",
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
            autocompletion=names_in("leam.explain.person:PERSON_MAPS"),
        ),
    ] = None,
    population: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Pictures of other people, one subfolder each, for a --person-map that compares with other people, "
            "and for --target contrast.",
        ),
    ] = None,
    device: DeviceOption = "auto",
    batch_size: BatchSizeOption = None,
    precision: PrecisionOption = "float32",
    trust: TrustOption = False,
    _memory_limit: MemoryLimitOption = None,
    force: ForceOption = False,
    formats: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="NAMES",
            help="File types of the figures overlay and layers: {leam.figures:FORMATS}, separated by commas. In svg "
            "and pdf, text is text.",
            autocompletion=names_in("leam.figures:FORMATS"),
        ),
    ] = "png",
    as_json: JsonOption = False,
) -> None:
    """Show which parts of a face a recognizer relies on.

    Writes explanation.html, explanation.json, maps.npz, overlay.png and layers.png into the output folder; with
    several faces, into one subfolder for each. Prints the share of the critical pixels in each region. With --person,
    writes explanation.html, person.json, maps.npz and overlay.png for all pictures together.

    Examples:
        leam explain ada.jpg --out ada
        leam explain ada.jpg bob.jpg --model sface --out both
        leam explain ada.jpg --with bob.jpg --out pair
        leam explain ada.jpg --out ada --json
        leam explain ada.jpg --format pdf,svg --out ada
        leam explain pictures/ada --person --out ada
        leam explain chip.png --aligned --out chip
        leam explain group.jpg --face all --out group
        leam explain people/ --target contrast --out people-explained
        leam explain ada.jpg --with bob.jpg --method corrrise --out pair
        leam explain ada.jpg --with bob.jpg --black-box my_api:score --returns scores --calls 125 --out pair
    """
    check_target(target, other)
    check_faces(which, rotate)
    chosen_formats = check_formats(formats.replace(" ", "").split(","))
    check_person(other, target, estimate, population, person=person)
    # What a black box has answered is used again after an interruption.
    check_out(out_folder, force=force or (out_folder / CACHE).is_file())
    check_black_box(black_box, model, returns)
    settings = settings_of(
        preset,
        method=method,
        target=target if target in PEOPLE_TARGETS else None,
        weighting=weighting,
        aggregate=aggregate,
        layers=layers_named(layers),
        top=top,
        parser=parser,
        detector=detector_name(detector, aligned),
        backend=None if backend == "auto" else backend,
    )
    if target is None and other is None and settings.target != "self":
        raise InputError(
            f"--preset {preset}: its target {settings.target} needs the person's other pictures; add --target self or "
            f"--target {settings.target}"
        )
    check_paths(pictures, other, population)
    check_names(settings)
    chosen = target or ("self" if other is None else "reference")
    # The library is imported here, so that help and mistakes are quick.
    from leam.recognizers.black_box import BlackBox

    with progress() as report:
        report("loading", 0, 1)
        recognizer: Recognizer
        if black_box:
            recognizer = load_black_box(black_box, returns, batch_size)
        else:
            loading = Loading(cards, device, precision, batch_size, trust)
            (recognizer,) = load_models([model], loading, report)
        if isinstance(recognizer, BlackBox):
            settings = settings.model_copy(update={"method": method or METHOD})
            keep_answers(recognizer, out_folder, report)
            calls = calls or CALLS
        check_method(settings.method, weighting=weighting, aggregate=aggregate, layers=layers)
        tools = tools_of(
            recognizer,
            settings,
            chosen,
            which=which,
            rotate=rotate == "auto",
            calls=calls,
            formats=chosen_formats,
        )
        report("loading", 1, 1)
        if person:
            errors = explain_one_person(
                pictures, tools, out_folder, estimate, population, as_json=as_json
            )
        elif target in PEOPLE_TARGETS:
            errors = explain_folder(
                pictures, tools, out_folder, target, population, as_json=as_json
            )
        else:
            errors = explain_each(
                pictures,
                tools,
                out_folder,
                other,
                report,
                pair=chosen == "reference",
                as_json=as_json,
            )
    fail_for(errors)


@dataclass(frozen=True)
class Tools:
    """What faces are found and explained with.

    Attributes:
        method: Explains the recognizer.
        parser: Finds the regions.
        detector: Finds the faces.
        which: The faces of a picture; see :func:`leam.faces.detection.faces_in`.
        top: The critical fraction of the pixels.
        calls: Largest number of calls of a black box for one map.
        formats: File types of figures.
    """

    method: Method
    parser: Parser
    detector: Detector
    which: str
    top: float
    calls: int | None
    formats: tuple[str, ...]

    def save(self, explanation: Explanation, folder: Path) -> None:
        """Write an explanation and its page."""
        from leam.report.explanation import explanation_page

        explanation.save(folder, self.formats)
        write_private(folder / PAGE, explanation_page(explanation).encode())

    def limit_calls(self, maps: int, others: int = 0) -> None:
        """Limit a black box's calls to those of some maps and of further pictures."""
        limit_calls(self.method.recognizer, self.calls, maps, others)


def tools_of(
    recognizer: Recognizer,
    settings: Settings,
    target: str,
    *,
    which: str,
    rotate: bool,
    calls: int | None,
    formats: tuple[str, ...],
) -> Tools:
    """What explains a recognizer with these settings.

    Raises:
        LeamError: The method, parser or detector does not fit the recognizer, or cannot be loaded.
    """
    from leam.parsers import load_parser
    from leam.study.worker import explainer_of

    return Tools(
        explainer_of(recognizer, settings, target=target, calls=calls),
        load_parser(settings.parser),
        find_detector(settings.detector, {recognizer.name: recognizer.crop}, rotate=rotate),
        which,
        settings.top,
        calls,
        formats,
    )


def explain_one_person(
    pictures: Sequence[Path],
    tools: Tools,
    out_folder: Path,
    estimate: str | None,
    population: Path | None,
    *,
    as_json: bool,
) -> list[LeamError]:
    """Make one map of a person's pictures. Returns the errors of unusable pictures."""
    from leam.explain.person_explanation import explain_person
    from leam.report.explanation import person_page

    faces, errors = find_faces(pictures_in(pictures), tools.detector, tools.which)
    known = None
    if population is not None:
        known, more = find_population(population, tools.detector, tools.method)
        errors += more
    else:
        tools.limit_calls(len(faces))
    found = explain_person(
        faces,
        tools.method,
        tools.parser,
        estimate=estimate or "mean",
        population=known,
        top=tools.top,
    )
    found.save(out_folder, tools.formats)
    write_private(out_folder / PAGE, person_page(found).encode())
    show_person(found.record(), out_folder, as_json=as_json)
    return errors


def explain_folder(
    pictures: Sequence[Path],
    tools: Tools,
    out_folder: Path,
    target: str | None,
    population: Path | None,
    *,
    as_json: bool,
) -> list[LeamError]:
    """Explain people's pictures by their other pictures. Returns the errors of unusable pictures."""
    from leam.explain.explanation import explain_people

    people = find_people(pictures, population, tools.detector)
    folders = people.folders(out_folder)
    tools.limit_calls(len(folders), len(people.faces))
    made = explain_people(
        people.faces,
        people.names,
        tools.method,
        tools.parser,
        target="contrast" if target == "contrast" else "template",
        only=people.only,
        top=tools.top,
    )
    for explanation, folder in zip(made, folders, strict=True):
        tools.save(explanation, folder)
    show_explanations([one.record() for one in made], folders, as_json=as_json)
    return people.errors


def explain_each(
    pictures: Sequence[Path],
    tools: Tools,
    out_folder: Path,
    other: Path | None,
    report: Progress,
    *,
    pair: bool,
    as_json: bool,
) -> list[LeamError]:
    """Explain each picture by itself, or with another one. Returns the errors of unusable pictures."""
    from leam.explain.explanation import explain_faces, explain_pair
    from leam.faces.detection import find_face

    found = pictures_in(pictures)
    faces, errors = find_faces(found, tools.detector, tools.which)
    reference = find_face(other, tools.detector) if other else None
    mate = reference if pair else None
    alone = mate is None and len(found) == len(faces) == 1 and found[0] == pictures[0]
    # The reference is explained against each face as well.
    folders = folders_for(out_folder, [*faces, *([mate] * len(faces) if mate else [])], alone=alone)
    tools.limit_calls(len(folders))
    records: list[ExplanationRecord] = []
    of_mate: list[ExplanationRecord] = []
    for done, face in enumerate(faces):
        report("explaining", done, len(faces))
        if mate is None:
            made = explain_faces([face], tools.method, tools.parser, top=tools.top)
        else:
            made = [*explain_pair(face, mate, tools.method, tools.parser, top=tools.top)]
        for one, folder, kept in zip(
            made, folders[done :: len(faces)], (records, of_mate), strict=False
        ):
            tools.save(one, folder)
            kept.append(one.record())
    show_explanations([*records, *of_mate], folders, as_json=as_json)
    return errors


def check_target(target: str | None, other: Path | None) -> None:
    """Refuse a target that ``leam explain`` cannot explain.

    Raises:
        InputError: There is no such target, it needs another picture, or it does not go with ``--with``.
    """
    known = ("self", "reference", *PEOPLE_TARGETS)
    if target not in {None, *known}:
        near = did_you_mean(target or "", known)
        raise InputError(f"--target {target}: no such target; {near}available: {', '.join(known)}")
    if target in PEOPLE_TARGETS and other is not None:
        raise InputError(f"--target {target}: leave out --with, which names a single picture")
    if target == "reference" and other is None:
        raise InputError("--target reference: name the other picture with --with")


def check_method(method: str, **options: str | None) -> None:
    """Refuse settings of ``leam`` that were given with another method.

    Raises:
        InputError: There are some.
    """
    for name, value in options.items():
        if method != "leam" and value is not None:
            raise InputError(f"--{name} {value}: not used by --method {method}; leave it out")


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

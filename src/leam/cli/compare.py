"""``leam compare``: recognizers on the same faces, or two finished studies, side by side."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from leam.cli.console import progress, say, say_paragraph, show_json, show_table
from leam.cli.explain import check_method
from leam.cli.faces import find_detector, find_faces, pictures_in
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
    split_names,
)
from leam.cli.options import (
    AggregateOption,
    AlignedOption,
    BackendOption,
    BatchSizeOption,
    CardOption,
    CardsOption,
    DetectorOption,
    DeviceOption,
    ForceOption,
    JsonOption,
    LayersOption,
    MemoryLimitOption,
    MethodOption,
    OutOption,
    ParserOption,
    PrecisionOption,
    RotateOption,
    TopOption,
    TrustOption,
    WeightingOption,
    recognizer_lists,
)
from leam.errors import InputError

if TYPE_CHECKING:
    from leam.compare.recognizers import ComparedFace, RecognizerComparison
    from leam.compare.runs import RunComparison
    from leam.study.plan import Settings

_PLAN = "run.json"
# Parameters that apply to studies, too.
_OF_STUDIES = {"sources", "out_folder", "models", "_memory_limit", "force", "as_json"}


def compare(
    context: typer.Context,
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="PICTURE|RUN",
            help="Pictures of faces, or the output folders of two finished studies.",
            show_default=False,
        ),
    ],
    out_folder: OutOption = Path("comparison"),
    models: Annotated[
        str | None,
        typer.Option(
            "--models",
            "--model",
            metavar="NAMES",
            help="Recognizers to compare, separated by commas: names that `leam models` lists, paths of .toml cards, "
            "all for every one whose weights are installed. Of two studies: those to compare, all by default.",
            show_default=False,
            autocompletion=recognizer_lists,
        ),
    ] = None,
    card: CardOption = None,
    cards: CardsOption = None,
    method: MethodOption = None,
    weighting: WeightingOption = None,
    aggregate: AggregateOption = None,
    layers: LayersOption = None,
    top: TopOption = None,
    parser: ParserOption = None,
    detector: DetectorOption = None,
    aligned: AlignedOption = None,
    rotate: RotateOption = "none",
    backend: BackendOption = "auto",
    device: DeviceOption = "auto",
    batch_size: BatchSizeOption = None,
    precision: PrecisionOption = "float32",
    trust: TrustOption = False,
    _memory_limit: MemoryLimitOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Put recognizers or studies side by side.

    With pictures: the maps of each face by several recognizers on one scale, the regions that each relies on, and how
    alike the maps are (Bhattacharyya coefficient, bc). With the folders of two studies: the differences between their
    figures, second minus first, with 95 % intervals. Writes compare.html and compare.json, and for pictures one figure
    for each face.

    Differences of studies are paired by person if at least ten people are in both, else the studies are independent
    samples. A figure differs if the interval excludes zero and the p-value after Holm's correction over all figures is
    below 0.05. It is inconclusive with fewer than ten people, and if people are not paired and the studies share people
    or pictures, or their names were removed. Figures whose settings differ (method, parser, fraction, fill, kind of
    similarity) are not compared, but listed.

    Examples:
        leam compare ada.jpg --models dlib_resnet,sface --out ada
        leam compare ada.jpg bob.jpg --models all --cards cards/ --json
        leam compare run-2024 run-2025
        leam compare run-old run-new --models mine --out change
    """
    check_out(out_folder, force=force)
    if (out_folder / _PLAN).is_file():
        raise InputError(f"--out {out_folder}: the folder of a study; choose another folder")
    runs = [source for source in sources if (source / _PLAN).is_file()]
    if runs:
        if len(runs) != len(sources) or len(runs) != 2:  # noqa: PLR2004
            raise InputError(
                f"{', '.join(map(str, sources))}: expected the folders of two finished studies, or pictures"
            )
        _check_options(context)
        compare_studies(runs[0], runs[1], models, out_folder, as_json=as_json)
        return
    check_faces("main", rotate)
    check_paths(sources)
    settings = settings_of(
        "quick",
        method=method,
        weighting=weighting,
        aggregate=aggregate,
        layers=layers_named(layers),
        top=top,
        parser=parser,
        detector=detector_name(detector, aligned),
        backend=None if backend == "auto" else backend,
    )
    check_names(settings)
    check_method(settings.method, weighting=weighting, aggregate=aggregate, layers=layers)
    names: list[str | None] = [*split_names(models or ""), *map(str, card or ())]
    if len(names) < 2 and names != ["all"]:  # noqa: PLR2004
        raise InputError("name at least two recognizers with --models A,B, or all")
    loading = Loading(cards, device, precision, batch_size, trust)
    compare_pictures(
        sources, names, loading, settings, out_folder, rotate=rotate == "auto", as_json=as_json
    )


def compare_pictures(
    pictures: Sequence[Path],
    names: Sequence[str | None],
    loading: Loading,
    settings: Settings,
    out_folder: Path,
    *,
    rotate: bool,
    as_json: bool,
) -> None:
    """Compare recognizers on the faces in pictures, and write and print the result."""
    # The library is imported here, so that help and mistakes are quick.
    from leam.compare.recognizers import compare_recognizers, comparison_of
    from leam.parsers import load_parser
    from leam.study.worker import explainer_of

    with progress() as report:
        report("loading recognizers", 0, 1)
        recognizers = load_models(names, loading, report)
        report("loading recognizers", 1, 1)
        crops = {one.name: one.crop for one in recognizers}
        detector = find_detector(settings.detector, crops, rotate=rotate)
        faces, errors = find_faces(pictures_in(pictures), detector)
        methods = [explainer_of(one, settings) for one in recognizers]
        parser = load_parser(settings.parser)
        found = list(compare_recognizers(faces, methods, parser, top=settings.top, progress=report))
        record = comparison_of(found, methods, settings.parser, settings.top)
        figures = write_recognizers(record, found, out_folder)
    show_recognizers(record, found, out_folder, figures, as_json=as_json)
    fail_for(errors)


def _check_options(context: typer.Context) -> None:
    """Refuse options that have no effect on two finished studies."""
    given = [
        max(parameter.opts, key=len)
        for parameter in context.command.params
        # General options, such as --quiet, are no values of the command.
        if parameter.expose_value
        and parameter.name not in _OF_STUDIES
        and (source := context.get_parameter_source(parameter.name or ""))
        and source.name == "COMMANDLINE"
    ]
    if given:
        raise InputError(
            f"{', '.join(given)}: only for pictures, not for finished studies; "
            f"leave {'it' if len(given) == 1 else 'them'} out"
        )


def compare_studies(
    first: Path, second: Path, models: str | None, out_folder: Path, *, as_json: bool
) -> None:
    """Compare two finished studies, and write and print the result."""
    from leam.compare.runs import compare_runs
    from leam.report.comparison import runs_page
    from leam.study.store import RunFolder

    with progress() as report:
        only = split_names(models) if models else None
        found = compare_runs(RunFolder(first), RunFolder(second), only=only, progress=report)
        page = _write(out_folder, found.to_json(), runs_page(found))
    if as_json:
        show_json({"report": str(page), **json.loads(found.to_json())})
    else:
        print_runs(found)
        say(f"report: {page}")


def print_runs(found: RunComparison) -> None:
    """Print the differences between two studies, and what was not compared."""
    from leam.report.comparison import difference_rows, reasons, verdict_counts

    say(f"first: {found.first.folder}; second: {found.second.folder}")
    say_paragraph(f"{found.pairing}; differences are second minus first")
    rows = difference_rows(found)
    for name in dict.fromkeys(row[0] for row in rows):
        say("")
        say(name)
        show_table(
            ("figure", "first", "second", "difference", "verdict"),
            # p-values and the intervals of both figures are on the page.
            (
                (row[1], row[2].split(" ")[0], row[3].split(" ")[0], row[4], row[7])
                for row in rows
                if row[0] == name
            ),
        )
    say("")
    say_paragraph(
        "An interval is of one figure. A difference is shown only if it holds after Holm's correction over all "
        "figures; the page has the p-values."
    )
    for reason, names in reasons(found).items():
        say_paragraph(f"not compared, {reason}: {', '.join(names)}")
    for line in found.notes:
        say_paragraph(f"note: {line}")
    say(verdict_counts(found))


def write_recognizers(
    record: RecognizerComparison, faces: Sequence[ComparedFace], out_folder: Path
) -> list[Path]:
    """Write the page, the record, and a figure of each face. Returns the figures."""
    from leam.figures import FORMATS, figure_bytes
    from leam.files import write_private
    from leam.report.comparison import recognizers_figure, recognizers_page

    _write(out_folder, record.to_json(), recognizers_page(record, faces))
    written = []
    for number, face in enumerate(faces, 1):
        figure = recognizers_figure(record, face)
        for form in FORMATS:
            path = out_folder / f"maps{f'-{number}' if len(faces) > 1 else ''}.{form}"
            write_private(path, figure_bytes(figure, form))
            written.append(path)
    return written


def show_recognizers(
    record: RecognizerComparison,
    faces: Sequence[ComparedFace],
    out_folder: Path,
    figures: Sequence[Path],
    *,
    as_json: bool,
) -> None:
    """Print the shares of regions and the agreement of each face."""
    from leam.report.comparison import agreement_rows, regions_of, share_rows

    page = out_folder / "compare.html"
    if as_json:
        show_json(
            {
                "report": str(page),
                "figures": list(map(str, figures)),
                **json.loads(record.to_json()),
            }
        )
        return
    for face in faces:
        say(f"{face.name}: % of the critical pixels by region")
        show_table(("recognizer", *regions_of(face)), share_rows(face, areas=False))
        say("")
        say(f"bc of critical masks: 1 for equal masks, {record.top:g} for random ones")
        numbers = list(map(str, range(1, len(record.recognizers) + 1)))
        show_table(
            ("", "recognizer", *numbers),
            (
                (number, *row)
                for number, row in zip(
                    numbers, agreement_rows(record, face, maps=False), strict=True
                )
            ),
        )
        say("")
    say(f"report: {page}")


def _write(out_folder: Path, record: str, page: str) -> Path:
    from leam.files import write_private

    write_private(out_folder / "compare.json", f"{record}\n".encode())
    path = out_folder / "compare.html"
    write_private(path, page.encode())
    return path

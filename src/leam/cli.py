"""The command line: parse, call, print."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from leam import demo as demonstration
from leam.errors import FaceError, InputError, LayerError, LeamError
from leam.faces.detect import Detector, find_face
from leam.faces.face import Face
from leam.faces.people import add_groups, draw_people, read_people
from leam.faces.registry import DEFAULT as DEFAULT_DETECTOR
from leam.faces.registry import detectors, load_detector
from leam.mapping.aggregate import AGGREGATES
from leam.mapping.explainer import DEFAULT_AGGREGATE, DEFAULT_WEIGHTING, Explainer
from leam.mapping.layers import CONVOLUTIONS, STAGES
from leam.mapping.weighting import WEIGHTINGS
from leam.measures.fills import FILLS
from leam.parsers.registry import DEFAULT as DEFAULT_PARSER
from leam.parsers.registry import load_parser, parsers
from leam.parsers.writing import Areas, write_parsing
from leam.recognizers.card import explain_validation
from leam.recognizers.recognizer import Recognizer
from leam.recognizers.registry import DEFAULT as DEFAULT_MODEL
from leam.recognizers.shelf import Shelved, choose, read_shelf
from leam.report.explanation import region_rows, write_explanation
from leam.report.page import render_report
from leam.study.check import ModelCheck, check_model, doubts, read_pairs, verify
from leam.study.explanation import Explanation, explain_faces
from leam.study.plan import PRESETS, Settings
from leam.study.run import Progress as Tell
from leam.study.run import plan_study, run_study
from leam.study.store import RunFolder
from leam.version import __version__

app = typer.Typer(
    help="Layer Embedding Activation Mapping: the parts of a face that a recognizer relies on. "
    "Nothing leaves this machine.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
models_app = typer.Typer(
    help="The recognizers at hand.\n\n    leam models --json\n\n    leam models layers dlib_resnet",
    invoke_without_command=True,
)
app.add_typer(models_app, name="models")
out = Console()
err = Console(stderr=True)

_INTERRUPTED = 130

ModelOption = Annotated[
    str, typer.Option("--model", help="A recognizer's name (see `leam models`) or a .toml card.")
]
OutOption = Annotated[Path, typer.Option("--out", help="Folder to write; it is made.")]
WeightingOption = Annotated[
    str, typer.Option(help=f"How a layer's map is made: {', '.join(WEIGHTINGS)}.")
]
AggregateOption = Annotated[
    str, typer.Option(help=f"How layers are joined: {', '.join(AGGREGATES)}.")
]
LayersOption = Annotated[
    str,
    typer.Option(
        help=f"{CONVOLUTIONS}, {STAGES}, or names and globs with commas between (see `leam models layers`)."
    ),
]
TopOption = Annotated[float, typer.Option(help="The critical fraction of the pixels.")]
CardsOption = Annotated[
    list[Path] | None, typer.Option("--cards", help="A folder of .toml cards; may be repeated.")
]
DetectorOption = Annotated[
    str, typer.Option("--detector", help=f"Finds the faces: {', '.join(detectors())}.")
]
ParserOption = Annotated[
    str, typer.Option("--parser", help=f"Names the regions: {', '.join(parsers())}.")
]


def main() -> None:
    """Run the command line; a user's mistake is one line on standard error and exit code 1."""
    try:
        app()
    except LeamError as error:
        _complain(error)
        sys.exit(1)
    except ValidationError as error:
        _complain(explain_validation(error))
        sys.exit(1)
    except KeyboardInterrupt:
        _complain("interrupted; finished work is kept, the same command goes on")
        sys.exit(_INTERRUPTED)


def _print_version(wanted: bool) -> None:
    if wanted:
        out.print(__version__, highlight=False)
        raise typer.Exit


@app.callback()
def root(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and stop."
        ),
    ] = False,
) -> None:
    """Common options."""


@app.command()
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
    _check_target(target, other)
    _check_out(out_folder, force=force)
    with _progress() as tell:
        tell("loading", 0, 1)
        explainer = Explainer(
            _load([model], cards, tell)[0],
            layers=_layers(layers),
            weighting=weighting,
            aggregate=aggregate,
        )
        face_parser, finder = load_parser(parser), load_detector(detector)
        faces, complaints = _find_faces(images, finder)
        reference = find_face(other, finder) if other else None
        jobs = [(face, reference) for face in faces]
        if reference and target != "self":
            jobs += [(reference, face) for face in faces]
        folders = _folders(
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
        _print_explanation(explanation, folder, explainer.recognizer.name)
    for complaint in complaints:
        _complain(complaint)
    if complaints:
        raise typer.Exit(1)


@app.command()
def study(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER", help="One subfolder of pictures a person, or a CSV with image,person."
        ),
    ],
    out_folder: OutOption,
    models: Annotated[
        str | None,
        typer.Option(
            help="Names or .toml cards, with commas between; all for every one at hand.",
            show_default=DEFAULT_MODEL,
        ),
    ] = None,
    card: Annotated[
        list[Path] | None, typer.Option("--card", help="A .toml card to study; may be repeated.")
    ] = None,
    cards: CardsOption = None,
    people: Annotated[
        int | None, typer.Option(min=1, help="Draw this many people; all by default.")
    ] = None,
    images: Annotated[
        int | None, typer.Option(min=2, help="At most this many pictures of each.")
    ] = None,
    preset: Annotated[
        str, typer.Option(help=f"What is measured: {', '.join(PRESETS)}; paper takes far longer.")
    ] = "quick",
    group: Annotated[
        list[str] | None,
        typer.Option("--group", help="A column of the people table to compare; may be repeated."),
    ] = None,
    people_table: Annotated[
        Path | None, typer.Option(help="A CSV with person and further columns, such as gender.")
    ] = None,
    target: Annotated[str, typer.Option(help="self, template or contrast.")] = "self",
    weighting: WeightingOption = DEFAULT_WEIGHTING,
    aggregate: AggregateOption = DEFAULT_AGGREGATE,
    layers: LayersOption = CONVOLUTIONS,
    top: TopOption = 0.01,
    fill: Annotated[str, typer.Option(help=f"What hides pixels: {', '.join(FILLS)}.")] = "black",
    parser: ParserOption = DEFAULT_PARSER,
    detector: DetectorOption = DEFAULT_DETECTOR,
    seed: Annotated[int, typer.Option(min=0, help="Of every random choice.")] = 0,
    restart: Annotated[
        bool, typer.Option("--restart", help="Throw away another study in the folder.")
    ] = False,
    no_faces: Annotated[
        bool, typer.Option("--no-faces", help="Show nobody's picture in the report.")
    ] = False,
) -> None:
    """Explain, parse and measure many people, and write tables, summary.json and report.html.

    A run that was stopped goes on with the same command.

        leam study faces/ --out run --people 100 --images 2

        leam study table.csv --out run --models dlib_resnet,my-model.toml

        leam study faces/ --out run --models all --preset paper --people-table people.csv --group gender
    """
    if preset not in PRESETS:
        raise InputError(f"--preset {preset}: known are {', '.join(PRESETS)}")
    settings = Settings.model_validate(
        {
            **PRESETS[preset],
            "groups": tuple(group or ()),
            "target": target,
            "weighting": weighting,
            "aggregate": aggregate,
            "layers": tuple(layers.split(",")),
            "top": top,
            "fill": fill,
            "parser": parser,
            "detector": detector,
            "seed": seed,
        }
    )
    samples = draw_people(read_people(source), people, images, seed)
    if people_table:
        samples = add_groups(samples, people_table)
    folder = RunFolder(out_folder)
    with _progress() as tell:
        tell("loading models", 0, 1)
        recognizers = _load(_wanted(models, card), cards, tell)
        tell("loading models", 1, 1)
        plan = plan_study(str(source), samples, recognizers, settings)
        run_study(plan, recognizers, folder, restart=restart, progress=tell)
        tell("rendering the report", 0, 1)
        page = render_report(folder, faces=not no_faces)
        tell("rendering the report", 1, 1)
    _print_summary(folder)
    out.print(f"report: {page}", highlight=False)


@app.command()
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
    _check_out(out_folder, force=force)
    face_parser = load_parser(parser)
    faces, complaints = _find_faces(images, load_detector(detector))
    for face, folder in zip(
        faces, _folders(out_folder, faces, alone=len(images) == 1), strict=True
    ):
        try:
            areas = write_parsing(face, face_parser, folder)
        except FaceError as error:
            complaints.append(error)
            continue
        _print_areas(areas, f"{_name(face)} · {parser}")
        out.print(f"written: {folder}\n", markup=False, highlight=False, soft_wrap=True)
    for complaint in complaints:
        _complain(complaint)
    if complaints:
        raise typer.Exit(1)


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="The folder of a finished study.")],
    no_faces: Annotated[bool, typer.Option("--no-faces", help="Show nobody's picture.")] = False,
) -> None:
    """Render a study's report.html again.

    leam report run --no-faces
    """
    out.print(f"report: {render_report(RunFolder(run), faces=not no_faces)}", highlight=False)


@app.command()
def demo(
    out_folder: OutOption = Path("demo"),
) -> None:
    """Explain two portraits that come with Python packages, and run a smoke-sized study on views of them.

    leam demo --out demo
    """
    for person, path in demonstration.portraits().items():
        explain([path], out_folder / "explain" / person, force=True)
    demonstration.write_views(out_folder / "faces")
    study(out_folder / "faces", out_folder / "study", restart=True)
    out.print(
        "Two people prove nothing: this shows that everything works, and what its output looks like."
    )


@models_app.callback()
def models_root(
    context: typer.Context,
    cards: CardsOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the recognizers at hand, and those that can be fetched."""
    if context.invoked_subcommand:
        return
    shelf = read_shelf(folders=cards or ())
    if as_json:
        out.print_json(json.dumps({name: _listed(shelved) for name, shelved in shelf.items()}))
        return
    table = Table(box=None)
    for column in ("name", "architecture", "input", "weights", "licence"):
        table.add_column(column, no_wrap=column == "name")
    for name, shelved in shelf.items():
        card = shelved.card
        size = f"{card.input_size[0]}x{card.input_size[1]}"
        state = "at hand" if shelved.weights else "to fetch" if card.url else "missing"
        checked = "" if card.sha256 else ", no sha256"
        table.add_row(name, card.architecture, size, state + checked, card.license or "not stated")
    out.print(table)


@models_app.command("layers")
def models_layers(
    model: Annotated[str, typer.Argument(help="A recognizer's name or a .toml card.")],
    layers: LayersOption = "*",
    cards: CardsOption = None,
) -> None:
    """List the layers of a recognizer that can be explained.

    leam models layers dlib_resnet
    """
    with _progress() as tell:
        explainer = Explainer(_load([model], cards, tell)[0], layers=_layers(layers))
    table = Table("layer", "channels", "size", "note", box=None)
    for layer in explainer.layers:
        table.add_row(
            escape(layer.name), str(layer.channels), f"{layer.size[0]}x{layer.size[1]}", layer.note
        )
    out.print(table)


@models_app.command("check")
def models_check(
    model: Annotated[str, typer.Argument(metavar="CARD", help="A .toml card or a name.")],
    pairs: Annotated[
        Path | None, typer.Option(help="A CSV of pairs: left, right, same (1 or 0).")
    ] = None,
    faces: Annotated[
        Path | None, typer.Option(help="The folder that the pairs' pictures are in.")
    ] = None,
    cards: CardsOption = None,
    detector: DetectorOption = DEFAULT_DETECTOR,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Load a recognizer, verify its file, embed, time it, list its layers, and test it on pairs.

    leam models check my-model.toml --pairs pairs.csv --faces lfw/
    """
    if (pairs is None) != (faces is None):
        raise InputError("--pairs and --faces go together")
    with _progress() as tell:
        (recognizer,) = _load([model], cards, tell)
        verification = None
        if pairs and faces:
            (verification,) = verify(
                [recognizer],
                read_pairs(pairs),
                faces,
                load_detector(detector),
                lambda done, total: tell("finding faces", done, total),
            )
        found = check_model(recognizer, verification)
    if as_json:
        out.print_json(json.dumps(asdict(found)))
        return
    _print_check(found)


def _wanted(models: str | None, cards: Sequence[Path] | None) -> list[str]:
    """The names and cards that a study was asked for."""
    if models is None and not cards:
        return [DEFAULT_MODEL]
    names = [name.strip() for name in (models or "").split(",") if name.strip()]
    return [*names, *map(str, cards or ())]


def _load(wanted: Sequence[str], cards: Sequence[Path] | None, tell: Tell) -> list[Recognizer]:
    def load(shelved: Shelved) -> Recognizer:
        what = f"fetching {shelved.card.name}"
        return shelved.load(tell=lambda done, total: tell(what, done, total or done))

    return [load(shelved) for shelved in choose(read_shelf(folders=cards or ()), wanted)]


def _listed(shelved: Shelved) -> dict[str, object]:
    return {
        **shelved.card.model_dump(mode="json"),
        "card": str(shelved.path) if shelved.path else None,
        "weights": str(shelved.weights) if shelved.weights else None,
        "doubts": list(doubts(shelved.card)),
    }


def _print_check(found: ModelCheck) -> None:
    table = Table(show_header=False, box=None)
    table.add_row("parameters", f"{found.parameters:,}")
    table.add_row("embedding", str(found.embedding_size))
    table.add_row("a face", f"{found.milliseconds:.1f} ms")
    table.add_row("layers", str(len(found.layers)))
    if found.verification:
        one = found.verification
        table.add_row("accuracy", f"{one.accuracy:.4f} of {one.pairs} pairs")
        table.add_row("threshold", f"{one.threshold:.4f}")
        table.add_row("pictures left out", str(len(one.skipped)))
    for doubt in found.doubts:
        table.add_row("doubt", doubt)
    out.print(f"[bold]{escape(found.name)}[/bold] loads and embeds")
    out.print(table)
    for layer in found.layers:
        size = f"{layer.channels} x {layer.size[0]}x{layer.size[1]}"
        out.print(f"  {layer.name}  {size}", markup=False, highlight=False)


def _check_target(target: str | None, other: Path | None) -> None:
    if target not in {None, "self", "reference"}:
        raise InputError(f"--target {target}: one face alone has self, and reference with --with")
    if target == "reference" and other is None:
        raise InputError("--target reference: name the other picture with --with")


def _check_out(folder: Path, *, force: bool) -> None:
    if not force and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: exists and is not empty; choose another --out, or add --force")


def _find_faces(images: Sequence[Path], detector: Detector) -> tuple[list[Face], list[LeamError]]:
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
            _complain(complaint)
        raise complaints[-1]
    return faces, complaints


def _folders(out_folder: Path, faces: Sequence[Face], *, alone: bool) -> list[Path]:
    """Where each face's files go: the folder itself for one, else a subfolder named after the picture."""
    if alone:
        return [out_folder]
    names: list[str] = []
    for face in faces:
        stem = face.path.stem if face.path else "face"
        name, number = stem, 2
        while name in names:
            name, number = f"{stem}-{number}", number + 1
        names.append(name)
    return [out_folder / name for name in names]


def _layers(text: str) -> str | list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise LayerError("--layers: no names given")
    return names[0] if len(names) == 1 else names


def _print_explanation(explanation: Explanation, folder: Path, model: str) -> None:
    title = f"{_name(explanation.face)} · {model}"
    if explanation.reference:
        title += f" · similarity with {_name(explanation.reference)}: {explanation.similarity:.3f}"
    out.print(title, style="bold", markup=False, highlight=False, soft_wrap=True)
    table = Table("region", "critical pixels", "map", "area", box=None)
    for region, row in region_rows(explanation).items():
        table.add_row(region, *(f"{100 * row[key]:.1f} %" for key in ("share", "mass", "area")))
    out.print(table)
    for note in explanation.notes:
        out.print(f"note: {note}", style="dim", markup=False, highlight=False, soft_wrap=True)
    out.print(f"written: {folder}\n", markup=False, highlight=False, soft_wrap=True)


def _print_areas(areas: Areas, title: str) -> None:
    out.print(title, style="bold", markup=False, highlight=False, soft_wrap=True)
    table = Table("region", "area of the chip", "confidence", box=None)
    for region, row in areas.items():
        if row["confidence"] is not None:
            table.add_row(region, f"{100 * row['area']:.1f} %", f"{row['confidence']:.2f}")
    out.print(table)


def _name(face: Face) -> str:
    return face.path.name if face.path else "face"


def _print_summary(folder: RunFolder) -> None:
    summary = json.loads((folder.path / "summary.json").read_text(encoding="utf-8"))
    out.print(
        f"{summary['people']} people, {summary['images']} faces, {len(summary['skipped'])} pictures skipped",
        highlight=False,
    )
    table = Table(
        "model", "nose", "overlap same", "different", "drop", "scattered", "moved", box=None
    )
    for name, model in summary["models"].items():
        baselines = model["occlusion"]["baselines"]
        numbers = (
            model["regions"].get("nose", {}).get("share"),
            model["bc"]["critical"]["same"],
            model["bc"]["critical"]["different"],
            model["occlusion"]["drop"],
            baselines.get("scattered"),
            baselines.get("moved"),
        )
        table.add_row(
            name, *("–" if n is None or n["mean"] is None else f"{n['mean']:.3f}" for n in numbers)
        )
    out.print(table)


def _complain(message: object) -> None:
    err.print(f"leam: {message}", style="red", markup=False, highlight=False, soft_wrap=True)


@contextmanager
def _progress() -> Iterator[Tell]:
    """A progress bar for each kind of work, on standard error; plain silence where that is no terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, disable=not err.is_terminal) as bars:
        tasks = {}

        def tell(what: str, done: int, everything: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=everything)
            bars.update(tasks[what], completed=done, total=everything)

        yield tell

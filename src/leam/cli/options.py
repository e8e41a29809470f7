"""Options that several commands share. ``{module:NAME}`` in a help text is filled in when help is shown."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from leam.cli.commands import fill
from leam.limits import VARIABLE, parse_size


def recognizer_names() -> list[str]:
    """Names of the built-in recognizers, for shell completion."""
    from leam.recognizers.catalogue import builtin_cards

    return list(builtin_cards())


def recognizer_lists(incomplete: str) -> list[str]:
    """Lists of names of the built-in recognizers, each completed by one more name, for shell completion."""
    *named, _ = incomplete.split(",")
    names = [name for name in recognizer_names() if name not in named]
    return [",".join([*named, name]) for name in (names if named else ["all", *names])]


def template_names() -> list[str]:
    """Names of the templates of aligned faces, for shell completion."""
    from leam.faces.detectors import aligned_templates

    return aligned_templates()


def names_in(place: str) -> Callable[[], list[str]]:
    """Completes the names in a collection of a module, such as ``leam.parsers:PARSERS``."""
    return lambda: fill(f"{{{place}}}").split(", ")


def choices(*names: str) -> Callable[[], list[str]]:
    """Completes these names."""
    return lambda: list(names)


def _limit_memory(size: str | None) -> None:
    if size is not None:
        os.environ[VARIABLE] = str(parse_size(size, "--memory-limit"))


MODEL_HELP = "A recognizer: a name that `leam models` lists, or the path of a .toml card."
LAYERS_HELP = (
    "Layers to explain: {leam.explain.layers:CONVOLUTIONS}, {leam.explain.layers:STAGES}, or names and patterns "
    "separated by commas (see `leam models layers`)."
)
SET_BY_PRESET = "set by the preset"
PRESET_HELP = (
    "Settings to start from: {leam.study.plan:PRESETS}, or the path of a .toml file that states them (see "
    "docs/paper.md). The defaults of other options are those of quick."
)
PicturesArgument = Annotated[
    list[Path],
    typer.Argument(
        metavar="PICTURE",
        help="Pictures, folders of pictures, or videos. The most prominent face of each picture is used.",
        show_default=False,
    ),
]
OutOption = Annotated[
    Path, typer.Option("--out", metavar="FOLDER", help="Output folder; created if missing.")
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Write into the output folder even if it is not empty.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME",
        help=MODEL_HELP,
        show_default="{leam.recognizers.catalogue:DEFAULT}",
        autocompletion=recognizer_names,
    ),
]
CardsOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--cards",
        metavar="FOLDER",
        help="A folder of .toml cards that add recognizers. Can be repeated.",
    ),
]
DetectorOption = Annotated[
    str | None,
    typer.Option(
        "--detector",
        metavar="NAME",
        help="Face detector: {leam.faces.detectors:DETECTORS}, or an ONNX file of YuNet or SCRFD.",
        show_default="{leam.faces.detectors:DEFAULT}",
        autocompletion=names_in("leam.faces.detectors:DETECTORS"),
    ),
]
AlignedOption = Annotated[
    str | None,
    typer.Option(
        "--aligned",
        metavar="[TEMPLATE]",
        help="The pictures are aligned faces, such as chips of 112x112 pixels: take them as they are, without "
        "detection. Without a template, they are the recognizer's input or the chip of its template; arcface (112x112) "
        "or dlib (150x150) names the template.",
        show_default="detect faces",
        autocompletion=template_names,
    ),
]
RotateOption = Annotated[
    str,
    typer.Option(
        "--rotate",
        metavar="HOW",
        help="auto: also turn a picture by 90, 180 and 270 degrees unless it shows a face with certain landmarks. The "
        "maps are of the turned picture. none: do not.",
        autocompletion=choices("none", "auto"),
    ),
]
ParserOption = Annotated[
    str | None,
    typer.Option(
        "--parser",
        metavar="NAME",
        help="Face parser that labels the regions: {leam.parsers:PARSERS}.",
        show_default="{leam.parsers:DEFAULT}",
        autocompletion=names_in("leam.parsers:PARSERS"),
    ),
]
DeviceOption = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="NAME",
        help="Where networks run: cpu, cuda, cuda:N, mps, or auto for a GPU if there is one.",
        autocompletion=choices("auto", "cpu", "cuda", "mps"),
    ),
]
BatchSizeOption = Annotated[
    int | None,
    typer.Option(
        "--batch-size",
        min=1,
        metavar="NUMBER",
        help="Number of faces per pass of a network. Fewer need less memory.",
        show_default="suits the device",
    ),
]
PrecisionOption = Annotated[
    str,
    typer.Option(
        "--precision",
        metavar="NAME",
        help="What networks compute with: float32, or bfloat16, which is faster on GPUs and less exact.",
        autocompletion=choices("float32", "bfloat16"),
    ),
]
TrustOption = Annotated[
    bool,
    typer.Option(
        "--trust", help="Do not compare the networks of ONNX files with onnxruntime on loading."
    ),
]
MemoryLimitOption = Annotated[
    str | None,
    typer.Option(
        "--memory-limit",
        metavar="SIZE",
        callback=_limit_memory,
        help="The most memory that one model file or picture may need, such as 2GB; a file that needs more is refused.",
        show_default="a quarter of the memory",
    ),
]
NoFacesOption = Annotated[
    bool,
    typer.Option(
        "--no-faces",
        help="Write a report in which nobody can be recognised: no picture, name or file name of a person.",
    ),
]
SourceArgument = Annotated[
    Path,
    typer.Argument(
        metavar="SOURCE",
        help="A folder with one subfolder of pictures per person, a CSV file with the columns image and person, or "
        "a published data set; docs/howto/your-faces.md lists all layouts.",
        show_default=False,
    ),
]
FacesFolderOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="The folder that contains the pictures of a table or list; by default, the one of its file.",
    ),
]
ModelsOption = Annotated[
    str | None,
    typer.Option(
        "--models",
        "--model",
        metavar="NAMES",
        help="Recognizers, separated by commas: names that `leam models` lists, paths of .toml cards, or all for "
        "every recognizer whose weights are installed.",
        show_default="{leam.recognizers.catalogue:DEFAULT}",
        autocompletion=recognizer_lists,
    ),
]
CardOption = Annotated[
    list[Path] | None,
    typer.Option("--card", metavar="FILE", help="A .toml card of a recognizer. Can be repeated."),
]
PeopleOption = Annotated[
    int | None,
    typer.Option(
        min=1, metavar="NUMBER", help="Draw this many people at random.", show_default="all"
    ),
]
ImagesOption = Annotated[
    int | None,
    typer.Option(
        min=2,
        metavar="NUMBER",
        help="Use at most this many pictures of each person.",
        show_default="all",
    ),
]
GroupOption = Annotated[
    list[str] | None,
    typer.Option(
        "--group",
        metavar="COLUMN",
        help="Compare the groups in this column of the table of people. Can be repeated.",
    ),
]
PeopleTableOption = Annotated[
    Path | None,
    typer.Option(
        metavar="TABLE",
        help="A CSV file with the column person and further columns, such as gender.",
    ),
]
WorkersOption = Annotated[
    int,
    typer.Option(
        min=1,
        metavar="NUMBER",
        help="Number of processes, of one thread each; one per core is fastest, or one per GPU.",
    ),
]
SeedOption = Annotated[
    int | None,
    typer.Option(min=0, metavar="NUMBER", help="Random seed.", show_default=SET_BY_PRESET),
]
RestartOption = Annotated[
    bool,
    typer.Option(
        "--restart",
        help="Remove the files that another study wrote in the output folder first. Other files stay.",
    ),
]
MethodOption = Annotated[
    str | None,
    typer.Option(
        "--method",
        metavar="NAME",
        help="How faces are explained: {leam.explain.methods:METHODS}. All but leam have no layer maps.",
        show_default="{leam.explain.methods:LEAM}",
        autocompletion=names_in("leam.explain.methods:METHODS"),
    ),
]
WeightingOption = Annotated[
    str | None,
    typer.Option(
        "--weighting",
        metavar="NAME",
        help="How the map of a layer is computed: {leam.explain.weightings:WEIGHTINGS}, or auto: absolute where "
        "the sum of a network's blocks is normalised, else signed.",
        show_default="{leam.explain.explainer:DEFAULT_WEIGHTING}",
        autocompletion=names_in("leam.explain.weightings:WEIGHTINGS"),
    ),
]
AggregateOption = Annotated[
    str | None,
    typer.Option(
        "--aggregate",
        metavar="NAME",
        help="How the layers' maps are combined: {leam.explain.aggregates:AGGREGATES}.",
        show_default="{leam.explain.explainer:DEFAULT_AGGREGATE}",
        autocompletion=names_in("leam.explain.aggregates:AGGREGATES"),
    ),
]
LayersOption = Annotated[
    str | None,
    typer.Option(
        "--layers",
        metavar="NAMES",
        help=LAYERS_HELP,
        show_default="{leam.explain.layers:CONVOLUTIONS}",
    ),
]
TopOption = Annotated[
    float | None,
    typer.Option(
        "--top",
        metavar="FRACTION",
        help="Fraction of the pixels that count as critical, above 0 and up to 1.",
        show_default="0.01",
    ),
]
BackendOption = Annotated[
    str,
    typer.Option(
        "--backend",
        metavar="NAME",
        help="Implementation that computes the maps: plain is the definition, fused is faster and agrees with plain to "
        "1e-5, auto chooses.",
        autocompletion=choices("auto", "plain", "fused"),
    ),
]

"""``leam study``, ``leam report`` and ``leam demo``: commands on many pictures."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from leam import demo as demonstration
from leam.cli.console import err, out, progress
from leam.cli.faces import explain
from leam.cli.inputs import load_models, wanted_models
from leam.cli.options import (
    CardsOption,
    DetectorOption,
    OutOption,
    ParserOption,
)
from leam.cli.printing import print_summary
from leam.errors import InputError
from leam.explain.aggregates import AGGREGATES
from leam.explain.layers import CONVOLUTIONS, STAGES
from leam.explain.weightings import WEIGHTINGS
from leam.faces.detectors import DEFAULT as DEFAULT_DETECTOR
from leam.faces.people import add_groups, draw_people, read_people
from leam.metrics.fills import FILLS
from leam.parsers import DEFAULT as DEFAULT_PARSER
from leam.recognizers.catalogue import DEFAULT as DEFAULT_MODEL
from leam.report.page import render_report
from leam.study.engines import ProcessEngine, RayEngine
from leam.study.plan import PRESETS, Settings
from leam.study.run import EngineMaker, plan_study, run_study
from leam.study.store import RunFolder

_OF_PRESET = "of the preset"
# Faces times recognizers from which a study takes minutes.
_LONG = 200
_ENGINES = ("local", "ray")


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
        str,
        typer.Option(
            help="quick; paper, which measures all and takes far longer; reconstruction, whose figures come nearest "
            "to the paper's."
        ),
    ] = "quick",
    panel: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="People on whom curves, fills, verification and sanity are measured; 20 with --preset paper.",
            show_default=_OF_PRESET,
        ),
    ] = None,
    group: Annotated[
        list[str] | None,
        typer.Option("--group", help="A column of the people table to compare; may be repeated."),
    ] = None,
    people_table: Annotated[
        Path | None, typer.Option(help="A CSV with person and further columns, such as gender.")
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="self, template or contrast.", show_default=_OF_PRESET)
    ] = None,
    weighting: Annotated[
        str | None,
        typer.Option(
            help=f"How a layer's map is made: {', '.join(WEIGHTINGS)}.", show_default=_OF_PRESET
        ),
    ] = None,
    aggregate: Annotated[
        str | None,
        typer.Option(
            help=f"How layers are joined: {', '.join(AGGREGATES)}.", show_default=_OF_PRESET
        ),
    ] = None,
    layers: Annotated[
        str | None,
        typer.Option(
            help=f"{CONVOLUTIONS}, {STAGES}, or names and globs with commas between.",
            show_default=_OF_PRESET,
        ),
    ] = None,
    top: Annotated[
        float | None,
        typer.Option(help="The critical fraction of the pixels.", show_default=_OF_PRESET),
    ] = None,
    fill: Annotated[
        str | None,
        typer.Option(help=f"What hides pixels: {', '.join(FILLS)}.", show_default=_OF_PRESET),
    ] = None,
    parser: ParserOption = DEFAULT_PARSER,
    second_parser: Annotated[
        str | None,
        typer.Option(help="Another parser, to see how far region shares depend on the parser."),
    ] = None,
    detector: DetectorOption = DEFAULT_DETECTOR,
    workers: Annotated[
        int,
        typer.Option(
            min=1, help="Processes that share the work, one thread each: one a core is fastest."
        ),
    ] = 1,
    engine: Annotated[
        str, typer.Option(help="local; or ray, which does the work on a Ray cluster.")
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(
            help="Of the Ray cluster: HOST:PORT or auto.",
            show_default="RAY_ADDRESS, or a cluster on this machine",
        ),
    ] = None,
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
    maker = _engine_maker(engine, address, workers)
    if preset not in PRESETS:
        raise InputError(f"--preset {preset}: known are {', '.join(PRESETS)}")
    given = {
        "panel": panel,
        "target": target,
        "weighting": weighting,
        "aggregate": aggregate,
        "layers": tuple(layers.split(",")) if layers else None,
        "top": top,
        "fill": fill,
    }
    settings = Settings.model_validate(
        {
            **PRESETS[preset],
            **{name: value for name, value in given.items() if value is not None},
            "groups": tuple(group or ()),
            "parser": parser,
            "second_parser": second_parser,
            "detector": detector,
            "seed": seed,
        }
    )
    samples = draw_people(read_people(source), people, images, seed)
    if people_table:
        samples = add_groups(samples, people_table)
    folder = RunFolder(out_folder)
    with progress() as tell:
        tell("loading models", 0, 1)
        recognizers = load_models(wanted_models(models, card), cards, tell)
        tell("loading models", 1, 1)
        plan = plan_study(str(source), samples, recognizers, settings)
        if engine == "local":
            _tell_of_idle_cores(workers, len(samples) * len(recognizers))
        run_study(plan, recognizers, folder, restart=restart, progress=tell, engine=maker)
        tell("rendering the report", 0, 1)
        page = render_report(folder, faces=not no_faces)
        tell("rendering the report", 1, 1)
    print_summary(folder)
    out.print(f"report: {page}", highlight=False)


def _tell_of_idle_cores(workers: int, explanations: int) -> None:
    cores = os.cpu_count() or 1
    if workers == 1 < cores and explanations >= _LONG:
        err.print(f"one of {cores} cores is at work; --workers {cores} takes all", highlight=False)


def _engine_maker(engine: str, address: str | None, workers: int) -> EngineMaker | None:
    """What makes the engine that is asked for; None for the one that works in this process.

    Raises:
        InputError: There is no such engine, or an option belongs to the other one.
    """
    if engine not in _ENGINES:
        raise InputError(f"--engine {engine}: known are {', '.join(_ENGINES)}")
    if engine == "ray":
        if workers > 1:
            raise InputError(
                "--workers: belongs to --engine local; a Ray cluster knows its own size"
            )
        return partial(RayEngine, address=address)
    if address:
        raise InputError("--address: belongs to --engine ray")
    return partial(ProcessEngine, processes=workers) if workers > 1 else None


def report(
    run: Annotated[Path, typer.Argument(help="The folder of a finished study.")],
    no_faces: Annotated[bool, typer.Option("--no-faces", help="Show nobody's picture.")] = False,
) -> None:
    """Render a study's report.html again.

    leam report run --no-faces
    """
    out.print(f"report: {render_report(RunFolder(run), faces=not no_faces)}", highlight=False)


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

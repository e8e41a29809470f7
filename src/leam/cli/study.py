"""``leam study``: many people, many recognizers, and a report."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from leam.cli.console import note, progress, say, show_json
from leam.cli.faces import find_detector, suggest_aligned
from leam.cli.failures import interruptible
from leam.cli.inputs import (
    Loading,
    check_faces,
    check_names,
    check_paths,
    choose_device,
    detector_name,
    layers_named,
    load_models,
    settings_of,
    split_names,
)
from leam.cli.options import (
    PRESET_HELP,
    SET_BY_PRESET,
    AggregateOption,
    AlignedOption,
    BackendOption,
    BatchSizeOption,
    CardOption,
    CardsOption,
    DetectorOption,
    DeviceOption,
    FacesFolderOption,
    GroupOption,
    ImagesOption,
    JsonOption,
    LayersOption,
    MemoryLimitOption,
    MethodOption,
    ModelsOption,
    NoFacesOption,
    OutOption,
    ParserOption,
    PeopleOption,
    PeopleTableOption,
    PrecisionOption,
    RestartOption,
    RotateOption,
    SeedOption,
    SourceArgument,
    TopOption,
    TrustOption,
    WeightingOption,
    WorkersOption,
    choices,
    names_in,
)
from leam.cli.printing import findings_in, findings_json, print_findings, print_summary
from leam.errors import InputError

if TYPE_CHECKING:
    from leam.faces.people import Dataset, Sample
    from leam.progress import Progress
    from leam.recognizers.recognizer import Recognizer
    from leam.study.plan import Plan, Settings
    from leam.study.store import Keep, RunFolder


_FINISHED = "this study is finished, nothing to do; `leam report` renders its report again, --restart runs it again"
# As leam.study.store.Keep, which is slow to import.
_KEEP = ("maps", "embeddings", "nothing")
# From this number of explanations on, a study takes minutes.
_LONG = 200


def study(
    source: SourceArgument,
    out_folder: OutOption,
    faces: FacesFolderOption = None,
    models: ModelsOption = None,
    card: CardOption = None,
    cards: CardsOption = None,
    people: PeopleOption = None,
    images: ImagesOption = None,
    preset: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help=f"{PRESET_HELP} paper measures everything and takes far longer; the figures of reconstruction come "
            "closest to the paper's.",
            autocompletion=names_in("leam.study.plan:PRESETS"),
        ),
    ] = "quick",
    print_settings: Annotated[
        bool,
        typer.Option(
            "--print-settings",
            help="Print all settings as a .toml file for --preset, and stop.",
        ),
    ] = False,
    subset: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="NUMBER",
            help="Number of people for the costly metrics: occlusion curves, fills, verification, sanity checks.",
            show_default=SET_BY_PRESET,
        ),
    ] = None,
    panel: Annotated[int | None, typer.Option("--panel", min=0, hidden=True)] = None,
    group: GroupOption = None,
    people_table: PeopleTableOption = None,
    target: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What is explained: self (the embedding), template (the similarity with the person's other pictures), "
            "or contrast (that, minus the similarity with the nearest other people).",
            show_default=SET_BY_PRESET,
            autocompletion=choices("self", "template", "contrast"),
        ),
    ] = None,
    method: MethodOption = None,
    weighting: WeightingOption = None,
    aggregate: AggregateOption = None,
    layers: LayersOption = None,
    top: TopOption = None,
    fill: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What replaces occluded pixels: {leam.metrics.fills:FILLS}.",
            show_default=SET_BY_PRESET,
            autocompletion=names_in("leam.metrics.fills:FILLS"),
        ),
    ] = None,
    parser: ParserOption = None,
    second_parser: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A second parser, to see how much the shares of regions depend on the parser.",
            autocompletion=names_in("leam.parsers:PARSERS"),
        ),
    ] = None,
    detector: DetectorOption = None,
    aligned: AlignedOption = None,
    rotate: RotateOption = "none",
    backend: BackendOption = "auto",
    device: DeviceOption = "auto",
    batch_size: BatchSizeOption = None,
    precision: PrecisionOption = "float32",
    trust: TrustOption = False,
    _memory_limit: MemoryLimitOption = None,
    workers: WorkersOption = 1,
    engine: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Where the work is done: {leam.study.engine:ENGINES}.",
            autocompletion=names_in("leam.study.engine:ENGINES"),
        ),
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Address of the Ray cluster, or auto.",
            show_default="RAY_ADDRESS, else a cluster on this machine",
        ),
    ] = None,
    seed: SeedOption = None,
    restart: RestartOption = False,
    exclude_changed: Annotated[
        bool,
        typer.Option(
            "--exclude-changed",
            help="Resume without the pictures that have changed or vanished since the study began.",
        ),
    ] = False,
    keep: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What of each face stays in the output folder: maps, embeddings, or nothing, which also "
            "removes names as `leam redact` does. The study can then not be resumed, and its report shows nobody.",
            show_default="all that resuming and the report need",
            autocompletion=choices(*_KEEP),
        ),
    ] = None,
    no_faces: NoFacesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Explain many people and write tables, a summary and a report.

    Writes tables, summary.json, report.html, people.html and the charts in figures/ into the output folder. Repeat the
    command to resume a study that was interrupted.

    Examples:
        leam study faces/ --out run --people 100 --images 2
        leam study table.csv --out run --models dlib_resnet,my-model.toml
        leam study faces/ --out run --models all --preset paper --people-table people.csv --group gender
        leam study faces/ --out run --preset variant.toml
        leam study faces/ --out run --device cuda --workers 4
        leam study chips/ --out run --aligned
        leam study pairs.txt --faces lfw/ --out run
        leam study faces/ --out run --keep nothing
        leam study faces/ --out run --preset paper --fill mean --print-settings
    """
    if panel is not None:
        note("--panel is deprecated and will be removed; use --subset")
    _check_keep(keep)
    check_paths([], source, faces, people_table)
    check_faces("main", rotate)
    settings = settings_of(
        preset,
        subset=panel if subset is None else subset,
        target=target,
        method=method,
        weighting=weighting,
        aggregate=aggregate,
        layers=layers_named(layers),
        top=top,
        fill=fill,
        groups=tuple(group) if group else None,
        parser=parser,
        second_parser=second_parser,
        detector=detector_name(detector, aligned),
        rotate=None if rotate == "none" else rotate,
        backend=None if backend == "auto" else backend,
        seed=seed,
    )
    check_names(settings)
    if print_settings:
        from leam.study.presets import preset_lines

        for line in preset_lines(settings):
            say(line)
        return
    request = Request(
        source,
        faces,
        out_folder,
        settings,
        names_of(models, card),
        Loading(cards, device, precision, batch_size, trust),
        people=people,
        images=images,
        people_table=people_table,
        workers=workers,
        engine=engine,
        address=address,
        restart=restart,
        exclude_changed=exclude_changed,
    )
    show_study(*conduct(request, keep=keep, no_faces=no_faces), as_json=as_json)


@dataclass(frozen=True)
class Request:
    """A study as asked for on the command line; see the options of :func:`study`. Its workers use the device."""

    source: Path
    faces: Path | None
    out_folder: Path
    settings: Settings
    models: Sequence[str | None]
    loading: Loading
    _: KW_ONLY
    people: int | None = None
    images: int | None = None
    people_table: Path | None = None
    workers: int = 1
    engine: str = "local"
    address: str | None = None
    restart: bool = False
    exclude_changed: bool = False


def conduct(
    request: Request, *, keep: str | None = None, no_faces: bool = False
) -> tuple[RunFolder, Path]:
    """Run a study, or the rest of it, and render its report.

    Returns:
        The run folder, and the path of the report.
    """
    # The library is imported here, so that help and mistakes are quick.
    from leam.study.store import RunFolder

    folder, state = RunFolder(request.out_folder), State()
    with interruptible(lambda: state.interruption(folder.path)), progress() as shown:
        report = state.following(shown)
        worked = _run(request, folder, state, report)
        from leam.report.page import render_report
        from leam.study.redaction import keep_only

        if keep is not None:
            for name in keep_only(folder, cast("Keep", keep), report):
                note(
                    f"{folder.path / name}: not part of the study, and not changed; it may show people"
                )
        page = folder.path / "report.html"
        if not worked:
            note(f"{folder.path}: {_FINISHED}")
        if worked or no_faces or keep or not folder.is_unchanged(page.name):
            render_report(folder, faces=not no_faces, progress=report)
    return folder, page


def _run(request: Request, folder: RunFolder, state: State, report: Progress) -> bool:
    """Plan a study and run it; False if it was finished already."""
    from leam.study.engine import EngineOptions
    from leam.study.run import run_study

    plan, recognizers = _planned(request, report)
    return run_study(
        plan,
        recognizers,
        folder,
        restart=request.restart,
        exclude_changed=request.exclude_changed,
        begin=state.beginning(recognizers, request.workers, folder),
        progress=report,
        engine=request.engine,
        options=EngineOptions(
            workers=request.workers, address=request.address, device=request.loading.device
        ),
    )


def _planned(request: Request, report: Progress) -> tuple[Plan, list[Recognizer]]:
    """The plan of a study and its recognizers. The data set, which may be large, is not kept."""
    from leam.faces.detectors import takes_crops
    from leam.faces.people import crossed, read_dataset
    from leam.study.run import plan_study

    settings, local = request.settings, request.engine == "local"
    dataset = read_dataset(request.source, request.faces, report)
    found, notes = drawn(
        dataset, request.people, request.images, settings.seed, request.people_table
    )
    exclusions, pairs = dataset.exclusions, dataset.pairs if settings.audit else ()
    samples = deque(crossed(found, settings.groups))
    del dataset, found
    if local:
        choose_device(request.loading.device)
    report("loading recognizers", 0, 1)
    # Workers move them to their devices.
    recognizers = load_models(request.models, replace(request.loading, device="cpu"), report)
    report("loading recognizers", 1, 1)
    if takes_crops(settings.detector):
        find_detector(settings.detector, {one.name: one.crop for one in recognizers})
    suggest_aligned(samples, settings.detector)
    plan = plan_study(
        str(request.source),
        samples,
        recognizers,
        settings,
        exclusions=exclusions,
        notes=notes,
        pairs=pairs,
        progress=report,
    )
    if local:
        suggest_workers(
            request.workers, len(plan.images) * len(recognizers), request.loading.device
        )
    return plan, recognizers


def _check_keep(keep: str | None) -> None:
    if keep not in {None, *_KEEP}:
        raise InputError(f"--keep {keep}: no such choice; available: {', '.join(_KEEP)}")


def show_study(folder: RunFolder, page: Path, *, as_json: bool, **more: object) -> None:
    """Print the results of a study.

    Args:
        folder: Its folder.
        page: Its report.
        as_json: Print JSON.
        more: Further fields of the JSON.
    """
    found = findings_in(folder)
    if as_json:
        summary = json.loads((folder.path / "summary.json").read_bytes())
        fields = {"folder": str(folder.path), "report": str(page), **findings_json(found)}
        show_json({**more, **fields, "summary": summary})
    else:
        print_summary(folder)
        for column, groups in left_out_groups(folder).items():
            note(f"{column}: {groups}")
        print_findings(found)
        say(f"report: {page}")


@dataclass
class State:
    """How far a study has come, for the line after Ctrl-C.

    Attributes:
        begun: The run folder holds the study.
        last: The last progress.
    """

    begun: bool = False
    last: tuple[str, int, int | None] | None = None

    def following(self, shown: Progress) -> Progress:
        """A progress callback that also remembers the last progress."""

        def report(what: str, done: int, total: int | None) -> None:
            self.last = what, done, total
            shown(what, done, total)

        return report

    def beginning(
        self, recognizers: Sequence[Recognizer], workers: int, folder: RunFolder
    ) -> Callable[[Plan], None]:
        """A callback that says what a study is going to do."""
        from leam.study.estimate import estimate, outline
        from leam.study.plan import copy_notes

        def begin(plan: Plan) -> None:
            self.begun = True
            for one in copy_notes(plan.images):
                note(one)
            note(outline(plan))
            note(estimate(plan, recognizers, workers, folder))

        return begin

    def interruption(self, folder: Path) -> str:
        """What is kept, and the command that goes on."""
        where = ""
        if self.last:
            what, done, total = self.last
            where = f" while {what} ({done}{'' if total is None else f' of {total}'} done)"
        if not self.begun:
            command = shlex.join(["leam", *sys.argv[1:]])
            return f"interrupted{where}; nothing was changed; start again with: {command}"
        # The option would discard what is kept.
        command = shlex.join(["leam", *(one for one in sys.argv[1:] if one != "--restart")])
        return f"interrupted{where}; all finished work is kept in {folder}; go on with: {command}"


def drawn(
    dataset: Dataset, people: int | None, images: int | None, seed: int, people_table: Path | None
) -> tuple[list[Sample], list[str]]:
    """The pictures of a study, and how the data set was read. Prints this, and which files are not used."""
    from leam.faces.people import add_groups, exclusion_note, group_notes

    samples = dataset.draw(people, images, seed)
    if people_table:
        samples = add_groups(samples, people_table, dataset.people.keys())
    notes = [*dataset.notes, *group_notes(samples)]
    for one in (*notes, exclusion_note(dataset.exclusions)):
        if one:
            note(one)
    return samples, notes


def left_out_groups(folder: RunFolder) -> dict[str, str]:
    """Which groups of people a study does not compare, by column."""
    from leam.study.stages.groups import GroupFigures, left_out_note
    from leam.study.summary import read_summary

    found = read_summary(folder).get(GroupFigures)
    notes = {column: left_out_note(one) for column, one in (found.columns if found else {}).items()}
    return {column: text for column, text in notes.items() if text}


def names_of(models: str | None, card: Sequence[Path] | None) -> list[str | None]:
    """The recognizers that a study was asked for; None stands for the default."""
    if models is None and not card:
        return [None]
    return [*split_names(models or ""), *map(str, card or ())]


def suggest_workers(workers: int, explanations: int, device: str) -> None:
    """Tell the user of idle GPUs or cores if the study is long."""
    from leam.devices import devices_of

    devices = devices_of(device)
    on_cpu = devices[0].type == "cpu"
    count = (os.cpu_count() or 1) if on_cpu else len(devices)
    if workers == 1 < count and explanations >= _LONG:
        what = "cores" if on_cpu else "GPUs"
        note(f"using one of {count} {what}; --workers {count} uses all of them")

"""``leam audit``: error rates of recognizers, for whom they differ, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from leam.cli.console import note, say, show_json
from leam.cli.inputs import (
    Loading,
    check_faces,
    check_names,
    check_paths,
    detector_name,
    settings_of,
)
from leam.cli.options import (
    AlignedOption,
    BatchSizeOption,
    CardOption,
    CardsOption,
    DetectorOption,
    DeviceOption,
    FacesFolderOption,
    GroupOption,
    ImagesOption,
    JsonOption,
    MemoryLimitOption,
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
    TrustOption,
    WorkersOption,
)
from leam.cli.study import Request, conduct, names_of
from leam.errors import InputError


def audit(
    source: SourceArgument,
    out_folder: OutOption,
    faces: FacesFolderOption = None,
    models: ModelsOption = None,
    card: CardOption = None,
    cards: CardsOption = None,
    pairs: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Compare only the pairs in this list; the source is then the folder of its pictures.",
            show_default="every two pictures",
        ),
    ] = None,
    group: GroupOption = None,
    people_table: PeopleTableOption = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            metavar="SIMILARITY",
            help="Accept comparisons of at least this similarity; minus the distance for recognizers that compare by "
            "distance.",
            show_default="the one on the recognizer's card, else set by --fmr",
        ),
    ] = None,
    fmr: Annotated[
        float,
        typer.Option(
            metavar="RATE",
            help="False match rate at which the threshold is set for a recognizer whose card has none, or the least "
            "that the number of comparisons supports.",
        ),
    ] = 0.001,
    people: PeopleOption = None,
    images: ImagesOption = None,
    parser: ParserOption = None,
    detector: DetectorOption = None,
    aligned: AlignedOption = None,
    rotate: RotateOption = "none",
    device: DeviceOption = "auto",
    batch_size: BatchSizeOption = None,
    precision: PrecisionOption = "float32",
    trust: TrustOption = False,
    _memory_limit: MemoryLimitOption = None,
    workers: WorkersOption = 1,
    seed: SeedOption = None,
    restart: RestartOption = False,
    no_faces: NoFacesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Measure the errors of recognizers, for which people they differ, and which regions carry them.

    Writes audit.html, audit.json and the files of a study into the output folder. Repeat the command to resume an audit
    that was interrupted. A group can be an intersection: --group gender+age.

    Examples:
        leam audit faces/ --out run --models my-model.toml --people-table people.csv --group gender
        leam audit lfw/ --pairs pairs.txt --out run --models all
        leam audit faces/ --out run --threshold 0.35
        leam audit chips/ --aligned --out run --fmr 0.0001 --workers 4
    """
    if pairs is not None and faces is not None:
        raise InputError(
            "--pairs and --faces: SOURCE is already the folder of the pictures; omit --faces"
        )
    check_paths([], source, pairs, faces, people_table)
    check_faces("main", rotate)
    settings = settings_of(
        "audit",
        groups=tuple(group) if group else None,
        threshold=threshold,
        fmr=fmr,
        parser=parser,
        detector=detector_name(detector, aligned),
        rotate=None if rotate == "none" else rotate,
        seed=seed,
    )
    check_names(settings)
    request = Request(
        pairs or source,
        source if pairs else faces,
        out_folder,
        settings,
        names_of(models, card),
        Loading(cards, device, precision, batch_size, trust),
        people=people,
        images=images,
        people_table=people_table,
        workers=workers,
        restart=restart,
    )
    folder, page = conduct(request, no_faces=no_faces)
    from leam.files import read_json

    document, found = page.with_name("audit.html"), read_json(folder.path / "audit.json")
    if as_json:
        show_json({"folder": str(folder.path), "audit": str(document), "document": found})
        return
    for line in found["findings"]:
        say(line)
    for line in found["limits"]:
        note(line)
    say(f"audit: {document}")

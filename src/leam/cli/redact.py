"""``leam redact``: a finished study without what identifies its people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from leam.cli.console import progress, say, show_json
from leam.cli.inputs import check_paths
from leam.cli.options import JsonOption
from leam.errors import InputError, printable


def redact(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", help="Output folder of a finished study.", show_default=False
        ),
    ],
    out_folder: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FOLDER",
            help="A new folder for the redacted study.",
            show_default="RUN-redacted",
        ),
    ] = None,
    in_place: Annotated[
        bool,
        typer.Option(
            "--in-place",
            help="Redact the study in its own folder. What is removed cannot be restored. Files that are not of the "
            "study stay, and are named.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove faces, names and embeddings from a finished study.

    Writes a folder that can be published, with all figures, the tables with numbered people and pictures, the mean
    maps, and a report. It contains no picture, name, file name, path, embedding, landmark or map of a person. The study
    itself is not changed.

    Examples:
        leam redact run
        leam redact run --out published
        leam redact run --in-place
    """
    if in_place and out_folder is not None:
        raise InputError("--in-place: redacts the study in its own folder; leave --out out")
    check_paths([], run)
    # The library is imported here, so that help and mistakes are quick.
    from leam.report.page import render_report
    from leam.study.redaction import redact as redacted
    from leam.study.redaction import redact_in_place
    from leam.study.store import RunFolder

    path = run.resolve()
    target = RunFolder(run if in_place else out_folder or path.with_name(f"{path.name}-redacted"))
    left: list[str] = []
    with progress() as show:
        if in_place:
            left = redact_in_place(target, show)
        else:
            redacted(RunFolder(run), target, show)
        page = render_report(target, faces=False, progress=show)
    if as_json:
        show_json({"folder": str(target.path), "report": str(page), "left": left})
    else:
        say(f"redacted: {target.path}")
        say_left(left)
        say(f"report: {page}")


def say_left(names: Sequence[str]) -> None:
    """Name the files of a redacted folder that are not part of the study."""
    if names:
        files = "1 file" if len(names) == 1 else f"{len(names)} files"
        say(f"not part of the study, and not changed (they may show people): {files}")
        for name in names:
            say(f"  {printable(name)}")

"""``leam report``: the report of a finished study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from leam.cli.console import note, progress, say, show_json
from leam.cli.inputs import check_paths
from leam.cli.options import JsonOption, NoFacesOption
from leam.cli.printing import findings_in, findings_json, print_findings


def report(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER", help="Output folder of a finished study.", show_default=False
        ),
    ],
    no_faces: NoFacesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Render the report of a finished study again.

    Writes report.html, people.html and the charts in figures/ into the study's folder, or audit.html and audit.json of
    an audit, and prints what the study found.

    Examples:
        leam report run
        leam report run --no-faces
    """
    check_paths([], run)
    # The library is imported here, so that help and mistakes are quick.
    from leam.report.page import render_report
    from leam.study.store import RunFolder

    with progress() as show:
        folder = RunFolder(run)
        people = (run / "people.html").exists()
        page = render_report(folder, faces=not no_faces, progress=show)
    if people and not (run / "people.html").exists():
        note(f"{run / 'people.html'}: removed, since nobody may be recognised")
    found = findings_in(folder)
    if as_json:
        show_json({"report": str(page), **findings_json(found)})
    else:
        print_findings(found)
        say(f"report: {page}")

"""``leam demo``: everything once, on pictures that come with Python packages."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout
from pathlib import Path

from leam.cli.console import say
from leam.cli.explain import explain
from leam.cli.inputs import Loading, settings_of
from leam.cli.options import JsonOption, OutOption
from leam.cli.study import Request, conduct, show_study


def demo(out_folder: OutOption = Path("demo"), as_json: JsonOption = False) -> None:
    """Run everything once on two portraits.

    Explains two portraits in the public domain that come with Python packages, and runs a small study on altered copies
    of them.

    Examples:
        leam demo --out demo
    """
    # The library is imported here, so that help and mistakes are quick.
    from leam.demo import portraits, write_views

    explanations = []
    for person, path in portraits().items():
        folder = out_folder / "explain" / person
        if as_json:
            # One command prints one JSON document.
            with redirect_stdout(io.StringIO()) as printed:
                explain([path], folder, force=True, as_json=True)
            explanations += json.loads(printed.getvalue())
        else:
            explain([path], folder, force=True)
    write_views(out_folder / "faces")
    request = Request(
        out_folder / "faces",
        None,
        out_folder / "study",
        settings_of("quick"),
        [None],
        Loading(device="auto"),
        restart=True,
    )
    run, page = conduct(request)
    show_study(run, page, as_json=as_json, explanations=explanations)
    if not as_json:
        say(
            "Two people are too few to conclude anything: the demo shows that LEAM works and what it writes."
        )
        say(
            f"open {page} in a browser; the maps of the two portraits are in {out_folder / 'explain'}"
        )

"""``leam demo``: everything once, on pictures that come with Python packages."""

from __future__ import annotations

from pathlib import Path

from leam.cli.console import say
from leam.cli.explain import explain
from leam.cli.options import OutOption
from leam.cli.study import study


def demo(out_folder: OutOption = Path("demo")) -> None:
    """Run everything once on two portraits.

    Explains two portraits in the public domain that come with Python packages, and runs a small study on altered copies
    of them.

    Examples:
        leam demo --out demo
    """
    # The library is imported here, so that help and mistakes are quick.
    from leam.demo import portraits, write_views

    for person, path in portraits().items():
        explain([path], out_folder / "explain" / person, force=True)
    write_views(out_folder / "faces")
    study(out_folder / "faces", out_folder / "study", restart=True)
    say(
        "Two people prove nothing: the demo shows that the installation works and what its output looks like."
    )

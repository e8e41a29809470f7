"""Where the command line prints, and how it shows progress."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from leam.study.jobs import Progress as Tell

out = Console()
err = Console(stderr=True)


def complain(message: object) -> None:
    """One red line on standard error, whatever characters a file's name or content brought into it."""
    line = "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(message)
    )
    err.print(f"leam: {line}", style="red", markup=False, highlight=False, soft_wrap=True)


@contextmanager
def progress() -> Iterator[Tell]:
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

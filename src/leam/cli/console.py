"""Output: results on standard output; errors, notes and progress on standard error."""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from leam.errors import printable
from leam.progress import Progress, silent

if TYPE_CHECKING:
    from rich.progress import TaskID

# Seconds before a progress bar appears, and between lines of progress where there is no terminal.
DELAY = 2.0
INTERVAL = 60.0
# Characters of a line that goes to a file or another program.
_UNLIMITED = 10_000


@dataclass
class Verbosity:
    """What the user wants to see.

    Attributes:
        quiet: Results and errors only.
        debug: A traceback with every error.
    """

    quiet: bool = False
    debug: bool = False

    def reset(self) -> None:
        """Back to the defaults."""
        self.quiet = self.debug = False


VERBOSITY = Verbosity()


def say(text: str) -> None:
    """Print a line of results."""
    typer.echo(printable(text))


def say_paragraph(text: str, beginning: str = "") -> None:
    """Print a paragraph of results. It is wrapped to the terminal, and never where output goes elsewhere.

    Args:
        text: The paragraph.
        beginning: What precedes it; further lines are indented by as much.
    """
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _UNLIMITED
    indent = " " * len(beginning)
    for line in textwrap.wrap(
        text, width, initial_indent=beginning, subsequent_indent=indent, break_on_hyphens=False
    ):
        say(line)


def show_table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Print a table. It is wrapped to the terminal, and never where output goes elsewhere."""
    # Only tables and progress bars need rich, which takes as long to import as all else of the command line.
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    Console(width=None if sys.stdout.isatty() else _UNLIMITED).print(table)


def show_json(value: object) -> None:
    """Print a value as JSON."""
    typer.echo(json.dumps(value, indent=2, allow_nan=False))


def complain(message: object) -> None:
    """Print one line about an error, in red."""
    colour = None if "NO_COLOR" in os.environ else "red"
    typer.secho(printable(f"leam: {message}"), err=True, fg=colour)


def note(message: object) -> None:
    """Print one line that helps but is not a result, unless the user wants quiet."""
    if not VERBOSITY.quiet:
        typer.echo(printable(f"leam: {message}"), err=True)


@contextmanager
def progress() -> Iterator[Progress]:
    """Show progress: bars on a terminal, else one line a minute at most. Quick and quiet commands show none."""
    if VERBOSITY.quiet:
        yield silent
    elif sys.stderr.isatty():
        with _bars() as report:
            yield report
    else:
        lines, ended = LinesOfProgress(), threading.Event()

        def repeat() -> None:
            while not ended.wait(INTERVAL / 60):
                lines.repeat()

        threading.Thread(target=repeat, daemon=True).start()
        try:
            yield lines
        finally:
            ended.set()


class LinesOfProgress:
    """A callback that prints one line a minute at most, and exactly one if it is repeated often.

    Args:
        clock: The time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._last = clock, clock()
        self._state: tuple[str, int, int | None] | None = None
        self._lock = threading.Lock()

    def __call__(self, what: str, done: int, total: int | None) -> None:
        """Report progress; see :data:`leam.progress.Progress`."""
        self._state = what, done, total
        self.repeat()

    def repeat(self) -> None:
        """Print the last state if the last line is a minute old: also long work shows that it is alive."""
        with self._lock:
            if self._state and self._clock() - self._last >= INTERVAL:
                self._last = self._clock()
                what, done, total = self._state
                note(f"{what}: {done}" if total is None else f"{what}: {done} of {total}")


@contextmanager
def _bars() -> Iterator[Progress]:
    """A progress bar for each kind of work, shown once the work has taken longer than the delay."""
    from rich import progress as rich_progress
    from rich.console import Console
    from rich.markup import escape

    bars = rich_progress.Progress(
        rich_progress.TextColumn("{task.description}"),
        rich_progress.BarColumn(),
        rich_progress.MofNCompleteColumn(),
        rich_progress.TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    tasks: dict[str, TaskID] = {}

    def report(what: str, done: int, total: int | None) -> None:
        if what not in tasks:
            tasks[what] = bars.add_task(escape(printable(what)), total=total)
        bars.update(tasks[what], completed=done, total=total)

    timer = threading.Timer(DELAY, bars.start)
    timer.daemon = True
    timer.start()
    try:
        yield report
    finally:
        timer.cancel()
        timer.join()
        bars.stop()

"""From the error that ended a command to one line on standard error, and the exit status."""

from __future__ import annotations

import os
import platform
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, metadata
from typing import Any

import typer

from leam.cli.console import VERBOSITY, complain
from leam.cli.logs import log_failure
from leam.errors import LeamError, first_line
from leam.version import __version__

FAILED, MISUSED, INTERRUPTED = 1, 2, 130
_RESUME = "finished work is kept; repeat the command to resume"
# Seconds after which a command that was interrupted ends, whatever it is doing.
_MOST_SECONDS = 2.0
# typer raises click's exceptions but does not export their base class.
_UsageError = typer.BadParameter.__bases__[0]


class InterruptedStudyError(Exception):
    """The user interrupted a study, and was told how to resume it."""


@contextmanager
def interruptible(message: Callable[[], str]) -> Iterator[None]:
    """On Ctrl-C, end the block and say how to go on, within two seconds. On a second one, exit at once.

    Args:
        message: What is kept, and how to go on.

    Raises:
        InterruptedStudyError: The user interrupted the block.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    said = threading.Lock()

    def say_once() -> None:
        if said.acquire(blocking=False):
            complain(message())

    def give_up() -> None:
        say_once()
        # Processes end with their parent, and files are replaced at once or not at all.
        os._exit(INTERRUPTED)

    timer = threading.Timer(_MOST_SECONDS, give_up)
    timer.daemon = True

    def interrupt(*_signal: object) -> None:
        signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
        timer.start()
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    except KeyboardInterrupt:
        say_once()
        raise InterruptedStudyError from None
    finally:
        # While an interrupted command ends, the timer goes on.
        if not timer.is_alive():
            signal.signal(signal.SIGINT, signal.default_int_handler)


def answer(error: BaseException) -> int:
    """Print what went wrong in one line, and log what helps to correct it.

    Returns:
        The exit status.
    """
    if VERBOSITY.debug:
        traceback.print_exception(error)
    if isinstance(error, _UsageError):
        complain(_misuse(error))
        return MISUSED
    if isinstance(error, InterruptedStudyError):
        return INTERRUPTED
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        complain(f"interrupted; {_RESUME}")
        return INTERRUPTED
    if isinstance(error, LeamError):
        complain(error)
    elif is_out_of_memory(error):
        log_failure("out of memory", error)
        complain(f"not enough memory; {_RESUME}")
    elif isinstance(error, OSError):
        # A file or folder that cannot be read or written: a full disk, a missing permission.
        log_failure("a file or folder cannot be used", error)
        where = f"{error.filename}: " if error.filename is not None else ""
        complain(f"{where}{error.strerror or first_line(error)}")
    else:
        complain(_bug(error))
    return FAILED


def fail_for(errors: Sequence[LeamError]) -> None:
    """Print the errors of single pictures, and end the command as failed if there are any.

    Raises:
        typer.Exit: There are errors.
    """
    for error in errors:
        complain(error)
    if errors:
        raise typer.Exit(FAILED)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, also if torch or one of its allocators says so in words of its own."""
    if not isinstance(error, RuntimeError):
        return isinstance(error, MemoryError)
    text = str(error).lower()
    return any(words in text for words in ("not enough memory", "out of memory", "allocate memory"))


def _misuse(error: Any) -> str:  # noqa: ANN401  see _UsageError
    """A usage error as click states it, in one line that names the command's help."""
    message = " ".join(error.format_message().split()).rstrip(".")
    command = error.ctx.command_path if error.ctx else "leam"
    return f"{message[:1].lower()}{message[1:]} (see `{command} --help`)"


def _bug(error: BaseException) -> str:
    """A line about an error that nobody expected: what it is, where its traceback is, and how to report it."""
    here = f"leam {__version__}, Python {platform.python_version()}, {platform.platform()}"
    log = log_failure(f"internal error; {here}; command: {sys.argv[1:]}", error)
    what = f"internal error: {type(error).__name__}: {first_line(error)}"
    if log is None:
        return f"{what}; repeat the command with --debug to see the traceback, and report it {_where_to_report()}"
    return f"{what}; the traceback is in {log}, please report it {_where_to_report()}"


def _where_to_report() -> str:
    """Where the installed package says that bugs are reported."""
    try:
        links = metadata("leam-xai").get_all("Project-URL") or []
    except PackageNotFoundError:
        links = []
    pages = dict(link.split(", ", 1) for link in links)
    return f"at {pages['Issues']}" if "Issues" in pages else "to the maintainers"

"""The command ``leam``: its commands, and how mistakes are answered."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from pydantic import ValidationError

from leam.cli.console import complain, out
from leam.cli.faces import explain, parse
from leam.cli.models import models_app
from leam.cli.study import demo, report, study
from leam.errors import LeamError
from leam.explain.memory import keep_freed_memory
from leam.recognizers.card import explain_validation
from leam.version import __version__

app = typer.Typer(
    help="Layer Embedding Activation Mapping: the parts of a face that a recognizer relies on. "
    "Nothing leaves this machine.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
for command in (explain, study, parse, report, demo):
    app.command()(command)
app.add_typer(models_app, name="models")

_INTERRUPTED = 130


def main() -> None:
    """Run the command line; a user's mistake is one line on standard error and exit code 1."""
    keep_freed_memory()
    try:
        app()
    except LeamError as error:
        complain(error)
        sys.exit(1)
    except ValidationError as error:
        complain(explain_validation(error))
        sys.exit(1)
    except OSError as error:
        # A file or folder that cannot be read or written: a full disk, a missing permission.
        where = f"{error.filename}: " if error.filename is not None else ""
        complain(f"{where}{error.strerror or error}")
        sys.exit(1)
    except (MemoryError, RuntimeError) as error:
        if not _is_memory(error):
            raise
        complain("not enough memory; finished work is kept, the same command goes on")
        sys.exit(1)
    except KeyboardInterrupt:
        complain("interrupted; finished work is kept, the same command goes on")
        sys.exit(_INTERRUPTED)


def _is_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out; torch and its allocators each have words of their own."""
    if isinstance(error, MemoryError):
        return True
    text = str(error).lower()
    return any(words in text for words in ("not enough memory", "out of memory", "allocate memory"))


def _print_version(wanted: bool) -> None:
    if wanted:
        out.print(__version__, highlight=False)
        raise typer.Exit


@app.callback()
def root(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and stop."
        ),
    ] = False,
) -> None:
    """Common options."""

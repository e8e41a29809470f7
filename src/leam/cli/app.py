"""The command ``leam``: its subcommands, its common options and its exit status."""

from __future__ import annotations

import logging
import os
import sys
from typing import Annotated

import typer
from typer.main import get_command

from leam.cli.commands import Entry, LazyGroup
from leam.cli.console import VERBOSITY
from leam.cli.failures import INTERRUPTED, answer
from leam.cli.logs import logging_configured, set_level
from leam.version import __version__

# Help is wrapped to the terminal, and not at all where it goes to a file or another program.
_TERMINAL_WIDTH = 100
_UNLIMITED = 10_000


class _Leam(LazyGroup):
    table = {  # noqa: RUF012  a constant of the class
        "explain": Entry(
            "leam.cli.explain:explain", "Show which parts of a face a recognizer relies on."
        ),
        "study": Entry(
            "leam.cli.study:study", "Explain many people and write tables, a summary and a report."
        ),
        "audit": Entry(
            "leam.cli.audit:audit",
            "Measure the errors of recognizers, for which people they differ, and which regions carry them.",
        ),
        "compare": Entry("leam.cli.compare:compare", "Put recognizers or studies side by side."),
        "parse": Entry("leam.cli.parse:parse", "Label the part of the face at each pixel."),
        "protect": Entry(
            "leam.cli.protect:protect",
            "Test whether changes of your pictures keep recognizers from linking them.",
        ),
        "report": Entry("leam.cli.report:report", "Render the report of a finished study again."),
        "redact": Entry(
            "leam.cli.redact:redact", "Remove faces, names and embeddings from a finished study."
        ),
        "demo": Entry("leam.cli.demo:demo", "Run everything once on two portraits."),
        "models": Entry(
            "leam.cli.models:models_app", "List the available recognizers, or inspect and test one."
        ),
    }


app = typer.Typer(
    cls=_Leam,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    invoke_without_command=True,
    context_settings={"help_option_names": ["--help", "-h"]},
)


def main() -> None:
    """Run the command line. Every error is one line on standard error and a non-zero exit status."""
    VERBOSITY.reset()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A file name that the terminal's encoding lacks must not stop the work.
            stream.reconfigure(errors="backslashreplace")
    with logging_configured():
        status = _run()
    if status:
        sys.exit(status)


def _run() -> int:
    try:
        if {"--install-completion", "--show-completion"} & set(sys.argv):
            _complete_at_once_in_zsh()
        status = get_command(app).main(
            prog_name="leam",
            standalone_mode=False,
            terminal_width=None if sys.stdout.isatty() else _UNLIMITED,
            max_content_width=_TERMINAL_WIDTH,
        )
        sys.stdout.flush()
        if status == INTERRUPTED:
            return answer(KeyboardInterrupt())
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  every error ends as one line
        return answer(error)
    return status if isinstance(status, int) else 0


def _complete_at_once_in_zsh() -> None:
    """Let the first Tab of a zsh session complete: typer's script only defines the function then."""
    from typer import _completion_shared as scripts

    known = getattr(scripts, "_completion_scripts", {})
    call = '[[ $zsh_eval_context[-1] == loadautofunc ]] && %(complete_func)s "$@"'
    if "zsh" in known and "loadautofunc" not in known["zsh"]:
        known["zsh"] = f"{known['zsh'].rstrip()}\n{call}\n"


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


def _be_quiet(wanted: bool) -> None:
    if wanted:
        VERBOSITY.quiet = True
        set_level(logging.ERROR)


def _be_verbose(wanted: bool) -> None:
    if wanted:
        set_level(logging.INFO)


def _debug(wanted: bool) -> None:
    if wanted:
        VERBOSITY.debug = True
        set_level(logging.DEBUG)


def _allow_local(wanted: bool) -> None:
    if wanted:
        from leam.weights.addresses import ALLOW_LOCAL_VARIABLE

        os.environ[ALLOW_LOCAL_VARIABLE] = "1"


@app.callback()
def leam(
    context: typer.Context,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
    _quiet: Annotated[
        bool,
        typer.Option(
            "--quiet",
            "-q",
            callback=_be_quiet,
            is_eager=True,
            expose_value=False,
            help="Show results and errors only.",
        ),
    ] = False,
    _verbose: Annotated[
        bool,
        typer.Option(
            "--verbose",
            "-v",
            callback=_be_verbose,
            is_eager=True,
            expose_value=False,
            help="Show details on standard error.",
        ),
    ] = False,
    _debug: Annotated[
        bool,
        typer.Option(
            "--debug",
            callback=_debug,
            is_eager=True,
            expose_value=False,
            help="Show more details, and a traceback on errors.",
        ),
    ] = False,
    _allow_local: Annotated[
        bool,
        typer.Option(
            "--allow-local",
            callback=_allow_local,
            is_eager=True,
            expose_value=False,
            help="Also download weights from private addresses and this machine.",
        ),
    ] = False,
) -> None:
    """See which parts of a face a face recognition network relies on, layer by layer and person by person.

    All work is done on this machine; nothing is uploaded.

    Examples:
        leam demo
        leam explain ada.jpg --out ada
        leam study faces/ --out run --people 100 --images 2
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())

"""The directive ``leam-commands``: all commands with their options, from the command line itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from docutils.nodes import Node
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from typer.main import get_command

from leam.cli.app import app
from leam.cli.commands import LazyGroup


class Commands(SphinxDirective):
    """Describes each command in a section of its own."""

    has_content = False

    def run(self) -> list[Node]:
        """The sections."""
        return self.parse_text_to_nodes("\n".join(markdown()), allow_section_headings=True)


def markdown() -> Iterator[str]:
    """The help of all commands as Markdown."""
    for name, command in commands():
        yield from _described(name, command)


def commands(name: str = "leam", command: Any = None) -> Iterator[tuple[str, Any]]:  # noqa: ANN401  click or typer's
    """All commands by what one types to run them."""
    command = command or get_command(app)
    yield name, command
    if isinstance(command, LazyGroup):
        for below in command.table:
            yield from commands(f"{name} {below}", command.load(below))


def _described(name: str, command: Any) -> Iterator[str]:  # noqa: ANN401
    context = command.context_class(command, info_name=name)
    command.get_help(context)  # fills the placeholders in the texts of the options
    text, _, examples = command.help.partition("Examples:")
    yield f"## {name}\n\n{_prose(' '.join(text.split()))}\n"
    yield f"```text\n{name} {' '.join(command.collect_usage_pieces(context))}\n```\n"
    yield "| option | meaning |\n| --- | --- |"
    for parameter in command.get_params(context):
        option, meaning = parameter.get_help_record(context) or ("", "")
        if option:
            yield f"| `{_cell(option)}` | {_prose(_cell(meaning))} |"
    if examples:
        lines = (line.strip() for line in examples.strip().splitlines())
        yield "\n".join(["", "```sh", *lines, "```", ""])
    yield ""


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _prose(text: str) -> str:
    return text.replace("*", "\\*").replace("<", "\\<").replace("_", "\\_").replace("[", "\\[")


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the directive."""
    app.add_directive("leam-commands", Commands)
    return {"parallel_read_safe": True}

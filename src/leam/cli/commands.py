"""Commands that are imported when they run, and help texts that are completed when they are shown."""

# ruff: noqa: ANN401  the types of click are private to some versions of typer and public in others

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any, ClassVar, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

_EXAMPLES = re.compile(r"^Examples:\n", re.MULTILINE)
_ALIGNED = "--aligned"
_GENERAL = frozenset({"_quiet", "_verbose", "_debug", "_allow_local"})
AS_INPUT = "input"
"""The value of ``--aligned`` without a template: the pictures are inputs of the recognizers."""
_PLACEHOLDER = re.compile(r"\{([\w.]+):(\w+)\}")


class Entry(NamedTuple):
    """A command that has not been imported.

    Attributes:
        target: Where it is: ``module:name`` of a function or of a ``typer.Typer``.
        help: The first line of its docstring.
    """

    target: str
    help: str


class _Help:
    """Help in plain text: option texts with their placeholders filled, and examples as they were written."""

    help: str | None
    params: list[Any]

    def format_help(self, ctx: Any, formatter: Any) -> None:
        for param in self.params:
            _complete(param)
        super().format_help(ctx, formatter)  # type: ignore[misc]

    def format_help_text(self, _ctx: Any, formatter: Any) -> None:
        text, *examples = _EXAMPLES.split(inspect.cleandoc(self.help or ""))
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(text.strip())
        for block in examples:
            with formatter.section("Examples"):
                formatter.write(textwrap.indent(textwrap.dedent(block).rstrip(), "  ") + "\n")


class Command(_Help, TyperCommand):
    """A command whose help is plain text, and whose option ``--aligned`` may stand without a value."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments; see typer."""
        return super().parse_args(ctx, _with_template(args))


class LazyGroup(_Help, TyperGroup):
    """A group that knows its commands' names and one line of help each, and imports a command when it is called.

    Attributes:
        table: The commands by name.
    """

    table: ClassVar[Mapping[str, Entry]] = {}

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, entry in self.table.items():
            self.add_command(TyperCommand(name, help=entry.help, rich_markup_mode=None))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The command that the arguments name, imported."""
        name, *rest = args
        if name in self.table:
            return name, self.load(name), rest
        if not ctx.resilient_parsing and not name.startswith("-"):
            near = get_close_matches(name, self.table, n=1)
            ctx.fail(f"no such command: {name}" + (f"; did you mean {near[0]}?" if near else ""))
        return super().resolve_command(ctx, args)

    def load(self, name: str) -> Any:
        """Import the command of this name, which accepts the general options as well."""
        module, _, attribute = self.table[name].target.partition(":")
        command = _built(name, getattr(import_module(module), attribute))
        command.params += [param for param in self.params if param.name in _GENERAL]
        return command


def _with_template(args: list[str]) -> list[str]:
    """The arguments with a value for each ``--aligned`` that is followed by no template's name."""
    if _ALIGNED not in args:
        return args
    from leam.cli.options import template_names

    names = template_names()
    return [
        f"{arg}={AS_INPUT}" if arg == _ALIGNED and after not in names else arg
        for arg, after in zip(args, [*args[1:], ""], strict=True)
    ]


def _built(name: str, source: Any) -> Any:
    if isinstance(source, typer.Typer):
        return get_command(source)
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(name, cls=Command)(source)
    return get_command(app)


def _complete(param: Any) -> None:
    """Fill the placeholders in a parameter's help and default."""
    if isinstance(text := getattr(param, "help", None), str):
        param.help = fill(text)
    if isinstance(text := getattr(param, "show_default", None), str) and fill(text) != text:
        param.default, param.show_default = fill(text), True
    if param.param_type_name == "argument":
        # Without this, typer shows the Python type of an argument behind its name.
        param.display_type_rich = lambda **_: None


def fill(text: str) -> str:
    """Replace each ``{module:NAME}`` by that module's value: a string, or the names in a collection."""

    def value(match: re.Match[str]) -> str:
        # Importing some of the modules would import torch.
        from leam.cli.sources import stated

        if (text := stated(match[1], match[2])) is not None:
            return text
        found = getattr(import_module(match[1]), match[2])
        return found if isinstance(found, str) else ", ".join(found)

    return _PLACEHOLDER.sub(value, text)

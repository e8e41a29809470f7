"""Help: every command has examples that it accepts, in plain text."""

from __future__ import annotations

import shlex
from importlib import import_module

import pytest
import typer
from typer.main import get_command

from leam.cli.app import app
from leam.cli.commands import LazyGroup
from leam.version import __version__

COMMANDS = [
    "",
    "explain",
    "study",
    "parse",
    "protect",
    "report",
    "demo",
    "models",
    "models layers",
    "models check",
]


def groups() -> list[LazyGroup]:
    root = get_command(app)
    return [root, root.load("models")]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples_and_no_gaps(leam, command):
    result = leam(*command.split(), "--help")
    assert result.returncode == 0
    assert f"Usage: leam {command}".strip() in result.stdout
    examples = result.stdout.split("Examples:\n")[1].split("\n\n")[0].splitlines()
    assert examples
    assert all(line.startswith(f"  leam {command}".rstrip()) for line in examples)
    assert "{leam" not in result.stdout
    assert "--quiet" in result.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_are_accepted(leam, command):
    text = leam(*command.split(), "--help").stdout
    for line in text.split("Examples:\n")[1].split("\n\n")[0].splitlines():
        group, arguments = get_command(app), shlex.split(line)[1:]
        while isinstance(group, LazyGroup) and arguments and arguments[0] in group.table:
            group, arguments = group.load(arguments[0]), arguments[1:]
        group.make_context("leam", arguments)  # fails for an unknown option or a wrong value


def test_the_table_says_what_the_commands_say():
    for group in groups():
        for name, entry in group.table.items():
            module, _, attribute = entry.target.partition(":")
            thing = getattr(import_module(module), attribute)
            function = (
                thing.registered_callback.callback if isinstance(thing, typer.Typer) else thing
            )
            assert function.__doc__.splitlines()[0] == entry.help, name


def test_no_command_is_truncated_in_the_list(leam):
    for group, arguments in zip(groups(), ([], ["models"]), strict=True):
        text = leam(*arguments, "--help").stdout
        for entry in group.table.values():
            assert entry.help in text


def test_defaults_and_choices_are_shown(leam):
    text = leam("explain", "--help").stdout
    for part in (
        "positive",
        "[default: smooth]",
        "[default: landmarks]",
        "segformer",
        "[default: dlib_resnet]",
    ):
        assert part in text


def test_help_is_one_line_per_option_when_piped(spawn):
    lines = spawn("study", "--help", COLUMNS="40").stdout.splitlines()
    (line,) = (line for line in lines if "--seed" in line)
    assert line.split()[:4] == ["--seed", "NUMBER", "Random", "seed."]
    assert any(len(line) > 100 for line in lines)


def test_version(spawn):
    assert spawn("--version").stdout == f"{__version__}\n"


def test_no_arguments_show_help(leam):
    assert leam().stdout == leam("--help").stdout

"""Where output goes and what it looks like."""

from __future__ import annotations

import io
import json
import sys
import time

import pytest

from leam.cli import console
from leam.cli.console import (
    VERBOSITY,
    LinesOfProgress,
    complain,
    note,
    progress,
    show_json,
    show_table,
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def verbosity():
    yield
    VERBOSITY.reset()


def test_a_table_is_neither_cut_nor_coloured_when_piped(spawn):
    result = spawn("models", COLUMNS="40", TERM="xterm-256color")
    header, *rows = result.stdout.splitlines()
    assert header.split() == ["name", "architecture", "family", "input", "weights", "licence"]
    assert any(row.rstrip().endswith("the terms of CASIA-WebFace for the weights") for row in rows)
    assert "\x1b" not in result.stdout + result.stderr
    assert "…" not in result.stdout


def test_an_error_is_neither_wrapped_nor_coloured_when_piped(spawn):
    name = "a" * 200 + " " + "b" * 200
    result = spawn("models", "layers", name, COLUMNS="40")
    assert result.stderr.startswith(f"leam: {name}: no such recognizer")
    assert result.stderr.count("\n") == 1
    assert "\x1b" not in result.stderr


def test_an_error_is_red_on_a_terminal(monkeypatch):
    for variable, colour in ((None, True), ("NO_COLOR", False)):
        terminal = Terminal()
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.delenv("NO_COLOR", raising=False)
        if variable:
            monkeypatch.setenv(variable, "1")
        complain("no such file")
        assert ("\x1b[31m" in terminal.getvalue()) == colour
        assert "leam: no such file" in terminal.getvalue()


def test_control_characters_are_escaped(capsys):
    complain("two\nlines\x1b[31m")
    console.say("two\nlines\x1b[31m")
    show_table(["name"], [["two\nlines\x1b[31m[bold]"]])
    written = capsys.readouterr()
    assert written.err == "leam: two\\nlines\\x1b[31m\n"
    assert written.out.splitlines()[0] == "two\\nlines\\x1b[31m"
    assert written.out.splitlines()[2].rstrip() == "two\\nlines\\x1b[31m[bold]"


def test_letters_of_any_script_are_kept(capsys):
    complain("Zoë 写真")
    assert capsys.readouterr().err == "leam: Zoë 写真\n"


def test_json_has_no_value_that_json_lacks():
    with pytest.raises(ValueError, match="not JSON compliant"):
        show_json({"a": float("nan")})


def test_json_survives_any_name(capsys):
    show_json({"Zoë 写真": "\x1b"})
    assert json.loads(capsys.readouterr().out) == {"Zoë 写真": "\x1b"}


def test_one_line_of_progress_a_minute(capsys):
    now = 0.0
    report = LinesOfProgress(lambda: now)
    for second in range(0, 180, 5):
        now = float(second)
        report("explaining", second, 180)
    report("counting", 3, None)
    assert capsys.readouterr().err.splitlines() == [
        "leam: explaining: 60 of 180",
        "leam: explaining: 120 of 180",
    ]
    now = 200.0
    report("counting", 3, None)
    assert capsys.readouterr().err == "leam: counting: 3\n"


def test_long_work_without_news_has_its_line_too(capsys, monkeypatch):
    monkeypatch.setattr(console, "INTERVAL", 0.1)
    with progress() as report:
        report("explaining", 1, 2)
        time.sleep(1)
    assert capsys.readouterr().err.count("leam: explaining: 1 of 2\n") > 2


def test_no_terminal_no_bar(capsys):
    with progress() as report:
        report("explaining", 0, 2)
        report("explaining", 2, 2)
    assert capsys.readouterr() == ("", "")


@pytest.fixture
def on_terminal(monkeypatch):
    """Make standard error a terminal. To be called in the test: pytest replaces the stream after the fixtures."""

    def make() -> Terminal:
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setattr(console, "DELAY", 0.1)
        monkeypatch.setattr(sys, "stderr", Terminal())
        return sys.stderr

    return make


def test_a_bar_on_a_terminal_after_a_delay(on_terminal):
    terminal = on_terminal()
    with progress() as report:
        report("explaining [x]", 1, 2)
        assert not terminal.getvalue()
        deadline = time.monotonic() + 10
        while "explaining [x]" not in terminal.getvalue() and time.monotonic() < deadline:
            time.sleep(0.05)
    assert "explaining [x]" in terminal.getvalue()
    assert "1/2" in terminal.getvalue()


def test_no_bar_for_quick_work(on_terminal, monkeypatch):
    terminal = on_terminal()
    monkeypatch.setattr(console, "DELAY", 60)
    with progress() as report:
        report("explaining", 1, 2)
    assert not terminal.getvalue()


def test_quiet_silences_progress_and_notes(on_terminal):
    terminal = on_terminal()
    VERBOSITY.quiet = True
    with progress() as report:
        report("explaining", 1, 2)
        time.sleep(0.3)
        note("use more cores")
    assert not terminal.getvalue()

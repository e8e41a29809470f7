"""Every error is one line: mistakes, bugs, a full disk, no memory."""

from __future__ import annotations

import errno
import logging
import subprocess
import sys
import warnings

import pytest

from leam.cli import logs
from leam.errors import InputError


@pytest.fixture
def failing(leam, monkeypatch):
    """Run ``leam models`` with an error in the middle of it."""

    def run(error: BaseException, *arguments: str):
        def fail(**_: object) -> None:
            raise error

        monkeypatch.setattr("leam.recognizers.catalogue.read_catalogue", fail)
        return leam("models", *arguments)

    return run


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("stduy",), "leam: no such command: stduy; did you mean study? (see `leam --help`)"),
        (("models", "layrs"), "leam: no such command: layrs; did you mean layers? (see `leam models --help`)"),
        (("xyz",), "leam: no such command: xyz (see `leam --help`)"),
        (("explain", "--nonsense"), "leam: no such option: --nonsense (see `leam explain --help`)"),
        (("explain", "--out", "o"), "leam: missing argument 'PICTURE' (see `leam explain --help`)"),
    ],
)  # fmt: skip
def test_misuse(leam, arguments, line):
    result = leam(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == f"{line}\n"


def test_an_option_close_to_another(leam):
    assert "--weighting" in leam("explain", "--weightin", "x").stderr


def test_a_bug_is_one_line_that_names_the_log(failing, complaint, log_file):
    line = complaint(failing(ZeroDivisionError("division by\nzero")))
    assert line.startswith("leam: internal error: ZeroDivisionError: division by")
    assert f"the traceback is in {log_file}" in line
    assert "report" in line
    log = log_file.read_text()
    assert "Traceback (most recent call last)" in log
    assert "command: ['models']" in log
    assert "in fail" in log


@pytest.mark.parametrize(
    "error", [ValueError("x"), RuntimeError("x"), KeyError("x"), TypeError("x")]
)
def test_a_bug_is_never_called_a_mistake(failing, complaint, error):
    assert "internal error" in complaint(failing(error))


@pytest.mark.parametrize("arguments", [("--debug",)])
def test_debug_shows_the_traceback(failing, leam, arguments):
    result = failing(ZeroDivisionError("x"), *arguments)
    assert result.returncode == 1
    assert "Traceback (most recent call last)" in result.stderr
    assert "in fail" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("leam: internal error")
    # The option holds for one command only.
    assert "Traceback" not in failing(ZeroDivisionError("x")).stderr


def test_debug_before_the_command(leam, failing, monkeypatch):
    failing(ZeroDivisionError("x"))
    assert "Traceback" in leam("--debug", "models").stderr


def test_a_mistake_is_not_logged(failing, complaint, log_file):
    assert complaint(failing(InputError("ada.jpg: no such file"))) == "leam: ada.jpg: no such file"
    assert not log_file.exists()


def test_a_log_that_cannot_be_written_is_done_without(failing, complaint, log_file):
    log_file.parent.parent.mkdir()
    log_file.parent.write_text("a file in place of the folder")
    line = complaint(failing(ZeroDivisionError("x")))
    assert "--debug to see the traceback" in line
    assert str(log_file) not in line


def test_the_log_is_limited(failing, monkeypatch, log_file):
    monkeypatch.setattr(logs, "_MAX_BYTES", 2000)
    for _ in range(10):
        failing(ZeroDivisionError("x"))
    assert sum(path.stat().st_size for path in log_file.parent.iterdir()) < 8000
    assert len(list(log_file.parent.iterdir())) == 2


def test_a_full_disk(failing, complaint):
    error = OSError(errno.ENOSPC, "No space left on device", "run/faces.npz")
    assert complaint(failing(error)) == "leam: run/faces.npz: No space left on device"


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 99\nstack"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    ],
)
def test_no_memory(failing, complaint, error):
    assert complaint(failing(error)).startswith("leam: not enough memory")


def test_interrupted(failing):
    result = failing(KeyboardInterrupt())
    assert result.returncode == 130
    assert (
        result.stderr == "leam: interrupted; finished work is kept; repeat the command to resume\n"
    )


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")
def test_a_reader_that_stops_early_is_no_error():
    command = f"{sys.executable} -m leam models --json | {sys.executable} -c 'input()'"
    result = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert not result.stderr


def warn_and_log(**_: object) -> dict[str, object]:
    warnings.warn("an old function", stacklevel=1)
    logger = logging.getLogger("leam.test")
    logger.debug("a detail")
    logger.info("a step")
    logger.warning("a warning")
    return {}


@pytest.mark.filterwarnings("default:an old function")
@pytest.mark.parametrize(
    ("option", "shown"),
    [
        ((), {"a warning"}),
        (("--quiet",), set()),
        (("--verbose",), {"a warning", "a step", "an old function"}),
        (("--debug",), {"a warning", "a step", "a detail", "an old function"}),
    ],
)
@pytest.mark.parametrize("before", [True, False])
def test_how_much_is_shown(leam, monkeypatch, log_file, option, shown, before):
    monkeypatch.setattr("leam.recognizers.catalogue.read_catalogue", warn_and_log)
    result = leam(*option, "models") if before else leam("models", *option)
    messages = {"a warning", "a step", "a detail", "an old function"}
    assert {message for message in messages if message in result.stderr} == shown
    assert {"a warning", "a step", "an old function"} <= {
        message for message in messages if message in log_file.read_text()
    }


def test_loggers_are_left_as_they_were(leam):
    logger = logging.getLogger("leam")
    logger.setLevel(logging.NOTSET)
    before = logger.level, list(logger.handlers)
    leam("models", "--debug")
    assert (logger.level, list(logger.handlers)) == before

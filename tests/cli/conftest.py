"""Ways to run the command line in tests, and a log folder of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from leam.cli import main
from leam.demo import portraits

Result = subprocess.CompletedProcess[str]
Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def log_file(tmp_path_factory, monkeypatch) -> Path:
    """The log of this test's commands, also of those in processes of their own on Linux."""
    folder = tmp_path_factory.mktemp("log")
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))
    monkeypatch.setattr("platformdirs.user_log_path", lambda *_, **__: folder / "leam" / "log")
    return folder / "leam" / "log" / "leam.log"


@pytest.fixture
def leam(monkeypatch, capsys) -> Run:
    """Run a command in this process, which saves the time of imports."""

    def run(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["leam", *map(str, arguments)])
        status = 0
        capsys.readouterr()
        try:
            main()
        except SystemExit as stop:
            status = stop.code or 0
        written = capsys.readouterr()
        return Result(list(map(str, arguments)), status, written.out, written.err)

    return run


@pytest.fixture
def spawn() -> Run:
    """Run a command as a user does, in a process of its own."""

    def run(*arguments: object, cwd: Path | None = None, **environment: str) -> Result:
        return subprocess.run(
            [sys.executable, "-m", "leam", *map(str, arguments)],
            capture_output=True, text=True, timeout=300, cwd=cwd, check=False,
            env={**os.environ, **environment},
        )  # fmt: skip

    return run


@pytest.fixture(scope="session")
def complaint() -> Callable[[Result], str]:
    """The one line that a mistake is answered with, given the result of a command."""

    def only_line(result: Result) -> str:
        assert result.returncode == 1, result.stdout + result.stderr
        lines = result.stderr.strip().splitlines()
        assert len(lines) == 1, result.stderr
        return lines[0]

    return only_line


@pytest.fixture
def faces(tmp_path) -> Path:
    """A folder with two people and two copies of a picture of each."""
    for person, path in portraits().items():
        (tmp_path / "faces" / person).mkdir(parents=True)
        for number in range(2):
            copy = tmp_path / "faces" / person / f"{number}{path.suffix}"
            copy.write_bytes(path.read_bytes())
    return tmp_path / "faces"

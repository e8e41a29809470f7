"""Quick commands import nothing that is slow."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SLOW = {
    "torch",
    "altair",
    "matplotlib",
    "scipy",
    "polars",
    "numba",
    "onnx",
    "onnxruntime",
    "dlib",
    "ray",
}
PROGRAM = """
import sys
from leam.cli import main
try:
    main()
except SystemExit as stop:
    status = stop.code
else:
    status = 0
print(status, *sorted({name.partition(".")[0] for name in sys.modules}), file=sys.__stderr__)
"""


def modules_after(*arguments: str, **environment: str) -> tuple[int, set[str], str]:
    """Exit status of a command, the packages it has imported, and its standard output."""
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        capture_output=True, text=True, timeout=60, check=True, env={**os.environ, **environment},
    )  # fmt: skip
    status, *modules = result.stderr.splitlines()[-1].split()
    return int(status), set(modules), result.stdout


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("", 0),
        ("--help", 0),
        ("--version", 0),
        ("stduy", 2),
        ("explain --nonsense", 2),
        ("study", 2),
        ("explain ada.jpg --out . --target reference", 1),
        ("models", 0),
        ("models --json", 0),
        ("models layrs", 2),
        ("models check --help", 0),
        ("models layers --help", 0),
        ("explain --help", 0),
        ("study --help", 0),
        ("parse --help", 0),
        ("report --help", 0),
        ("--show-completion bash", 0),
    ],
)
def test_no_slow_import(command, status, monkeypatch):
    # Typer would otherwise look for the shell among the parents of the tests, which may have none that it knows.
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    found, modules, _ = modules_after(*command.split())
    assert found == status
    assert "leam" in modules
    assert not modules & SLOW


def test_help_and_typos_do_not_even_import_numpy():
    for command in ("", "stduy", "explain --nonsense"):
        assert "numpy" not in modules_after(*command.split())[1]


def test_import_leam_imports_nothing_slow():
    program = "import leam, sys; print(*{name.partition('.')[0] for name in sys.modules})"
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert not set(result.stdout.split()) & (SLOW | {"numpy", "pydantic", "typer"})

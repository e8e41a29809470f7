"""The public names and their documentation, the order of the packages, and what importing them costs."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import leam

SOURCE = Path(leam.__file__).parent
# From the lowest floor to the highest: a module may import from its own package and from lower floors.
FLOORS = [
    {
        *("errors", "version", "files", "plugins", "progress", "devices", "limits", "contained"),
        *("display", "figures"),
    },
    {"weights"},
    {"faces"},
    {"parsers", "recognizers"},
    {"explain"},
    {"metrics"},
    {"planted"},
    {"results"},
    {"study"},
    {"protect"},
    {"compare"},
    {"report"},
    {"demo"},
    {"cli"},
]
LEVEL = {package: level for level, floor in enumerate(FLOORS) for package in floor}
# Packages of one floor that may not import from each other in this direction.
APART = {("parsers", "recognizers")}
ENTRANCES = {"__init__", "__main__"}
MODULES = sorted(SOURCE.rglob("*.py"))
# These are imported by commands that must answer at once.
QUICK = [
    "leam",
    "leam.cli.app",
    "leam.errors",
    "leam.explain",
    "leam.faces.detectors",
    "leam.parsers",
    "leam.plugins",
    "leam.recognizers.card",
    "leam.recognizers.catalogue",
]
SLOW = ["altair", "cv2", "dlib", "matplotlib", "numba", "onnx", "polars", "ray", "scipy", "torch"]


def test_every_public_name_exists_once_and_is_documented():
    assert sorted(leam.__all__, key=str) == sorted(set(leam.__all__))
    for name in leam.__all__:
        value = getattr(leam, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert value.__doc__, name


def package_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported_packages(path: Path) -> set[str]:
    """The packages of this distribution that a module imports, at its top or in a function."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            names |= (
                {f"leam.{alias.name}" for alias in node.names}
                if node.module == "leam"
                else {node.module or ""}
            )
    return {name.split(".")[1] for name in names if name.startswith("leam.")}


def test_every_module_is_on_a_floor():
    assert {package_of(path) for path in MODULES} - ENTRANCES == set(LEVEL)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_no_module_imports_from_a_higher_floor(path):
    package = package_of(path)
    if package in ENTRANCES:
        return
    for other in imported_packages(path):
        assert LEVEL[other] <= LEVEL[package], f"{path}: imports leam.{other}"
        assert (package, other) not in APART, f"{path}: imports leam.{other}"


@pytest.mark.parametrize("module", QUICK)
def test_what_commands_import_to_answer_at_once_is_quick(module):
    code = f"import sys, {module}; print(*(name for name in {SLOW} if name in sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert loaded.split() == []

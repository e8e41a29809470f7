"""The public names, and how they are documented."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

import leam

SOURCE = Path(leam.__file__).parent
# Lower rooms first; a room may import from those before it, and from its own.
FLOORS = [
    "version",
    "errors",
    "weights",
    "faces",
    "recognizers",
    "parsers",
    "mapping",
    "measures",
    "planted",
    "study",
    "report",
    "demo",
    "cli",
]
SIDE_BY_SIDE = {("parsers", "recognizers")}


def test_every_public_name_exists_once_and_is_documented():
    assert sorted(leam.__all__, key=str) == sorted(set(leam.__all__))
    for name in leam.__all__:
        value = getattr(leam, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert value.__doc__, name


@pytest.mark.parametrize(
    "path", sorted(SOURCE.rglob("*.py")), ids=lambda p: str(p.relative_to(SOURCE))
)
def test_no_room_imports_from_a_higher_one(path):
    room = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    if room in {"__init__", "__main__"}:
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("leam."):
            other = node.module.split(".")[1]
            assert FLOORS.index(other) <= FLOORS.index(room), f"{path}: imports {node.module}"
            assert (room, other) not in SIDE_BY_SIDE, f"{path}: imports {node.module}"

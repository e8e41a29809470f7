"""Which parsers there are."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from leam.errors import ModelError
from leam.parsers.parsing import Parser

DEFAULT = "landmarks"

_BUILDERS: dict[str, Callable[[], Parser]] = {}
# The modules of this package that register a parser; each is imported when it is first asked for.
_PARSERS = {
    name: name for name in ("bisenet", "compact", "facer", "landmarks", "mediapipe", "segformer")
}


def parser(name: str) -> Callable[[Callable[[], Parser]], Callable[[], Parser]]:
    """Register a parser's class, or a function that makes one, under a name."""

    def register(builder: Callable[[], Parser]) -> Callable[[], Parser]:
        _BUILDERS[name] = builder
        return builder

    return register


def parsers() -> list[str]:
    """The names that :func:`load_parser` takes."""
    return sorted(_PARSERS.keys() | _BUILDERS.keys())


def load_parser(name: str = DEFAULT) -> Parser:
    """Make a parser ready to use.

    Raises:
        ModelError: There is no parser of this name.
        WeightsError: Its weights are missing or damaged.
    """
    if name not in _BUILDERS and name in _PARSERS:
        import_module(f"leam.parsers.{_PARSERS[name]}")
    if name not in _BUILDERS:
        raise ModelError(f"{name}: no such parser; known are {', '.join(parsers())}")
    return _BUILDERS[name]()

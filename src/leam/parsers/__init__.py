"""Face parsers: which part of the face each pixel shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from leam.errors import ModelError
from leam.parsers.regions import GROUPS, LABELS, REGIONS
from leam.plugins import Registry

if TYPE_CHECKING:
    from leam.parsers.parsing import Parser

__all__ = ["DEFAULT", "GROUPS", "LABELS", "PARSERS", "REGIONS", "load_parser"]

DEFAULT = "landmarks"

PARSERS: Registry[Callable[[], Parser]] = Registry(
    "parser", "leam.parsers", package="leam.parsers.builtin", error=ModelError
)
"""Parser classes and functions by name; each is called without arguments."""


def load_parser(name: str = DEFAULT) -> Parser:
    """Create a parser by name.

    Raises:
        ModelError: There is no parser of this name, or it needs a package that is not installed.
        WeightsError: Its weights are missing or damaged.
    """
    return PARSERS[name]()

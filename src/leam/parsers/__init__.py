"""Face parsers: which part of the face each pixel shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from leam.errors import ModelError
from leam.parsers.regions import GROUPS, LABELS, REGIONS
from leam.plugins import Registry

if TYPE_CHECKING:
    import torch

    from leam.devices import Precision
    from leam.parsers.parsing import Parser

__all__ = ["DEFAULT", "GROUPS", "LABELS", "PARSERS", "REGIONS", "load_parser"]

DEFAULT = "landmarks"

PARSERS: Registry[Callable[[], Parser]] = Registry(
    "parser", "leam.parsers", package="leam.parsers.builtin", error=ModelError
)
"""Parser classes and functions by name; each is called without arguments."""


def load_parser(
    name: str = DEFAULT, device: torch.device | str = "cpu", precision: Precision = "float32"
) -> Parser:
    """Create a parser by name.

    Args:
        name: A name in :data:`PARSERS`.
        device: The device that its network runs on: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``. Parsers without
            the method ``to`` run on the processor.
        precision: What its network computes with: ``float32`` or ``bfloat16``.

    Raises:
        InputError: There is no such device or precision.
        ModelError: There is no parser of this name, or it needs a package that is not installed.
        WeightsError: Its weights are missing or damaged.
    """
    # Listing parsers does not need torch.
    from leam.devices import check_precision, resolve  # noqa: PLC0415

    place, precision = resolve(device), check_precision(precision)
    parser = PARSERS[name]()
    move: Callable[[torch.device, Precision], Parser] | None = getattr(parser, "to", None)
    return move(place, precision) if move else parser

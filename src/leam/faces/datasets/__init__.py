"""Layouts of data sets, one module each. Each says which sources it recognises and reads them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from leam.plugins import Registry
from leam.progress import Progress

if TYPE_CHECKING:
    from leam.faces.people import Dataset


@dataclass(frozen=True)
class Layout:
    """A way in which data sets are stored.

    Attributes:
        what: What the source is, in a few words.
        recognises: Whether a source, which exists, has this layout; judged by its structure, not by its name alone.
        read: Read a source: its path, the folder of its pictures if one was named, and a progress callback. An
            InputError names what is damaged.
        general: Whether the layout is asked after all that are not.
    """

    what: str
    recognises: Callable[[Path], bool]
    read: Callable[[Path, Path | None, Progress], Dataset]
    general: bool = False


DATASETS: Registry[Layout] = Registry(
    "layout of data sets", "leam.datasets", package="leam.faces.datasets"
)
"""Layouts by name."""

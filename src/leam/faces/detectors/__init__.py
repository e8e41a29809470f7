"""The face detectors, one module each."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from leam.errors import ModelError
from leam.plugins import Registry

if TYPE_CHECKING:
    from leam.faces.detection import Detector

DEFAULT = "dlib"

DETECTORS: Registry[Callable[[], Detector]] = Registry(
    "detector", "leam.detectors", package="leam.faces.detectors", error=ModelError
)
"""Makers of detectors, by name."""


def load_detector(name: str = DEFAULT) -> Detector:
    """Make a detector ready to use.

    Raises:
        ModelError: There is no detector of this name, or it needs a package that is not installed.
        WeightsError: Its model file is missing or damaged.
    """
    return DETECTORS[name]()

"""Face detectors, one module each."""

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
"""Detector classes by name; each is called without arguments."""


def load_detector(name: str = DEFAULT) -> Detector:
    """Create a detector by name.

    Raises:
        ModelError: There is no detector of this name, or it needs a package that is not installed.
        WeightsError: Its model file is missing or damaged.
    """
    return DETECTORS[name]()

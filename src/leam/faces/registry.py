"""Which detectors there are."""

from __future__ import annotations

from importlib import import_module

from leam.errors import ModelError
from leam.faces.detect import Detector

DEFAULT = "dlib"

# Module and class of each; imported when first asked for.
_DETECTORS = {"dlib": ("detect", "DlibDetector"), "scrfd": ("scrfd", "ScrfdDetector")}


def detectors() -> list[str]:
    """The names that :func:`load_detector` takes."""
    return sorted(_DETECTORS)


def load_detector(name: str = DEFAULT) -> Detector:
    """Make a detector ready to use.

    Raises:
        ModelError: There is no detector of this name, or it needs a package that is not installed.
        WeightsError: Its model file is missing or damaged.
    """
    if name not in _DETECTORS:
        raise ModelError(f"{name}: no such detector; known are {', '.join(detectors())}")
    module, kind = _DETECTORS[name]
    detector: Detector = getattr(import_module(f"leam.faces.{module}"), kind)()
    return detector

"""Face detectors, one module each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from leam.errors import ModelError
from leam.plugins import Registry

if TYPE_CHECKING:
    from leam.faces.alignment import Crop
    from leam.faces.detection import Detector

DEFAULT = "dlib"
_ALIGNED = "aligned_"

DETECTORS: Registry[Callable[..., Detector]] = Registry(
    "detector", "leam.detectors", package="leam.faces.detectors", error=ModelError
)
"""Detector classes by name; each is called without arguments, or with the recognizers' crops if its attribute
``takes_crops`` is true."""


def load_detector(name: str = DEFAULT, crops: Mapping[str, Crop] | None = None) -> Detector:
    """Create a detector by name.

    Args:
        name: Its name.
        crops: The crops of the recognizers, by the recognizers' names, for detectors of aligned faces.

    Raises:
        InputError: The faces are aligned already, and the recognizers need differently aligned ones.
        ModelError: There is no detector of this name, or it needs a package that is not installed.
        WeightsError: Its model file is missing or damaged.
    """
    make = DETECTORS[name]
    return make(crops) if takes_crops(name) else make()


def takes_crops(name: str) -> bool:
    """Whether a detector takes pictures for aligned faces, and needs the recognizers' crops."""
    return bool(getattr(DETECTORS[name], "takes_crops", False))


def aligned_templates() -> list[str]:
    """The templates of aligned faces for which there is a detector ``aligned_TEMPLATE``."""
    return [name.removeprefix(_ALIGNED) for name in DETECTORS if name.startswith(_ALIGNED)]

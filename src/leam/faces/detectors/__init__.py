"""Face detectors, one module each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from leam.errors import ModelError, WeightsError
from leam.files import sha256_of
from leam.plugins import Registry

if TYPE_CHECKING:
    from leam.faces.alignment import Crop
    from leam.faces.detection import Detector

DEFAULT = "dlib"
_ALIGNED = "aligned_"


class _Detectors(Registry[Callable[..., "Detector"]]):
    """Detectors by name; the path of a model file stands for the detector that reads it."""

    def __getitem__(self, name: str) -> Callable[..., Detector]:
        return partial(_from_file, Path(name)) if is_model_file(name) else super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        return (isinstance(name, str) and is_model_file(name)) or super().__contains__(name)

    def origin(self, name: str) -> str:
        """The distribution that provides a detector; for a model file, its SHA-256."""
        if not is_model_file(name):
            return super().origin(name)
        try:
            return f"sha256 {sha256_of(Path(name))}"
        except OSError as error:
            raise WeightsError(f"{name}: cannot be read ({error.strerror})") from None


DETECTORS: Registry[Callable[..., Detector]] = _Detectors(
    "detector", "leam.detectors", package="leam.faces.detectors", error=ModelError
)
"""Detector classes by name; each is called without arguments, or with the recognizers' crops if its attribute
``takes_crops`` is true. The path of an ONNX file stands for YuNet or SCRFD with this file."""


def is_model_file(name: str) -> bool:
    """Whether the name of a detector is the path of a model file."""
    return name.lower().endswith(".onnx")


def _from_file(path: Path) -> Detector:
    from leam.faces.detectors.scrfd import ScrfdDetector  # noqa: PLC0415  they import this module
    from leam.faces.detectors.yunet import YunetDetector, is_yunet  # noqa: PLC0415

    if not path.is_file():
        raise WeightsError(f"{path}: no such file; name a YuNet or SCRFD model, or a detector")
    detector = YunetDetector(path) if is_yunet(path) else ScrfdDetector(path)
    detector.name = path.name
    return detector


def load_detector(name: str = DEFAULT, crops: Mapping[str, Crop] | None = None) -> Detector:
    """Create a detector by name.

    Args:
        name: Its name, or the path of an ONNX file of YuNet or SCRFD.
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

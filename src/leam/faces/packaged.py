"""The model files of PyPI's ``face_recognition_models``."""

from __future__ import annotations

from pathlib import Path

from leam.errors import WeightsError
from leam.weights.packaged import packaged_file

_PACKAGE = "face_recognition_models"


def dlib_model(filename: str) -> Path:
    """The path of a model file shipped in ``face_recognition_models``.

    The package is located, never imported: its ``__init__`` needs ``pkg_resources``, which new setuptools lack.

    Raises:
        WeightsError: The package is not installed, or does not hold the file.
    """
    path = packaged_file(_PACKAGE, f"models/{filename}")
    if path is not None:
        return path
    raise WeightsError(f"{filename}: not found; install it with `pip install {_PACKAGE}`")

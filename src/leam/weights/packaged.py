"""Files that installed Python packages carry."""

from __future__ import annotations

import importlib.util
from pathlib import Path


def packaged_file(package: str, inside: str) -> Path | None:
    """The path of a file inside an installed package; None where either is missing.

    The package is located, never imported: an import may run code, or fail for reasons of its own.
    """
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    folders = (spec.submodule_search_locations or []) if spec else []
    paths = (Path(folder) / inside for folder in folders)
    return next((path for path in paths if path.is_file()), None)

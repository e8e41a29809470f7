"""Where fetched files are kept: a folder of the user's, with one folder inside for each model."""

from __future__ import annotations

import os
import sys
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from leam.errors import WeightsError

CACHE_VARIABLE = "LEAM_CACHE"

# File systems take 255 bytes, some of which ``.part`` and ``.lock`` need.
_LONGEST = 120


def cache_folder() -> Path:
    """The folder for fetched weights: LEAM_CACHE, or ``leam`` in the user's cache folder."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "leam"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "leam"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "leam"


def cached_path(model: str, url: str) -> Path:
    """Where the file that a ``url`` names is kept.

    Args:
        model: The recognizer or parser it belongs to.
        url: Its last part names the file.

    Raises:
        WeightsError: The ``url`` names no file, or a name that no file should have.
    """
    try:
        name = PurePosixPath(unquote(urlsplit(url).path)).name
    except ValueError:
        name = ""
    if name in {"", ".", ".."} or "\\" in name or not name.isprintable() or len(name) > _LONGEST:
        raise WeightsError(f"{model}: the url {url} names no file")
    return cache_folder() / model / name

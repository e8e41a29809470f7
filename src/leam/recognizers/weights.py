"""Find the weights file of a card, fetching it where that is needed, and check that it is right."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from leam.errors import WeightsError
from leam.recognizers.card import Card
from leam.weights.cache import cached_path
from leam.weights.download import Tell, fetch, sha256_of

ASSETS_VARIABLE = "LEAM_ASSETS"
_ASSETS_PREFIX = f"${ASSETS_VARIABLE}/"
_PACKAGE_PREFIX = "package:"


def locate(card: Card, folder: Path | None = None, tell: Tell | None = None) -> Path:
    """The path of a card's weights, its checksum verified.

    A file that is nowhere on this machine is fetched from the card's ``url`` into the cache.

    Args:
        card: Says where the file is.
        folder: What a relative path is relative to; the working directory by default.
        tell: Told about the progress of fetching.

    Raises:
        WeightsError: The file is missing and cannot be fetched, or its SHA-256 is not the card's.
    """
    path = find(card, folder)
    if path is None:
        if card.url is None:
            raise WeightsError(f"{card.name}: {_missing(card, folder)}")
        path = cached_path(card.name, card.url)
        fetch(card.url, path, card.sha256, tell)
    if card.sha256 and (found := sha256_of(path)) != card.sha256:
        raise WeightsError(f"{card.name}: {path} has sha256 {found}, not the card's {card.sha256}")
    return path


def find(card: Card, folder: Path | None = None) -> Path | None:
    """Where a card's weights are on this machine, unchecked; None where they are not."""
    places = [_resolve(card.file, folder)] if card.file else []
    if card.url:
        places.append(cached_path(card.name, card.url))
    return next((path for path in places if path and _is_file(path)), None)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        # A name longer than a file's may be.
        return False


def _resolve(file: str, folder: Path | None) -> Path | None:
    """The path that a card's ``file`` stands for; None where its package or variable is missing."""
    if file.startswith(_PACKAGE_PREFIX):
        package, _, inside = file.removeprefix(_PACKAGE_PREFIX).partition("/")
        # A dotted name would import its parent.
        spec = importlib.util.find_spec(package) if package.isidentifier() else None
        locations = (spec.submodule_search_locations or []) if spec else []
        return Path(locations[0]) / inside if locations else None
    if file.startswith(_ASSETS_PREFIX):
        assets = os.environ.get(ASSETS_VARIABLE)
        return Path(assets) / file.removeprefix(_ASSETS_PREFIX) if assets else None
    return (folder or Path()) / file


def _missing(card: Card, folder: Path | None) -> str:
    """Why a card's file cannot be had, and the way out."""
    if card.file is None:
        return "the card names no file"
    if path := _resolve(card.file, folder):
        return f"{path} does not exist"
    if card.file.startswith(_ASSETS_PREFIX):
        inside = card.file.removeprefix(_ASSETS_PREFIX)
        return f"set {ASSETS_VARIABLE} to the folder that holds {inside}"
    package = card.file.removeprefix(_PACKAGE_PREFIX).partition("/")[0]
    return f"the package {package} is not installed; `pip install {package}`"

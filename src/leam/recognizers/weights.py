"""Find the weights file of a card, and check that it is the right one."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from pathlib import Path

from leam.errors import WeightsError
from leam.recognizers.card import Card

ASSETS_VARIABLE = "LEAM_ASSETS"
_ASSETS_PREFIX = f"${ASSETS_VARIABLE}/"
_PACKAGE_PREFIX = "package:"
_BLOCK = 1 << 20


def locate(card: Card, folder: Path | None = None) -> Path:
    """The path of a card's weights, its checksum verified.

    Args:
        card: Says where the file is.
        folder: What a relative path is relative to; the working directory by default.

    Raises:
        WeightsError: The file is missing, or its SHA-256 is not the card's.
    """
    if card.file is None:
        raise WeightsError(f"{card.name}: the card names no file")
    path = _resolve(card, card.file, folder)
    if not path.is_file():
        raise WeightsError(f"{card.name}: {path} does not exist")
    if card.sha256 and (found := sha256_of(path)) != card.sha256:
        raise WeightsError(
            f"{card.name}: {path} has sha256 {found}, but the card says {card.sha256}"
        )
    return path


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _resolve(card: Card, file: str, folder: Path | None) -> Path:
    if file.startswith(_PACKAGE_PREFIX):
        package, _, inside = file.removeprefix(_PACKAGE_PREFIX).partition("/")
        spec = importlib.util.find_spec(package)
        locations = (spec.submodule_search_locations or []) if spec else []
        if not locations:
            raise WeightsError(
                f"{card.name}: the package {package} is not installed; `pip install {package}`"
            )
        return Path(locations[0]) / inside
    if file.startswith(_ASSETS_PREFIX):
        assets = os.environ.get(ASSETS_VARIABLE)
        if not assets:
            raise WeightsError(
                f"{card.name}: set {ASSETS_VARIABLE} to the folder that holds "
                f"{file.removeprefix(_ASSETS_PREFIX)}"
            )
        return Path(assets) / file.removeprefix(_ASSETS_PREFIX)
    return (folder or Path()) / file

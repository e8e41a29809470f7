"""The available recognizers: built-in cards and the user's, where their weights are, and how each is loaded."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from leam.errors import CardError, WeightsError
from leam.recognizers.architectures import ARCHITECTURES
from leam.recognizers.card import Card, read_card
from leam.weights.fetching import Tell, cached_path, fetch, sha256_of

if TYPE_CHECKING:
    import torch

    from leam.recognizers.recognizer import Recognizer

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


DEFAULT = "dlib_resnet"


def builtin_cards() -> dict[str, Card]:
    """The cards that come with the package, by name."""
    folder = resources.files("leam.recognizers") / "cards"
    paths = sorted(Path(str(entry)) for entry in folder.iterdir() if entry.name.endswith(".toml"))
    return {card.name: card for card in map(read_card, paths)}


def load_recognizer(
    source: str | Path | Card = DEFAULT,
    *,
    device: torch.device | str = "cpu",
    folder: Path | None = None,
    tell: Tell | None = None,
) -> Recognizer:
    """Load a recognizer by name, card file or card.

    Args:
        source: The name of a built-in card, the path of a ``.toml`` card, or a :class:`Card`.
        device: Where it runs.
        folder: What a :class:`Card`'s relative ``file`` is relative to; a card file's own folder by
            default.
        tell: Told about the progress where weights are fetched.

    Raises:
        CardError: The card is wrong, or no card has this name.
        ModelError: The architecture is unknown.
        WeightsError: The weights are missing, damaged or of another layout.
    """
    if not isinstance(source, Card):
        source, folder = _find_card(str(source), folder)
    # Listing recognizers must not wait for torch.
    from leam.recognizers.recognizer import Recognizer  # noqa: PLC0415

    module = ARCHITECTURES[source.architecture](source, locate(source, folder, tell))
    return Recognizer(module, source, device)


def _find_card(name: str, folder: Path | None) -> tuple[Card, Path | None]:
    if name.endswith(".toml"):
        return read_card(name), folder or Path(name).resolve().parent
    cards = builtin_cards()
    if name not in cards:
        raise CardError(
            f"{name}: no such recognizer; `leam models` lists them, "
            "or give the path of a .toml card"
        )
    return cards[name], folder


ALL = "all"
"""Stands for every recognizer whose weights are at hand."""


@dataclass(frozen=True)
class Shelved:
    """A card on the shelf.

    Attributes:
        card: The card.
        path: Its file; None for one that comes with the package.
    """

    card: Card
    path: Path | None = None

    @property
    def weights(self) -> Path | None:
        """Where its weights are on this machine; None where they would have to be fetched."""
        return find(self.card, self._folder)

    def load(self, device: torch.device | str = "cpu", tell: Tell | None = None) -> Recognizer:
        """The recognizer; see :func:`leam.load_recognizer`."""
        return load_recognizer(self.card, device=device, folder=self._folder, tell=tell)

    @property
    def _folder(self) -> Path | None:
        return Path(os.path.realpath(self.path)).parent if self.path else None


def read_shelf(cards: Iterable[Path] = (), folders: Iterable[Path] = ()) -> dict[str, Shelved]:
    """The built-in cards and those of files and folders, by name.

    Args:
        cards: Card files.
        folders: Folders whose ``.toml`` files are cards.

    Raises:
        CardError: A folder is missing or holds no card, a card is wrong, or two have one name.
    """
    shelf = {name: Shelved(card) for name, card in builtin_cards().items()}
    for path in [*cards, *(path for folder in folders for path in _cards_in(folder))]:
        card = read_card(path)
        other = shelf.get(card.name)
        if other and (other.path is None or os.path.realpath(other.path) != os.path.realpath(path)):
            where = other.path or "the built-in card"
            raise CardError(f"{path}: the name {card.name} is taken by {where}")
        shelf[card.name] = Shelved(card, path)
    return shelf


def choose(shelf: dict[str, Shelved], wanted: Sequence[str]) -> list[Shelved]:
    """The cards of the wanted names, in that order, each once.

    Args:
        shelf: From :func:`read_shelf`.
        wanted: Names, paths of card files, or ``all`` for those whose weights are at hand.

    Raises:
        CardError: There is no such name, or a card file is wrong.
    """
    chosen: dict[str, Shelved] = {}
    for name in wanted:
        if name == ALL:
            chosen |= {key: shelved for key, shelved in shelf.items() if shelved.weights}
        elif name.endswith(".toml"):
            card = read_card(name)
            chosen[card.name] = Shelved(card, Path(name))
        elif name in shelf:
            chosen[name] = shelf[name]
        else:
            raise CardError(f"{name}: no such recognizer; known are {', '.join(shelf)}")
    return list(chosen.values())


def _cards_in(folder: Path) -> list[Path]:
    paths = sorted(folder.glob("*.toml"))
    if not paths:
        raise CardError(f"{folder}: no such folder, or no .toml card in it")
    return paths

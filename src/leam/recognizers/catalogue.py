"""The available recognizers: cards that come with the package and the user's own, and where their weights are."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from leam.errors import CardError, WeightsError, did_you_mean
from leam.files import exists, package_folder, sha256_of
from leam.progress import Progress, silent
from leam.recognizers.card import Card, read_card
from leam.weights.fetching import cached_path, fetch
from leam.weights.formats import kind_of_folder
from leam.weights.hub import hub_cached, hub_fetch, hub_file

if TYPE_CHECKING:
    import torch

    from leam.devices import Precision
    from leam.recognizers.recognizer import Recognizer

_LOGGER = logging.getLogger(__name__)

DEFAULT = "dlib_resnet"
ALL = "all"
"""Stands for every recognizer whose weights are on this machine."""

BLACK_BOX = "black_box"
"""The architecture that the card of a :class:`leam.BlackBox` names; it has no weights file."""

ASSETS_VARIABLE = "LEAM_ASSETS"
_ASSETS_PREFIX = f"${ASSETS_VARIABLE}/"
_PACKAGE_PREFIX = "package:"


@dataclass(frozen=True)
class CatalogueEntry:
    """A recognizer of the catalogue.

    Attributes:
        card: Its card.
        path: The card's file; None for a card that comes with the package.
    """

    card: Card
    path: Path | None = None

    @property
    def weights(self) -> Path | None:
        """The weights file on this machine; None if it must be downloaded or is missing."""
        return find(self.card, self._folder)

    def load(
        self,
        device: torch.device | str = "cpu",
        progress: Progress = silent,
        *,
        precision: Precision = "float32",
        batch_size: int | None = None,
        trust: bool = False,
    ) -> Recognizer:
        """Load the recognizer; see :func:`load_recognizer`."""
        return load_recognizer(
            self.card,
            device=device,
            precision=precision,
            batch_size=batch_size,
            folder=self._folder,
            progress=progress,
            trust=trust,
        )

    @property
    def _folder(self) -> Path | None:
        return Path(os.path.realpath(self.path)).parent if self.path else None


Catalogue = dict[str, CatalogueEntry]
"""Recognizers by name."""


def load_recognizer(
    source: str | Path | Card = DEFAULT,
    *,
    device: torch.device | str = "cpu",
    precision: Precision = "float32",
    batch_size: int | None = None,
    folder: Path | None = None,
    progress: Progress = silent,
    trust: bool = False,
) -> Recognizer:
    """Load a recognizer by name, card file or card.

    Args:
        source: The name of a built-in card, the path of a ``.toml`` card, or a :class:`Card`.
        device: The device to run on: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        precision: ``float32`` or ``bfloat16``; see :class:`leam.Recognizer`.
        batch_size: Number of faces per pass of the network; by default one that suits the device.
        folder: The folder that a relative ``file`` of a :class:`Card` is relative to; by default the card file's own.
        progress: Called while weights are downloaded.
        trust: Do not compare an ONNX file's network with onnxruntime.

    Raises:
        InputError: There is no such device or precision.
        CardError: The card is invalid, or no card has this name.
        ModelError: There is no such architecture, or the network differs from onnxruntime.
        WeightsError: The weights are missing, damaged, or do not fit the architecture.
    """
    if not isinstance(source, Card):
        source, folder = _find_card(str(source), folder)
    # Listing recognizers does not need torch.
    from leam.recognizers.architectures import ARCHITECTURES  # noqa: PLC0415
    from leam.recognizers.recognizer import Recognizer  # noqa: PLC0415

    if source.architecture == BLACK_BOX:
        from leam.recognizers.black_box import BlackBox  # noqa: PLC0415

        return BlackBox.of_card(source, progress, batch_size)
    # A wrong name fails before a download starts.
    _ = ARCHITECTURES[source.architecture]
    path = _place(source, folder, progress)
    if not source.sha256:
        _LOGGER.warning(
            '%s: no sha256 in its card, so a changed file would not be noticed; this one has sha256 = "%s"',
            source.name,
            sha256_of(path),
        )
    return Recognizer.load(
        source,
        path,
        device,
        precision=precision,
        batch_size=batch_size,
        trust=trust,
    )


def builtin_cards() -> dict[str, Card]:
    """The cards that come with the package, by name."""
    folder = resources.files("leam.recognizers") / "cards"
    paths = sorted(Path(str(entry)) for entry in folder.iterdir() if entry.name.endswith(".toml"))
    return {card.name: card for card in map(read_card, paths)}


def read_catalogue(cards: Iterable[Path] = (), folders: Iterable[Path] = ()) -> Catalogue:
    """The built-in cards and those in files and folders.

    Args:
        cards: Card files.
        folders: Folders whose ``.toml`` files are cards.

    Raises:
        CardError: A folder is missing or contains no card, a card is invalid, or two cards share a name.
    """
    catalogue = {name: CatalogueEntry(card) for name, card in builtin_cards().items()}
    for path in [*cards, *(path for folder in folders for path in _cards_in(folder))]:
        card = read_card(path)
        other = catalogue.get(card.name)
        if other and (other.path is None or os.path.realpath(other.path) != os.path.realpath(path)):
            where = other.path or "the built-in card"
            raise CardError(f"{path}: the name {card.name} is taken by {where}")
        catalogue[card.name] = CatalogueEntry(card, path)
    return catalogue


def choose(catalogue: Catalogue, wanted: Iterable[str]) -> list[CatalogueEntry]:
    """The recognizers of these names, each once, in the order of their first mention.

    Args:
        catalogue: From :func:`read_catalogue`.
        wanted: Names, paths of card files, or ``all`` for those whose weights are on this machine.

    Raises:
        CardError: There is no recognizer of this name, or a card is invalid.
    """
    chosen: Catalogue = {}
    for name in wanted:
        if name == ALL:
            chosen |= {key: entry for key, entry in catalogue.items() if entry.weights}
        elif name.endswith(".toml"):
            card = read_card(name)
            chosen[card.name] = CatalogueEntry(card, Path(name))
        elif name in catalogue:
            chosen[name] = catalogue[name]
        else:
            raise _unknown(name, catalogue, f"available: {', '.join(catalogue)}")
    return list(chosen.values())


def find(card: Card, folder: Path | None = None) -> Path | None:
    """The weights file of a card on this machine, not verified; None if there is none."""
    places = [_resolve(card.file, folder)] if card.file else []
    if card.url:
        on_hub = hub_file(card.url)
        places.append(hub_cached(on_hub) if on_hub else cached_path(card.name, card.url))
    return next((path for path in places if path and exists(path) and path.is_file()), None)


def locate(card: Card, folder: Path | None = None, progress: Progress = silent) -> Path:
    """The weights file of a card, its checksum verified; downloaded from the card's ``url`` if need be.

    Args:
        card: The card.
        folder: The folder that a relative ``file`` is relative to; by default the working directory.
        progress: Called while the file is downloaded.

    Raises:
        WeightsError: The file is missing and cannot be downloaded, or its SHA-256 is not the card's.
    """
    path = _place(card, folder, progress)
    card.verify(path)
    return path


def _place(card: Card, folder: Path | None, progress: Progress) -> Path:
    """The weights file of a card, downloaded if need be."""
    if path := find(card, folder):
        return path
    if card.url is None:
        raise WeightsError(f"{card.name}: {_missing(card, folder)}")
    if on_hub := hub_file(card.url):
        return hub_fetch(on_hub, size=card.bytes)
    path = cached_path(card.name, card.url)
    fetch(card.url, path, card.sha256, progress, size=card.bytes)
    return path


def _find_card(name: str, folder: Path | None) -> tuple[Card, Path | None]:
    if name.endswith(".toml"):
        return read_card(name), folder or Path(name).resolve().parent
    cards = builtin_cards()
    if name not in cards:
        raise _unknown(name, cards, "`leam models` lists them, or give the path of a .toml card")
    return cards[name], folder


def _unknown(name: str, names: Iterable[str], hint: str) -> CardError:
    if exists(Path(name)) and Path(name).is_file():
        return CardError(
            f"{name}: a recognizer is named by its card, a .toml file that states the model file, its input size, "
            "channels, mean and std; docs/howto/write-a-card.md shows how"
        )
    return CardError(f"{name}: no such recognizer; {did_you_mean(name, names)}{hint}")


def _cards_in(folder: Path) -> list[Path]:
    paths = sorted(folder.glob("*.toml"))
    if not paths:
        raise CardError(f"{folder}: no such folder, or no .toml card in it")
    return paths


def _resolve(file: str, folder: Path | None) -> Path | None:
    """The path that a card's ``file`` stands for; None if its package is not installed or its variable not set."""
    if file.startswith(_PACKAGE_PREFIX):
        package, _, inside = file.removeprefix(_PACKAGE_PREFIX).partition("/")
        location = package_folder(package)
        return location / inside if location else None
    if file.startswith(_ASSETS_PREFIX):
        assets = os.environ.get(ASSETS_VARIABLE)
        return Path(assets) / file.removeprefix(_ASSETS_PREFIX) if assets else None
    return (folder or Path()) / file


def _missing(card: Card, folder: Path | None) -> str:
    """Why a card's file is missing, and what to do."""
    if card.file is None:
        return "the card names no file"
    if path := _resolve(card.file, folder):
        if exists(path) and path.is_dir():
            return f"{path} is {kind_of_folder(path)}"
        return f"{path} does not exist"
    if card.file.startswith(_ASSETS_PREFIX):
        inside = card.file.removeprefix(_ASSETS_PREFIX)
        return f"set {ASSETS_VARIABLE} to the folder that holds {inside}"
    package = card.file.removeprefix(_PACKAGE_PREFIX).partition("/")[0]
    return f"the package {package} is not installed; `pip install {package}`"

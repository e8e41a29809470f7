"""The recognizers at hand: built-in cards, and the cards a user names."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from leam.errors import CardError
from leam.recognizers.card import Card, read_card
from leam.recognizers.recognizer import Recognizer
from leam.recognizers.registry import builtin_cards, load_recognizer
from leam.recognizers.weights import find
from leam.weights.download import Tell

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

"""Which recognizers there are, and how each is built."""

from __future__ import annotations

from collections.abc import Callable, Collection
from importlib import import_module, resources
from pathlib import Path

import torch
from torch import nn

from leam.errors import CardError, ModelError
from leam.recognizers.card import Card, read_card
from leam.recognizers.recognizer import Recognizer
from leam.recognizers.weights import locate
from leam.weights.download import Tell

Builder = Callable[[Card, Path], nn.Module]
"""From a card and its weights file to a module that maps ``(B, 3, h, w)`` to ``(B, D)``."""

DEFAULT = "dlib_resnet"

_BUILDERS: dict[str, Builder] = {}
_OPTIONS: dict[str, Collection[str]] = {}
# The modules of this package that register an architecture; each is imported when it is first asked
# for.
_ARCHITECTURES = {
    "dlib_resnet": "dlib_resnet",
    "edgeface": "edgeface",
    "inception_resnet_v1": "inception_resnet",
    "iresnet": "iresnet",
    "mobilefacenet": "mobilefacenet",
    "onnx": "onnx_graph",
}


def architecture(name: str, options: Collection[str] | None = None) -> Callable[[Builder], Builder]:
    """Register a function that builds the architecture of this name.

    Args:
        name: What cards call it.
        options: The options that a card may give it; any by default.
    """

    def register(builder: Builder) -> Builder:
        _BUILDERS[name] = builder
        if options is not None:
            _OPTIONS[name] = options
        return builder

    return register


def architectures() -> list[str]:
    """The names a card's ``architecture`` may have."""
    return sorted(_ARCHITECTURES.keys() | _BUILDERS.keys())


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
    return Recognizer(_builder(source)(source, locate(source, folder, tell)), source, device)


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


def _builder(card: Card) -> Builder:
    if card.architecture not in _BUILDERS and card.architecture in _ARCHITECTURES:
        import_module(f"leam.recognizers.{_ARCHITECTURES[card.architecture]}")
    if card.architecture not in _BUILDERS:
        known = ", ".join(architectures())
        raise ModelError(
            f"{card.name}: unknown architecture {card.architecture!r}; known are {known}"
        )
    allowed = _OPTIONS.get(card.architecture, card.options)
    for option in card.options:
        if option not in allowed:
            known = ", ".join(allowed) or "none"
            raise CardError(f"{card.name}: options.{option} is not known; known are {known}")
    return _BUILDERS[card.architecture]

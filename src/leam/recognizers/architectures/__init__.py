"""Architectures, one module each: from a card and its weights file to a network."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from leam.errors import CardError, ModelError
from leam.plugins import Registry
from leam.recognizers.card import Card

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Architecture:
    """A function that builds networks, and its options.

    Attributes:
        build: From a card and its weights file to a module that maps ``(B, 3, h, w)`` to ``(B, D)``.
        options: The options that a card may give; None for any.
        check: Compares the network that was built with another implementation of its file, and returns one line about
            it; raises ModelError if they differ. None if there is no other implementation.
    """

    build: Callable[[Card, Path], nn.Module]
    options: Collection[str] | None = None
    check: Callable[[Card, Path, nn.Module], str] | None = None

    def __call__(self, card: Card, path: Path) -> nn.Module:
        """Build the network of a card.

        Raises:
            CardError: The card has an option that this architecture does not know.
            WeightsError: The file is damaged or does not fit.
        """
        for option in card.options if self.options is not None else ():
            if option not in (self.options or ()):
                known = ", ".join(self.options or ()) or "none"
                raise CardError(f"{card.name}: options.{option} is not known; available: {known}")
        return self.build(card, path)


ARCHITECTURES: Registry[Architecture] = Registry(
    "architecture",
    "leam.architectures",
    package="leam.recognizers.architectures",
    error=ModelError,
)
"""The architectures by the name that cards use."""


def architecture(
    name: str,
    options: Collection[str] | None = None,
    check: Callable[[Card, Path, nn.Module], str] | None = None,
) -> Callable[[Callable[[Card, Path], nn.Module]], Architecture]:
    """Register a function that builds the architecture of this name.

    Args:
        name: The name that cards use.
        options: The options that a card may give; any by default.
        check: Compares the network with another implementation, see :class:`Architecture`.
    """
    register: Callable[[Architecture], Architecture] = ARCHITECTURES(name)
    return lambda build: register(Architecture(build, options, check))

"""Every measure says its name, what kind of question it answers, and which way is better."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

Direction = Literal["higher", "lower", "none"]
Category = Literal[
    "regions",
    "specificity",
    "layers",
    "agreement",
    "faithfulness",
    "fairness",
    "sanity",
    "statistics",
    "cost",
]

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Measure:
    """A measure and what is said of it.

    Attributes:
        name: As in tables, reports and on the command line.
        category: The question it belongs to.
        direction: Whether a higher or a lower value speaks for the map, or neither.
        function: The pure function that computes it.
    """

    name: str
    category: Category
    direction: Direction
    function: Callable[..., Any]

    @property
    def summary(self) -> str:
        """The first line of the function's docstring."""
        return (self.function.__doc__ or "").strip().partition("\n")[0]


MEASURES: dict[str, Measure] = {}
"""The measures by name."""


def measure(name: str, category: Category, direction: Direction) -> Callable[[F], F]:
    """Register a pure function as a measure."""

    def register(function: F) -> F:
        MEASURES[name] = Measure(name, category, direction, function)
        return function

    return register

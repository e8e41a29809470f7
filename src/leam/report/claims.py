"""The paper's figures beside a study's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Claim:
    """A figure of the paper (arXiv 2509.17457, abstract) and where a study has its own.

    Attributes:
        text: What the figure is of.
        paper: The paper's figure.
        path: Where it stands below a model in ``summary.json``.
        scale: Brings the study's figure to the paper's unit.
        digits: Decimals shown.
    """

    text: str
    paper: str
    path: tuple[str, ...]
    scale: float = 1
    digits: int = 2

    def range_over(self, models: Mapping[str, Any]) -> str:
        """The study's figure, or its range over several models."""
        values = [value for model in models.values() if (value := self._mean(model)) is not None]
        if not values:
            return "–"
        low, high = (
            f"{self.scale * value:.{self.digits}f}" for value in (min(values), max(values))
        )
        return low if len(values) == 1 else f"{low} – {high}"

    def _mean(self, model: Mapping[str, Any]) -> float | None:
        found: Any = model
        for key in self.path:
            found = found.get(key, {})
        return found.get("mean")  # type: ignore[no-any-return]


CLAIMS = (
    Claim("overlap of maps of one person", "0.32 – 0.57", ("bc", "critical", "same")),
    Claim("overlap of maps of different people", "0.04 – 0.13", ("bc", "critical", "different")),
    Claim("nose, % of the critical pixels", "18.9 – 29.7", ("regions", "nose", "share"), 100, 1),
    Claim("drop, most relevant pixels hidden", "0.1148", ("occlusion", "drop"), digits=4),
    Claim(
        "drop, random pixels hidden", "0.0286", ("occlusion", "baselines", "scattered"), digits=4
    ),
)


def paper_claims(models: Mapping[str, Any]) -> list[dict[str, str]]:
    """The paper's figures and this study's, row by row, from ``summary.json``'s ``models``."""
    return [
        {"claim": one.text, "paper": one.paper, "here": one.range_over(models)} for one in CLAIMS
    ]

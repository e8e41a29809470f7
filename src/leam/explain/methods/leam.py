"""LEAM itself."""

from __future__ import annotations

from dataclasses import dataclass

from leam.explain.explainer import Explainer
from leam.explain.methods import LEAM, METHODS, Method, MethodFactory, MethodSettings
from leam.recognizers.recognizer import Recognizer


@dataclass(frozen=True)
class _Leam(MethodFactory):
    """The explainer, which has layer maps."""

    def create(self, name: str, recognizer: Recognizer, settings: MethodSettings) -> Method:  # noqa: ARG002
        """An explainer with these settings."""
        return Explainer(
            recognizer,
            layers=settings.layers,
            weighting=settings.weighting,
            aggregate=settings.aggregate,
            backend=settings.backend,
        )


METHODS(LEAM)(_Leam())

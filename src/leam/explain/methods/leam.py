"""LEAM itself."""

from __future__ import annotations

from dataclasses import dataclass

from leam.explain.explainer import Explainer
from leam.explain.methods import (
    LEAM,
    METHODS,
    Attribution,
    AttributionMethod,
    Method,
    MethodSettings,
)
from leam.recognizers.recognizer import Recognizer


@dataclass(frozen=True)
class _Leam(AttributionMethod):
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


def _overall(recognizer: Recognizer) -> Attribution:
    """The overall maps of the default explainer."""
    explainer = Explainer(recognizer)
    return lambda chips, target: explainer.explain(chips, target).overall


METHODS(LEAM)(_Leam(_overall))

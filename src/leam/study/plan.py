"""What a study will do, fixed before it starts and written to ``run.json``."""

from __future__ import annotations

import platform
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from importlib.metadata import version
from itertools import pairwise
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from leam.explain.backends import kernels as loops
from leam.explain.explainer import DEFAULT_AGGREGATE, DEFAULT_WEIGHTING
from leam.explain.layers import CONVOLUTIONS, STAGES
from leam.faces.people import Sample
from leam.metrics.controls import CONTROLS
from leam.metrics.fills import FILLS
from leam.metrics.occlusion import FRACTIONS
from leam.recognizers.card import Card
from leam.version import __version__

# People whose images are worked on together: a person's images are never parted.
PEOPLE_PER_SLICE = 16

_VERSIONED = ("torch", "numpy", "dlib-bin", "opencv-python-headless", "pillow")


class Settings(BaseModel):
    """The choices of a study that change its figures."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    target: Literal["self", "template", "contrast"] = "self"
    """What is explained; see :mod:`leam.explain.targets`."""
    weighting: str = DEFAULT_WEIGHTING
    aggregate: str = DEFAULT_AGGREGATE
    layers: tuple[str, ...] = (CONVOLUTIONS,)
    top: float = Field(default=0.01, gt=0, le=1)
    """The critical fraction of the pixels."""
    fill: str = "black"
    baselines: tuple[str, ...] = ("scattered", "moved")
    probes: int | None = Field(default=None, ge=1)
    """How many pictures of each person have pixels hidden; the others serve as its template. None for all."""
    transfer: bool = False
    """Hide each model's critical pixels from every other model too."""
    panel: int = Field(default=0, ge=0)
    """People on whose first picture the costly measures are taken: curves, fills, verification, sanity, swaps."""
    curve: tuple[float, ...] = FRACTIONS
    """Top fractions at which every mask is judged on the panel."""
    fills: tuple[str, ...] = tuple(FILLS)
    """Fills under which every mask is judged on the panel."""
    groups: tuple[str, ...] = ()
    """Columns of the people table whose values are compared."""
    parser: str = "landmarks"
    second_parser: str | None = None
    """Another parser, whose region shares stand beside the first one's."""
    detector: str = "dlib"
    seed: int = Field(default=0, ge=0)


PRESETS: dict[str, dict[str, Any]] = {
    "quick": {},
    "paper": {"baselines": tuple(CONTROLS), "probes": 1, "transfer": True, "panel": 20},
    "reconstruction": {
        "target": "template",
        "layers": (STAGES,),
        "weighting": "magnitude",
        "aggregate": "max",
        "top": 0.005,
    },
}
"""Named settings.

``quick`` is the default, ``paper`` measures all that the paper's study does, and ``reconstruction`` is the variant
whose figures come nearest to the paper's, read with ``bc.pattern`` and the baseline ``moved``: its distance stands in
``docs/method.md``. It is a fit to public figures, not the paper's formula.
"""


class PlannedImage(BaseModel):
    """A picture of the study."""

    model_config = ConfigDict(frozen=True)

    image: str
    person: str
    path: str
    sha256: str | None
    """None where the file cannot be read."""
    groups: dict[str, str] = {}


class PlannedModel(BaseModel):
    """A recognizer of the study."""

    model_config = ConfigDict(frozen=True)

    card: Card
    sha256: str
    """Of the weights: of the file, or of the parameters of a module in memory."""


class Plan(BaseModel):
    """All that a study's figures depend on."""

    model_config = ConfigDict(frozen=True)

    leam: str = __version__
    versions: dict[str, str]
    source: str
    settings: Settings
    models: tuple[PlannedModel, ...]
    images: tuple[PlannedImage, ...]
    people_per_slice: int = Field(default=PEOPLE_PER_SLICE, gt=0)

    @cached_property
    def slices(self) -> tuple[range, ...]:
        """Positions in ``images`` that are worked on together; whole people, in order. Cut once."""
        starts = [
            i
            for i, image in enumerate(self.images)
            if i == 0 or image.person != self.images[i - 1].person
        ]
        bounds = [*starts[:: self.people_per_slice], len(self.images)]
        return tuple(range(a, b) for a, b in pairwise(bounds))

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Plan:
        """The same plan with other values, see pydantic; not checked."""
        copied = super().model_copy(update=update, deep=deep)
        # Slices that were cut before are copied with the rest, and may not be those of the new values.
        copied.__dict__.pop("slices", None)
        return copied

    def model(self, name: str) -> PlannedModel:
        """The recognizer of this name."""
        return next(model for model in self.models if model.card.name == name)

    def only(self, names: Collection[str]) -> Plan:
        """The same plan with the recognizers of these names alone."""
        kept = tuple(model for model in self.models if model.card.name in names)
        return self.model_copy(update={"models": kept})


def installed_versions() -> dict[str, str]:
    """Versions of what the figures depend on besides this package."""
    versions = {"python": platform.python_version(), **{name: version(name) for name in _VERSIONED}}
    # Its loops round otherwise than torch's steps.
    return versions | {"numba": version("numba") if loops.INSTALLED else "not installed"}


def planned_images(
    samples: Sequence[Sample], hashes: Sequence[str | None]
) -> tuple[PlannedImage, ...]:
    """The study's pictures with their hashes."""
    return tuple(
        PlannedImage(
            image=sample.image,
            person=sample.person,
            path=str(sample.path.absolute()),
            sha256=digest,
            groups=sample.groups,
        )
        for sample, digest in zip(samples, hashes, strict=True)
    )

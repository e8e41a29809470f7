"""What a study will do, fixed before it starts and written to ``run.json``."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from leam.explain.explainer import DEFAULT_AGGREGATE, DEFAULT_WEIGHTING
from leam.explain.layers import CONVOLUTIONS, STAGES
from leam.faces.people import Sample
from leam.metrics.occlusion import FRACTIONS
from leam.recognizers.card import Card
from leam.results.figures import SCHEMA_VERSION

# People whose images are worked on together; all images of a person are in one slice.
PEOPLE_PER_SLICE = 16


class Settings(BaseModel):
    """The choices of a study that change its figures."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    target: Literal["self", "template", "contrast"] = "self"
    """What is explained; see :mod:`leam.explain.targets`."""
    weighting: str = DEFAULT_WEIGHTING
    """How a layer's activations and gradients become its map."""
    aggregate: str = DEFAULT_AGGREGATE
    """How the layers' maps become the overall map."""
    layers: tuple[str, ...] = (CONVOLUTIONS,)
    """Which layers are explained: ``convolutions``, ``stages``, or names and globs."""
    backend: str = "fused"
    """What computes the maps: ``fused`` or ``plain``; equal up to rounding."""
    top: float = Field(default=0.01, gt=0, le=1)
    """Fraction of the pixels in the critical mask."""
    fill: str = "black"
    """What replaces hidden pixels."""
    controls: tuple[str, ...] = ("scattered", "moved")
    """Masks that the critical mask is compared with."""
    probes: int | None = Field(default=None, ge=1)
    """Pictures of each person whose pixels are hidden; the person's other pictures form the template. None for all."""
    transfer: bool = False
    """Hide each recognizer's critical pixels from every other recognizer, too."""
    subset: int = Field(default=0, ge=0)
    """People on whose first picture the costly metrics are measured: curves, fills, verification, sanity, swaps."""
    curve: tuple[float, ...] = FRACTIONS
    """Fractions of the pixels at which every mask is compared on the subset."""
    fills: tuple[str, ...] = ("black", "mean", "blur", "road")
    """Fills under which every mask is compared on the subset."""
    groups: tuple[str, ...] = ()
    """Columns of the people table whose values are compared."""
    parser: str = "landmarks"
    """The face parser that names the regions."""
    second_parser: str | None = None
    """Another parser, whose region shares are reported beside the first one's."""
    detector: str = "dlib"
    """The face detector."""
    seed: int = Field(default=0, ge=0)
    """Random seed."""


PRESETS: dict[str, dict[str, Any]] = {
    "quick": {},
    "paper": {
        "controls": ("scattered", "moved", "moved_on_face", "centre", "other_person", "lowest"),
        "probes": 1,
        "transfer": True,
        "subset": 20,
    },
    "reconstruction": {
        "target": "template",
        "layers": (STAGES,),
        "weighting": "magnitude",
        "aggregate": "max",
        "top": 0.005,
    },
}
"""Named settings.

``quick`` is the default. ``paper`` measures everything that the paper's study does. ``reconstruction`` is the variant
whose figures come closest to the paper's, read with ``specificity.pattern`` and the control ``moved``; its distance is
in ``docs/method.md``. It is a fit to published figures, not the paper's formula.
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
    """Everything that a study's figures depend on."""

    model_config = ConfigDict(frozen=True)

    schema_version: int = SCHEMA_VERSION
    versions: dict[str, str]
    plugins: dict[str, str] = {}
    """The version of every plug-in that the study uses, by what it adds, such as ``stage brightness``."""
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
        """The planned recognizer of this name."""
        return next(model for model in self.models if model.card.name == name)

    def only(self, names: Collection[str]) -> Plan:
        """The same plan with the recognizers of these names alone."""
        kept = tuple(model for model in self.models if model.card.name in names)
        return self.model_copy(update={"models": kept})


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

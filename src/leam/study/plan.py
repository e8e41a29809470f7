"""The plan of a study, fixed before it starts and written to ``run.json``."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.dataclasses import dataclass

from leam.devices import Precision
from leam.explain.explainer import DEFAULT_AGGREGATE, DEFAULT_WEIGHTING
from leam.explain.layers import CONVOLUTIONS, RAW_CONVOLUTIONS, STAGES
from leam.explain.methods import LEAM
from leam.faces.people import Sample, add_value
from leam.metrics.occlusion import FRACTIONS
from leam.recognizers.card import Card
from leam.results.figures import SCHEMA_VERSION
from leam.results.summary import Exclusion

# People per slice. All images of a person are in the same slice.
PEOPLE_PER_SLICE = 16


T = TypeVar("T")


def _distinct(values: tuple[T, ...]) -> tuple[T, ...]:
    if len(set(values)) < len(values):
        raise ValueError("a value is given twice")
    return values


Names = Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_distinct)]
Fractions = Annotated[
    tuple[Annotated[float, Field(gt=0, le=1)], ...],
    Field(min_length=1),
    AfterValidator(_distinct),
]


class Settings(BaseModel):
    """The settings of a study that affect its figures."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    target: Literal["self", "template", "contrast"] = "self"
    """Target of the explanation; see :mod:`leam.explain.targets`."""
    method: str = LEAM
    """Attribution method, which explains the study's target; see :mod:`leam.explain.methods`. Methods other than
    ``leam`` have no layer maps, and do not use the weighting, aggregate, layers and backend."""
    weighting: str = DEFAULT_WEIGHTING
    """Weighting, which turns a layer's activations and gradients into its map; ``auto`` chooses one for each recognizer
    (:func:`leam.explain.explainer.fitting_weighting`)."""
    aggregate: str = DEFAULT_AGGREGATE
    """Aggregate, which combines the layer maps into the overall map."""
    layers: Names = (CONVOLUTIONS,)
    """Layers to explain: ``convolutions``, ``stages``, or names and globs."""
    backend: str = "fused"
    """Backend that computes the maps: ``fused`` or ``plain``. Both give the same maps up to rounding."""
    top: float = Field(default=0.01, gt=0, le=1)
    """Fraction of the pixels in the critical mask."""
    fill: str = "black"
    """Fill that replaces hidden pixels."""
    controls: Names = ("scattered", "moved")
    """Control masks that the critical mask is compared with."""
    probes: int | None = Field(default=None, ge=1)
    """Pictures per person whose pixels are hidden; the person's other pictures form the template. None for all."""
    effect: bool = False
    """Also compare the critical mask with the masks of the person's other picture, of another person, of the population
    and of edges under five fills."""
    person_maps: tuple[str, ...] = ()
    """Estimates of person maps, which are made of several pictures of a person and applied to others; see
    :mod:`leam.explain.person`. None by default."""
    transfer: bool = False
    """Also hide each recognizer's critical pixels from all other recognizers."""
    subset: int = Field(default=0, ge=0)
    """People in the subset. Their first picture is used for the costly metrics: curves, fills, verification, sanity
    checks and swaps."""
    curve: Fractions = FRACTIONS
    """Fractions of the pixels at which masks are compared on the subset."""
    curve_controls: Names = ("scattered", "moved")
    """Control masks that are compared with the critical mask on the subset."""
    fills: Names = ("black", "mean", "blur", "road")
    """Fills with which masks are compared on the subset."""
    groups: tuple[str, ...] = ()
    """Columns of the people table whose groups are compared."""
    audit: bool = False
    """Compute error rates from comparisons of the study's pictures, and their reasons, instead of the other metrics."""
    threshold: float | None = None
    """Similarity at or above which an audit accepts a comparison. By default, the threshold of the recognizer's card,
    or the one that gives the false match rate ``fmr``."""
    fmr: float = Field(default=0.001, gt=0, lt=1)
    """False match rate at which an audit sets the threshold of a recognizer whose card has none."""
    parser: str = "landmarks"
    """Face parser that defines the regions."""
    second_parser: str | None = None
    """Second parser, whose region shares are reported beside those of the first."""
    detector: str = "dlib"
    """Face detector, or the path of an ONNX file of YuNet or SCRFD."""
    rotate: Literal["none", "auto"] = "none"
    """auto: pictures without a face with certain landmarks are also turned by 90, 180 and 270 degrees."""
    seed: int = Field(default=0, ge=0)
    """Random seed."""


PRESETS: dict[str, dict[str, Any]] = {
    "quick": {},
    "paper": {
        "controls": (
            "scattered",
            "moved",
            "moved_on_face",
            "centre",
            "other_person",
            "population",
            "edges",
            "lowest",
        ),
        "probes": 1,
        "effect": True,
        "person_maps": ("mean", "shrunk"),
        "transfer": True,
        "subset": 100,
        "curve_controls": ("scattered", "moved_on_face", "population", "edges"),
    },
    "audit": {"audit": True, "fill": "blur"},
    "reconstruction": {
        "target": "template",
        "layers": (STAGES,),
        "weighting": "magnitude",
        "aggregate": "max",
        "top": 0.005,
    },
    "v0": {
        "target": "self",
        "layers": (RAW_CONVOLUTIONS,),
        "weighting": "positive",
        "aggregate": "sizes",
        "top": 0.01,
        "fill": "black",
        "controls": ("scattered", "moved"),
    },
}
"""Presets: named settings.

``quick`` is the default. ``paper`` measures everything that the paper's study measures. ``audit`` is that of ``leam
audit``; it blurs what it hides, since black patches in two pictures are alike. ``reconstruction`` is the
variant whose figures come closest to the paper's, when read with ``specificity.pattern`` and the control ``moved``;
``docs/appendices/reconstruction.md`` gives the remaining distance. It is a fit to published figures, not the paper's
formula. ``v0`` has the first defaults, for comparison: activations are taken at the convolutions' own outputs, before
their normalisation.
"""


# Not a model, which would take four times the memory: a study may have hundreds of thousands of pictures.
@dataclass(frozen=True, slots=True)
class PlannedImage:
    """A picture of the study."""

    image: str
    person: str
    path: str
    sha256: str | None
    """SHA-256 of the file, or of its member; None if it cannot be read."""
    groups: dict[str, str] = field(default_factory=dict)
    member: str = ""
    """The place of the picture inside the file; see :func:`leam.faces.reading.read_picture_file`."""


class PlannedModel(BaseModel):
    """A recognizer of the study."""

    model_config = ConfigDict(frozen=True)

    card: Card
    sha256: str
    """SHA-256 of the weights file, or of the parameters of a module in memory."""
    precision: Precision = "float32"
    """What the recognizer computes with. The device is not part of the plan, since it changes figures only by
    rounding: a study may be resumed on another one."""


class Plan(BaseModel):
    """Everything that affects the figures of a study."""

    model_config = ConfigDict(frozen=True)

    schema_version: int = SCHEMA_VERSION
    versions: dict[str, str]
    plugins: dict[str, str] = {}
    """Versions of the plug-ins that the study uses, by what they add, such as ``stage brightness``."""
    source: str
    settings: Settings
    models: tuple[PlannedModel, ...]
    images: tuple[PlannedImage, ...]
    exclusions: tuple[Exclusion, ...] = ()
    """Files of the data set that are not pictures of the study."""
    notes: tuple[str, ...] = ()
    """How the data set was read."""
    people_per_slice: int = Field(default=PEOPLE_PER_SLICE, gt=0)
    pairs: tuple[tuple[int, int], ...] = ()
    """Positions of the pictures that an audit compares; empty for every two pictures."""

    @cached_property
    def slices(self) -> tuple[range, ...]:
        """The slices: ranges of positions in ``images`` that are processed together. Each holds whole people."""
        starts = [
            i
            for i, image in enumerate(self.images)
            if i == 0 or image.person != self.images[i - 1].person
        ]
        bounds = [*starts[:: self.people_per_slice], len(self.images)]
        return tuple(range(a, b) for a, b in pairwise(bounds))

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Plan:
        """Copy the plan with other values, without validation; see pydantic."""
        copied = super().model_copy(update=update, deep=deep)
        # The copy includes cached slices, which may not match the new values.
        copied.__dict__.pop("slices", None)
        return copied

    def model(self, name: str) -> PlannedModel:
        """The planned recognizer with this name."""
        return next(model for model in self.models if model.card.name == name)

    def people_of(self, column: str) -> dict[str, str]:
        """The value of each person in a group column, without people whose pictures have none or several."""
        values: dict[str, str | None] = {}
        for image in self.images:
            if column in image.groups:
                add_value(values, image.person, image.groups[column])
        return {person: value for person, value in values.items() if value is not None}

    def only(self, names: Collection[str]) -> Plan:
        """The same plan, reduced to the recognizers with these names."""
        kept = tuple(model for model in self.models if model.card.name in names)
        return self.model_copy(update={"models": kept})


def planned_images(
    hashed: Iterable[tuple[Sample, str | None]],
) -> tuple[PlannedImage, ...]:
    """The study's pictures with their hashes."""
    here = Path.cwd()
    return tuple(
        PlannedImage(
            image=sample.image,
            person=sample.person,
            path=os.path.join(here, sample.path),  # noqa: PTH118  faster for many
            sha256=digest,
            groups=sample.groups,
            member=sample.member,
        )
        for sample, digest in hashed
    )


def copy_notes(images: Sequence[PlannedImage]) -> list[str]:
    """How many pictures have the same bytes as another one of their person, or of another person."""
    # Numbers take less memory than the digests, of which 64 bits tell pictures apart.
    read = [place for place, image in enumerate(images) if image.sha256]
    numbers = np.fromiter((int(str(images[n].sha256)[:16], 16) for n in read), np.uint64, len(read))
    order = np.argsort(numbers, kind="stable")
    same = other = 0
    for place in np.flatnonzero(np.diff(numbers[order]) == 0).tolist():
        first, second = (images[read[order[place + n]]].person for n in (0, 1))
        same, other = same + (first == second), other + (first != second)
    counts = {"the same person": same, "another person: one of the two is wrong": other}
    return [
        f"{count} of {len(images)} pictures have the same bytes as one of {whose}"
        for whose, count in counts.items()
        if count
    ]

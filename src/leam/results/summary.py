"""``summary.json``: typed models of all figures of a study."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import (
    BeforeValidator,
    Field,
    SerializeAsAny,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    create_model,
)

from leam.display import card
from leam.errors import StudyError, first_line
from leam.metrics.statistics import Estimate
from leam.results.figures import SCHEMA_VERSION, Figures, Model, UnknownFigures

if TYPE_CHECKING:
    import polars as pl

Kinds = Mapping[str, type[Figures]]
"""Figure types by stage name."""

F = TypeVar("F", bound=Figures)

_DIGITS = 8
# Recognizers that are named in a line.
_NAMED = 3


def _typed(value: object, info: ValidationInfo) -> object:
    """Convert figures from a file to the types given in the context."""
    if not isinstance(value, dict):
        return value
    kinds: Kinds = (info.context or {}).get("kinds", {})
    return {
        name: kinds.get(name, UnknownFigures).model_validate(one) if isinstance(one, dict) else one
        for name, one in value.items()
    }


FiguresByStage = Annotated[dict[str, SerializeAsAny[Figures]], BeforeValidator(_typed)]


class Exclusion(Model):
    """A picture, or another file of the data set, that was not used."""

    image: str
    """Name of the picture in the study."""
    reason: str = Field(min_length=1)
    """Why the picture was not used."""


class Failure(Model):
    """A recognizer that failed."""

    recognizer: str
    """Name of the recognizer."""
    reason: str
    """Why it failed."""


class RecognizerSummary(Model):
    """The figures of one recognizer."""

    similarity: str
    """``cosine``, or ``euclidean`` for the negative Euclidean distance."""
    sha256: str
    """SHA-256 of the recognizer's weights."""
    precision: str = "float32"
    """What the recognizer computed with: ``float32`` or ``bfloat16``."""
    weighting: str | None = None
    """How activations and gradients became layer maps; null for methods other than ``leam`` and in older studies."""
    devices: tuple[str, ...] = ()
    """The devices that it ran on, such as ``cpu`` or ``cuda:0 (NVIDIA H100 80GB HBM3)``."""
    figures: FiguresByStage
    """Figures by stage name."""

    def get(self, kind: type[F]) -> F | None:
        """The figures of this type; None if they were not measured."""
        return _only(self.figures, kind)


class Summary(Model):
    """All results of a study, as stored in ``summary.json``.

    Each estimate is a mean with its 95 % interval (bootstrap over people) and the number of people behind it. It is
    null if there is no data. Numbers have eight significant digits.
    """

    schema_version: int = SCHEMA_VERSION
    """Version of the file format."""
    versions: dict[str, str]
    """Versions of LEAM, Python and the packages that affect the figures."""
    settings: dict[str, Any]
    """The settings of the study, see ``run.json``."""
    people: int = Field(ge=0)
    """People with at least two usable pictures, or with one in an audit."""
    images: int = Field(ge=0)
    """Usable pictures."""
    exclusions: list[Exclusion]
    """Pictures and other files that were not used."""
    notes: list[str] = Field(default_factory=list)
    """How the data set was read, how many people have a value in each group column, and which pictures were scaled."""
    failed: list[Failure]
    """Recognizers that failed."""
    recognizers: dict[str, RecognizerSummary] = Field(min_length=1)
    """Figures by recognizer name."""
    figures: FiguresByStage
    """Figures that cover all recognizers, by stage name."""

    def get(self, kind: type[F]) -> F | None:
        """The study-wide figures of this type; None if they were not measured."""
        return _only(self.figures, kind)

    def each(self, kind: type[F]) -> dict[str, F]:
        """The figures of this type by recognizer name, for all recognizers that have them."""
        found = {name: one.get(kind) for name, one in self.recognizers.items()}
        return {name: figures for name, figures in found.items() if figures is not None}

    def to_frame(self) -> pl.DataFrame:
        """All figures: a polars DataFrame with one row per number.

        Its columns are ``recognizer`` (null for figures of all recognizers), ``stage``, ``figure`` (its fields and
        keys, separated by dots), ``value``, the ends ``low`` and ``high`` of its interval, and the number of people
        ``n``; the last three are null for a number that is no estimate.
        """
        import polars as pl  # noqa: PLC0415  slow to import

        groups = [(None, self.figures), *((k, one.figures) for k, one in self.recognizers.items())]
        rows = [
            (name, stage, figure, *numbers)
            for name, figures in groups
            for stage, one in figures.items()
            for figure, numbers in _numbers(one, "")
        ]
        kinds = dict.fromkeys(("recognizer", "stage", "figure"), pl.String)
        ends = dict.fromkeys(("value", "low", "high"), pl.Float64)
        return pl.DataFrame(rows, {**kinds, **ends, "n": pl.Int64}, orient="row")

    def facts(self) -> dict[str, object]:
        """What was studied, in words."""
        all_figures = [*(one.figures for one in self.recognizers.values()), self.figures]
        return {
            "people": self.people,
            "images": self.images,
            "recognizers": ", ".join(self.recognizers),
            "stages": ", ".join(dict.fromkeys(stage for one in all_figures for stage in one)),
            "failed": ", ".join(one.recognizer for one in self.failed) or None,
            "exclusions": len(self.exclusions),
        }

    def __repr__(self) -> str:
        names = list(self.recognizers)
        shown = ", ".join(names[:_NAMED]) + (
            f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        )
        return f"Summary({self.people} people, {self.images} images, {shown})"

    __str__ = __repr__

    def _repr_html_(self) -> str:
        return card("Summary", self.facts())

    def to_json(self) -> str:
        """The content of ``summary.json``."""
        return json.dumps(rounded(self.model_dump(mode="json")), indent=1, allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes, kinds: Kinds) -> Summary:
        """Read a summary.

        Args:
            text: Content of the file.
            kinds: Figure types by stage. Figures of other stages are kept as :class:`UnknownFigures`.

        Raises:
            StudyError: The summary is damaged or has another schema version.
        """
        try:
            loaded = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise StudyError(f"not JSON ({first_line(error)})") from None
        return cls.of(loaded, kinds)

    @classmethod
    def of(cls, loaded: object, kinds: Kinds) -> Summary:
        """As :meth:`from_json`, of what was read from JSON."""
        version = loaded.get("schema_version", 1) if isinstance(loaded, dict) else None
        if version != SCHEMA_VERSION:
            raise StudyError(
                f"schema version {version}, but this version of LEAM reads {SCHEMA_VERSION}; run the study again"
            )
        try:
            return cls.model_validate(loaded, context={"kinds": kinds})
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            field = ".".join(map(str, first["loc"]))
            raise StudyError(f"{field}: {first['msg']}") from None


def schema(recognizer_kinds: Kinds, study_kinds: Kinds) -> dict[str, Any]:
    """The JSON Schema of ``summary.json`` for the figures of these stages."""
    one = create_model(
        "RecognizerSummary",
        __base__=RecognizerSummary,
        __doc__=RecognizerSummary.__doc__,
        figures=(_by_stage("RecognizerFigures", recognizer_kinds), ...),
    )
    whole = create_model(
        "Summary",
        __base__=Summary,
        __doc__=Summary.__doc__,
        recognizers=(dict[str, one], Field(min_length=1)),
        figures=(_by_stage("StudyFigures", study_kinds), ...),
    )
    found = TypeAdapter(whole).json_schema()
    found["properties"]["schema_version"]["const"] = SCHEMA_VERSION
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}


def rounded(value: Any) -> Any:  # noqa: ANN401  JSON of any depth
    """Round to eight significant digits, since the last digits of a sum depend on the order of addition."""
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    return [rounded(one) for one in value] if isinstance(value, list) else value


Numbers = tuple[float | None, float | None, float | None, int | None]


def _numbers(value: object, name: str) -> Iterator[tuple[str, Numbers]]:
    """The numbers in figures, each with its name."""
    if isinstance(value, Estimate):
        yield name, (value.mean, value.low, value.high, value.n)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield name, (float(value), None, None, None)
    else:
        inner: dict[Any, object] = {}
        if isinstance(value, Model | Mapping):
            inner = dict(value)
        elif isinstance(value, list | tuple):
            inner = dict(enumerate(value))
        for key, one in inner.items():
            yield from _numbers(one, f"{name}.{key}" if name else str(key))


def _only(figures: Mapping[str, Figures], kind: type[F]) -> F | None:
    return next((one for one in figures.values() if type(one) is kind), None)


def _by_stage(name: str, kinds: Kinds) -> type[Model]:
    fields: dict[str, Any] = {
        stage: (kind, Field(default=None, description=_first_paragraph(kind)))
        for stage, kind in kinds.items()
    }
    return create_model(name, __base__=Model, __doc__="Figures by stage name.", **fields)


def _first_paragraph(kind: type[Figures]) -> str:
    return " ".join((kind.__doc__ or "").split("\n\n")[0].split())

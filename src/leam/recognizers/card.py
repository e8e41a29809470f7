"""The recognizer card: everything needed to use a recognizer, and where it comes from."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictInt,
    ValidationError,
    field_serializer,
    model_validator,
)

from leam.errors import CardError, WeightsError, did_you_mean, first_line
from leam.faces.alignment import Crop, FivePoints, Margin, TemplateName
from leam.files import read_toml, sha256_of
from leam.weights.addresses import shown

Similarity = Literal["cosine", "euclidean"]
Positive = Annotated[int, Field(gt=0)]
Side = Annotated[int, Field(gt=0, le=4096)]


def _one_or_three(values: tuple[float, ...]) -> tuple[float, ...]:
    if len(values) not in {1, 3}:
        raise ValueError("expected one value, or one for each of three channels")
    return values


PerChannel = Annotated[tuple[float, ...], AfterValidator(_one_or_three)]
PositivePerChannel = Annotated[
    tuple[Annotated[float, Field(gt=0)], ...], AfterValidator(_one_or_three)
]


class Card(BaseModel):
    """Architecture, weights, preprocessing and licence of a recognizer.

    A card is a small TOML file, one line per field. A module in memory needs only a ``name``; a model on disk also
    needs an ``architecture`` and a ``file`` or ``url``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=80)]
    """The recognizer's name on the command line and in every output."""
    architecture: str = "module"
    """``onnx``, a registered architecture, or ``module`` for a torch module in memory."""
    options: dict[str, int | float | str | bool] = {}
    """Options of the architecture, such as ``depth = 50``."""
    output: str | StrictInt | None = None
    """Which output is the embedding: the name of an ONNX graph's output; the key, attribute or index of a module's.

    Not needed if there is one output, or if ``embedding_size`` singles one out."""
    inputs: dict[str, bool | int | float | list[bool] | list[int] | list[float]] = {}
    """Values of an ONNX graph's inputs other than the image, such as ``phase_train = false``."""
    file: str | None = None
    """The weights file: a path relative to the card, ``$LEAM_ASSETS/...``, or ``package:NAME/...``."""
    url: str | None = None
    """Where the file is downloaded from on first use: an https address, or ``hf://owner/name/file@revision``."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """The file's SHA-256, in hexadecimal; verified on loading."""
    bytes: Positive | None = None
    """Size of the file in bytes."""
    input_size: tuple[Side, Side] = (112, 112)
    """Height and width of the input in pixels."""
    template: TemplateName = "arcface"
    """The alignment template that the recognizer was trained with."""
    window: (
        tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)], Positive, Positive] | None
    ) = None
    """Top, left, height and width of the used part of the chip; by default the whole chip."""
    resized_chip: bool = False
    """The input is the template's chip, resized; by default it is sampled from the picture in one step."""
    margin: float | Margin = 0.0
    """Of ``template = "box"``: what is added to the box. A number is a fraction of its width and of its height, half on
    each side; four numbers are fractions at the left, top, right and bottom."""
    square: bool = False
    """Of ``template = "box"``: extend the shorter side to the longer one instead of stretching the face."""
    points: FivePoints | None = None
    """Where the eyes, nose tip and mouth corners go in the input, as x and y in pixels, instead of a template."""
    channels: Literal["RGB", "BGR", "GRAY"] = "RGB"
    """Order of the colour channels; ``GRAY`` for one channel, 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601)."""
    mean: PerChannel = (127.5,)
    """Subtracted from 0-255 values: one value for all channels, or one each in the order of ``channels``."""
    std: PositivePerChannel = (127.5,)
    """Divides the differences: one value or three, as for ``mean``."""
    embedding_size: Positive | None = None
    """Length of the embedding; checked if given."""
    similarity: Similarity = "cosine"
    """Cosine of two embeddings, or minus their Euclidean distance."""
    threshold: float | None = None
    """Pairs at or above this similarity count as genuine; negative for ``euclidean``."""
    family: Annotated[str, Field(min_length=1, max_length=80)] | None = None
    """Recognizers of one family have related architectures, and count once in statements such as "9 of 11"."""
    license: str | None = None
    """Licence of the weights."""
    source: str | None = None
    """Where the weights were published."""
    training: str | None = None
    """Training data and loss."""

    @model_validator(mode="after")
    def _window_lies_in_the_chip(self) -> Card:
        if self.window is not None:
            top, left, height, width = self.window
            side = self.crop.chip_side
            if side is None:
                raise ValueError("window: boxes and points have no chip of which it is a part")
            if top + height > side or left + width > side:
                raise ValueError(f"window: exceeds the chip of {side}x{side} pixels")
        return self

    @model_validator(mode="after")
    def _crop_is_of_one_kind(self) -> Card:
        if self.points is not None and self.template != "arcface":
            raise ValueError("points: replaces the template; leave template out")
        if self.resized_chip and self.crop.chip_side is None:
            raise ValueError("resized_chip: boxes and points have no chip")
        if self.template != "box" and (self.margin or self.square):
            raise ValueError('margin and square: only for template = "box"')
        return self

    @model_validator(mode="after")
    def _gray_is_one_channel(self) -> Card:
        if self.channels == "GRAY":
            for field in ("mean", "std"):
                if len(getattr(self, field)) > 1:
                    raise ValueError(f"{field}: expected one value, since channels is GRAY")
        return self

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the network's input."""
        return 1 if self.channels == "GRAY" else 3, *self.input_size

    @property
    def crop(self) -> Crop:
        """The geometry of the input."""
        margin = (self.margin / 2,) * 4 if isinstance(self.margin, int | float) else self.margin
        return Crop(
            self.input_size,
            self.template,
            self.window,
            self.resized_chip,
            margin,
            self.square,
            self.points,
        )

    @field_serializer("url")
    def _url_without_secrets(self, url: str | None) -> str | None:
        """Every output shows the address without name, password and query."""
        return url if url is None else shown(url)

    @property
    def public(self) -> Card:
        """The card without what may be secret in its ``url``, for outputs."""
        return self.model_copy(update={"url": self.url and shown(self.url)})

    @property
    def unchecked(self) -> tuple[str, ...]:
        """A sentence if the card names a weights file, but no checksum of it."""
        checked = self.sha256 or not (self.file or self.url)
        return () if checked else (f"{self.name}: no sha256 in its card",)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the card leaves open, one sentence each."""
        return (
            *(() if self.sha256 else ("no sha256: a changed file would not be noticed",)),
            *(() if self.license else ("no licence stated: ask before you share results",)),
        )

    def verify(self, path: Path) -> None:
        """Check a weights file against the card's ``bytes`` and ``sha256``, as far as the card states them.

        Raises:
            WeightsError: The file has another size or checksum.
        """
        if self.bytes and (size := path.stat().st_size) != self.bytes:
            raise WeightsError(f"{self.name}: {path} has {size} bytes, not the card's {self.bytes}")
        if self.sha256 and (found := sha256_of(path)) != self.sha256:
            raise WeightsError(
                f"{self.name}: {path} has sha256 {found}, not the card's {self.sha256}"
            )

    def number(self, option: str, default: float) -> float:
        """The value of an option that is a number.

        Raises:
            CardError: The value is not a number.
        """
        value = self.options.get(option, default)
        if isinstance(value, bool | str):
            raise CardError(f"{self.name}: options.{option} is {value!r}, not a number")
        return float(value)


def read_card(path: str | Path) -> Card:
    """Read a card from a TOML file.

    Raises:
        CardError: The file is missing or not TOML, or a field is invalid; the message names the field.
    """
    path = Path(path)
    try:
        fields = read_toml(path)
    except FileNotFoundError:
        raise CardError(f"{path}: no such card") from None
    except (OSError, ValueError) as error:
        raise CardError(f"{path}: not a readable card ({first_line(error)})") from None
    try:
        return Card.model_validate(fields)
    except ValidationError as error:
        raise CardError(f"{path}: {explain_validation(error)}") from None


# What fields that are more than one value consist of.
_FORMS = {
    "margin": "one number, or four: left, top, right and bottom",
    "points": "five points, each an x and a y in pixels: the eyes, the nose tip and the mouth corners",
    "input_size": "two whole numbers, height and width, each from 1 to 4096",
    "window": "four whole numbers: top, left, height and width",
    "mean": "one number, or three, in square brackets",
    "std": "one number above 0, or three, in square brackets",
    "options": "a table of options, such as { depth = 50 }",
    "inputs": "a table of values, such as { phase_train = false }",
    "output": "a name, or a whole number",
}


def explain_validation(error: ValidationError) -> str:
    """The first error of a failed validation, in one line that names the field and its form."""
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    outer = field.partition(".")[0]
    if first["type"] == "extra_forbidden":
        known = getattr({Card.__name__: Card}.get(error.title), "model_fields", {})
        return f"{field}: no such field; {did_you_mean(field, known)}".rstrip("; ")
    if first["type"] == "literal_error":
        expected = str(first["ctx"]["expected"])
        near = did_you_mean(str(first["input"]), re.findall(r"'([^']*)'", expected))
        return f"{field}: {first['input']!r} is not available; {near}expected {expected}"
    if error.title == Card.__name__ and outer in _FORMS and first["type"] != "value_error":
        return f"{outer}: expected {_FORMS[outer]}"
    # Messages of our own validators; those of whole models name the field themselves.
    text = first["msg"].removeprefix("Value error, ")
    return f"{field}: {text}" if field else text

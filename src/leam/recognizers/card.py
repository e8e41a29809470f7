"""The recognizer card: all that must be known to use a recognizer, and where it came from."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from leam.errors import CardError
from leam.faces.alignment import Crop, TemplateName
from leam.files import open_regular

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Similarity = Literal["cosine", "euclidean"]
Positive = Annotated[int, Field(gt=0)]
Side = Annotated[int, Field(gt=0, le=4096)]
Triple = tuple[float, float, float]
PositiveTriple = tuple[
    Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]
]


class Card(BaseModel):
    """What a recognizer is, what it eats, and under which terms it may be used.

    A card is written as a small TOML file, one line a field. Only ``name`` is needed for a module
    in memory; a model on disk also names its ``architecture`` and its ``file``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=80)]
    """Names the recognizer on the command line and in every output."""
    architecture: str = "module"
    """``onnx``, a registered architecture, or ``module`` for a torch module in memory."""
    options: dict[str, int | float | str | bool] = {}
    """What the architecture's builder wants to know, such as ``depth = 50``."""
    file: str | None = None
    """The weights: a path relative to the card, ``$LEAM_ASSETS/...``, or ``package:NAME/...``."""
    url: str | None = None
    """Where the file is fetched from on first use."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """Of the file, in hexadecimal."""
    bytes: Positive | None = None
    """Size of the file."""
    input_size: tuple[Side, Side] = (112, 112)
    """Height and width of the input in pixels."""
    template: TemplateName = "arcface"
    """The alignment that the recognizer was trained with."""
    window: (
        tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)], Positive, Positive] | None
    ) = None
    """Top, left, height and width of the part of the chip that is used; all of it by default."""
    channels: Literal["RGB", "BGR"] = "RGB"
    """Order of the colour channels."""
    mean: Triple = (127.5, 127.5, 127.5)
    """Subtracted from 0-255 values, in the order of ``channels``."""
    std: PositiveTriple = (127.5, 127.5, 127.5)
    """Divides them then."""
    embedding_size: Positive | None = None
    """Length of the embedding; checked where given."""
    similarity: Similarity = "cosine"
    """Cosine of two embeddings, or minus their Euclidean distance."""
    threshold: float | None = None
    """The similarity from which two faces count as one person's; negative for ``euclidean``."""
    license: str | None = None
    source: str | None = None
    training: str | None = None

    @model_validator(mode="after")
    def _window_lies_in_the_chip(self) -> Card:
        if self.window is not None:
            top, left, height, width = self.window
            side = self.crop.chip_side
            if top + height > side or left + width > side:
                raise ValueError(f"window: reaches out of the chip of {side}x{side} pixels")
        return self

    @property
    def crop(self) -> Crop:
        """The geometry of the input."""
        return Crop(self.input_size, self.template, self.window)

    def number(self, option: str, default: float) -> float:
        """A number among the ``options``.

        Raises:
            CardError: It is something else.
        """
        value = self.options.get(option, default)
        if isinstance(value, bool | str):
            raise CardError(f"{self.name}: options.{option} is {value!r}, not a number")
        return float(value)


def read_card(path: str | Path) -> Card:
    """Read a card from a TOML file.

    Raises:
        CardError: The file is missing, is not TOML, or a field is wrong; the message names the
            field.
    """
    path = Path(path)
    try:
        with open_regular(path) as stream:
            fields = tomllib.loads(stream.read().decode())
    except (OSError, ValueError, RecursionError) as error:
        reason = str(error).partition("\n")[0]
        raise CardError(f"{path}: not a readable card ({reason})") from None
    try:
        return Card.model_validate(fields)
    except ValidationError as error:
        raise CardError(f"{path}: {explain_validation(error)}") from None


def explain_validation(error: ValidationError) -> str:
    """The first complaint of a failed validation, in one line that names the field."""
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"]) or "the card"
    return f"{field}: {first['msg']}"

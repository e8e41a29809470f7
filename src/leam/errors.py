"""Exceptions with one-line messages that name the culprit and say what to do."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from difflib import get_close_matches


class LeamError(Exception):
    """Base class of every error that this package raises on purpose."""


class InputError(LeamError):
    """A file, folder, table or value given by the user cannot be used."""


class ImageError(InputError):
    """A picture cannot be read."""


class FaceError(InputError):
    """A picture contains no usable face."""


class ModelError(LeamError):
    """A recognizer, detector or parser cannot be loaded or run."""


class CardError(ModelError):
    """A recognizer card is incomplete or contradicts its model."""


class LayerError(ModelError):
    """A layer does not exist, has no spatial extent, or does not contribute to the embedding."""


class WeightsError(ModelError):
    """A weights file is missing, damaged, or does not fit its architecture."""


class PluginError(LeamError):
    """A plug-in package cannot be imported."""


class StudyError(LeamError):
    """A run folder cannot be read, resumed or reported."""


class LeamWarning(UserWarning):
    """A result that cannot be used: an embedding or a map that is zero or not finite, or that is the same for all."""


def warn(message: str) -> None:
    """Warn of a result at the line of the user that asked for it."""
    warnings.warn(message, LeamWarning, stacklevel=4)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``did you mean NAME? `` for the known name that is most similar to a wrong one; empty if none is."""
    near = get_close_matches(name.lower().replace("_", "-"), list(known), n=1)
    near = near or get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]}? " if near else ""


def printable(text: str) -> str:
    """The text in one line, control characters and what is not UTF-8 escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or the error's type if it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]

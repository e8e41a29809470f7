"""The errors a user can meet: one line each, naming the culprit and the way out."""

from __future__ import annotations


class LeamError(Exception):
    """Base of every error raised on purpose by this package."""


class InputError(LeamError):
    """A file, folder, table or value given by the user cannot be used."""


class ImageError(InputError):
    """A picture cannot be read."""


class FaceError(InputError):
    """A picture holds no usable face."""


class ModelError(LeamError):
    """A recognizer or parser cannot do what is asked of it."""


class CardError(ModelError):
    """A recognizer card is incomplete or contradicts its model."""


class LayerError(ModelError):
    """A layer does not exist, has no spatial extent, or does not reach the embedding."""


class WeightsError(ModelError):
    """A weights file is missing, damaged, or of another layout."""


class PluginError(LeamError):
    """A package that adds to LEAM cannot be imported."""


class StudyError(LeamError):
    """A run folder cannot be used, resumed or reported."""


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]

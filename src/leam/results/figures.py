"""Typed figures: the base of what a stage says in ``summary.json``."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from leam.metrics.statistics import Estimate

SCHEMA_VERSION = 2
"""Of ``summary.json`` and ``run.json``; raised when a field changes its name or meaning."""


class Model(BaseModel):
    """A frozen record whose fields are described by the docstrings below them."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Figures(Model):
    """The figures of one stage: of one recognizer, or of the whole study.

    A subclass has one field per figure. A field of type :class:`leam.metrics.statistics.Estimate` (or a dictionary of
    them) is drawn and tabulated by the report without further code.
    """


class UnknownFigures(Figures):
    """Figures of a stage whose plug-in is not installed; kept as they are."""

    model_config = ConfigDict(frozen=True, extra="allow")


class PairedDifference(Model):
    """A paired difference of two figures over people."""

    difference: Estimate
    """Mean difference with its interval."""
    p: float | None
    """Two-sided p-value of flipping signs; null where there is nothing to test."""
    d: float | None
    """Cohen's d of the paired differences."""


class Point(Model):
    """A point of a curve over a fraction of the pixels."""

    fraction: float
    """Fraction of the pixels, 0-1."""
    value: Estimate
    """The curve's value there."""
